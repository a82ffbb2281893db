//! `/v1/query`: SQL in, rows out as they come.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use weir_env::Env;
use weir_query::{Answer, QueryError};
use weir_runtime::{Node, QueryFailed};

use crate::body;
use crate::error::{ErrorCode, ErrorReply};
use crate::rows::{RowFormat, RowWriter};

/// Written batches that wait for a slow client.
const AHEAD: usize = 2;

/// A query as JSON. As `text/plain` the body is the SQL itself, and the form comes from `Accept`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// The SQL: one statement that only reads.
    pub sql: String,
    /// The form of the rows.
    #[serde(default)]
    pub format: Option<RowFormat>,
}

/// Answers a query. An error before the first rows is an error reply; one after them breaks the body off.
pub(crate) async fn query(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ErrorReply> {
    let body = body::read(node.env(), body).await?;
    let request = request(&headers, &body)?;
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).and_then(RowFormat::from_accept);
    let format = request.format.or(accepted).unwrap_or_default();
    let mut answer = node.query(&request.sql).await.map_err(|error| failure(&error))?;
    let internal = |error: &dyn std::error::Error| ErrorReply::of(ErrorCode::Internal, error);
    let mut writer = RowWriter::new(format, &answer.schema()).map_err(|error| internal(&error))?;
    // The first rows tell most of what can go wrong while there is still a status to say it with.
    let first = match answer.next().await {
        Some(Ok(batch)) => writer.write(&batch).map_err(|error| internal(&error))?,
        Some(Err(error)) => return Err(failure(&QueryFailed::Query(error))),
        None => Bytes::new(),
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(send(node.env().clone(), answer, writer, first, sender));
    let body = futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    Ok(([(header::CONTENT_TYPE, format.content_type())], Body::from_stream(body)).into_response())
}

fn request(headers: &HeaderMap, body: &[u8]) -> Result<QueryRequest, ErrorReply> {
    let invalid = |message: String| ErrorReply::new(ErrorCode::InvalidBody, message);
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.starts_with("application/json") {
        return serde_json::from_slice(body).map_err(|error| invalid(format!("the query is not valid JSON: {error}")));
    }
    let sql = std::str::from_utf8(body).map_err(|_| invalid("the query is not UTF-8".into()))?;
    Ok(QueryRequest { sql: sql.to_owned(), format: None })
}

/// Sends rows as they come. A client that stops reading holds the query's memory no longer than the query's time.
async fn send(
    env: Env,
    mut answer: Answer,
    mut writer: RowWriter,
    first: Bytes,
    sender: mpsc::Sender<io::Result<Bytes>>,
) {
    if !first.is_empty() && !hand_on(&env, answer.left(), &sender, Ok(first)).await {
        return;
    }
    while let Some(batch) = answer.next().await {
        let bytes = match batch {
            Ok(batch) => writer.write(&batch).map_err(io::Error::other),
            Err(error) => Err(io::Error::other(error)),
        };
        let failed = bytes.is_err();
        if let Err(error) = &bytes {
            tracing::warn!(%error, "a query failed behind its first rows");
        }
        if !hand_on(&env, answer.left(), &sender, bytes).await || failed {
            return;
        }
    }
    hand_on(&env, answer.left(), &sender, writer.finish().map_err(io::Error::other)).await;
}

/// Says whether the client took the bytes; it may have gone, or read too slowly: then the body breaks off.
async fn hand_on(
    env: &Env,
    left: Duration,
    sender: &mpsc::Sender<io::Result<Bytes>>,
    bytes: io::Result<Bytes>,
) -> bool {
    matches!(env.within(left, sender.send(bytes)).await, Some(Ok(())))
}

pub(crate) fn failure(error: &QueryFailed) -> ErrorReply {
    match error {
        QueryFailed::Query(query) => query_failure(query),
        QueryFailed::System(system) => ErrorReply::of(ErrorCode::Internal, system),
        QueryFailed::Behind { .. } | QueryFailed::Commit { .. } => ErrorReply::of(ErrorCode::TableBehind, error),
    }
}

pub(crate) fn query_failure(query: &QueryError) -> ErrorReply {
    match query {
        QueryError::Sql(sql) => {
            let mut reply = ErrorReply::new(ErrorCode::InvalidQuery, sql.message.clone());
            reply.error.hint.clone_from(&sql.hint);
            reply.error.line = sql.at.map(|(line, _)| line);
            reply.error.column = sql.at.map(|(_, column)| column);
            reply
        }
        QueryError::Time { .. } | QueryError::Memory { .. } | QueryError::Rows { .. } => {
            ErrorReply::of(ErrorCode::QueryLimit, query)
        }
        QueryError::Run { .. } => ErrorReply::of(ErrorCode::InvalidQuery, query),
    }
}
