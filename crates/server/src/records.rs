//! `/v1/streams/NAME/records`: records in, records out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use weir_log::{AppendError, ReadError};
use weir_runtime::{BodyError, DeliverError, Delivery, Encoding, Failed, Format, Node, TailError};
use weir_stream::{ProducerError, WriteError};
use weir_types::{ProducerId, ShardId, StreamName};

use crate::error::{ErrorCode, ErrorReply};

/// Who sends the batch.
pub(crate) const PRODUCER_HEADER: &str = "weir-producer-id";
/// Which of the producer's batches it is.
pub(crate) const NUMBER_HEADER: &str = "weir-batch-number";

/// Takes in records. 200 when some were stored or none was refused; 422 when all were refused.
pub(crate) async fn deliver(
    State(node): State<Arc<Node>>,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ErrorReply> {
    let delivery = delivery(&stream, &headers)?;
    let chunks = body.into_data_stream().map(|chunk| chunk.map_err(io::Error::other));
    let report = node.deliver(delivery, chunks).await.map_err(|failed| failure(&failed))?;
    let all_refused = report.refused > 0 && report.refused == report.received;
    let status = if all_refused { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok((status, Json(report)).into_response())
}

fn delivery(stream: &str, headers: &HeaderMap) -> Result<Delivery, ErrorReply> {
    let invalid = |message: String| ErrorReply::new(ErrorCode::InvalidRequest, message);
    let text = |name: &str| -> Result<Option<&str>, ErrorReply> {
        match headers.get(name) {
            None => Ok(None),
            Some(value) => {
                value.to_str().map(Some).map_err(|_| invalid(format!("the header {name} is not plain text")))
            }
        }
    };
    let unsupported = |message: String| ErrorReply::new(ErrorCode::UnsupportedMediaType, message);
    let content_type = text(header::CONTENT_TYPE.as_str())?.ok_or_else(|| {
        unsupported(
            "the content type is missing: say application/x-ndjson, application/json, text/csv or application/avro"
                .into(),
        )
    })?;
    let format = Format::from_content_type(content_type).map_err(|error| unsupported(error.to_string()))?;
    let encoding = Encoding::from_header(text(header::CONTENT_ENCODING.as_str())?)
        .map_err(|error| unsupported(error.to_string()))?;
    let batch = match (text(PRODUCER_HEADER)?, text(NUMBER_HEADER)?) {
        (None, None) => None,
        (Some(producer), Some(number)) => {
            let producer: ProducerId =
                producer.parse().map_err(|error| invalid(format!("{PRODUCER_HEADER}: {error}")))?;
            let number = number
                .parse()
                .map_err(|_| invalid(format!("{NUMBER_HEADER} is `{number}`, and should be a whole number from 0")))?;
            if producer.as_str().starts_with('_') {
                return Err(invalid(format!("{PRODUCER_HEADER}: names that begin with `_` are weir's own")));
            }
            Some((producer, number))
        }
        _ => return Err(invalid(format!("the headers {PRODUCER_HEADER} and {NUMBER_HEADER} go together"))),
    };
    let stream: StreamName =
        stream.parse().map_err(|error| ErrorReply::new(ErrorCode::NotFound, format!("stream: {error}")))?;
    Ok(Delivery { stream, format, encoding, batch })
}

fn failure(failed: &Failed) -> ErrorReply {
    let code = match &failed.error {
        DeliverError::NoStream { .. } => ErrorCode::NotFound,
        DeliverError::Own { .. } => ErrorCode::InvalidRequest,
        DeliverError::NoRoom(_) => ErrorCode::Busy,
        DeliverError::Body(BodyError::Silent | BodyError::Broken(_)) => ErrorCode::BodyTimeout,
        DeliverError::Body(BodyError::Encoding { .. }) | DeliverError::Malformed { .. } => ErrorCode::InvalidBody,
        DeliverError::Write(error) => write_code(error),
        DeliverError::DeadLetter(_) => ErrorCode::Internal,
    };
    if matches!(code, ErrorCode::Internal | ErrorCode::DiskFull) {
        tracing::error!(error = failed.to_string(), ?code, "records were not taken");
    }
    let mut reply = ErrorReply::of(code, &failed.error);
    if let DeliverError::Write(WriteError::Producer(error)) = &failed.error {
        reply.error.last = match error {
            ProducerError::Stale { last, .. } | ProducerError::Unfinished { last, .. } => Some(*last),
        };
    }
    reply.report = serde_json::to_value(&failed.report).ok();
    reply
}

fn write_code(error: &WriteError) -> ErrorCode {
    match error {
        WriteError::Producer(_) => ErrorCode::ProducerOutOfOrder,
        WriteError::Append { source, .. } => append_code(source),
    }
}

/// Says what a client is told when the log does not take something.
pub(crate) fn append_code(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Busy { .. } => ErrorCode::Busy,
        AppendError::DiskFull { .. } => ErrorCode::DiskFull,
        AppendError::Closed => ErrorCode::Closing,
        AppendError::Conflict { .. } | AppendError::Limit { .. } | AppendError::Io { .. } => ErrorCode::Internal,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TailQuery {
    #[serde(default)]
    shard: u32,
    /// `oldest`, `newest`, a sequence number, or milliseconds since 1970 with `ms` behind.
    #[serde(default = "oldest")]
    from: String,
    #[serde(default = "hundred")]
    limit: usize,
    /// How long to wait for a first record, such as `5s`.
    wait: Option<String>,
}

fn oldest() -> String {
    "oldest".to_owned()
}

fn hundred() -> usize {
    100
}

/// Reads records of one shard as JSON.
pub(crate) async fn tail(
    State(node): State<Arc<Node>>,
    Path(stream): Path<String>,
    query: Result<Query<TailQuery>, QueryRejection>,
) -> Result<Response, ErrorReply> {
    let invalid = |message: String| ErrorReply::new(ErrorCode::InvalidRequest, message);
    let Query(query) = query?;
    let stream: StreamName =
        stream.parse().map_err(|error| ErrorReply::new(ErrorCode::NotFound, format!("stream: {error}")))?;
    let start = Node::parse_start(&query.from).ok_or_else(|| {
        invalid(format!(
            "`from` is `{}`: say oldest, newest, a sequence number, or a time such as 1357034400000ms",
            query.from
        ))
    })?;
    let wait = match &query.wait {
        None => Duration::ZERO,
        Some(text) => weir_types::span::parse(text).map_err(|error| invalid(format!("`wait`: {error}")))?,
    };
    let page = node.tail(&stream, ShardId(query.shard), start, query.limit, wait).await.map_err(|error| {
        let code = match &error {
            TailError::NoStream(_) | TailError::NoShard { .. } => ErrorCode::NotFound,
            TailError::Read(ReadError::Trimmed { .. }) => ErrorCode::Trimmed,
            TailError::Read(ReadError::Damaged { .. } | ReadError::Lost { .. }) => ErrorCode::Damaged,
            TailError::Read(ReadError::Closed) => ErrorCode::Closing,
            TailError::Read(_) => ErrorCode::Internal,
        };
        ErrorReply::of(code, &error)
    })?;
    Ok(Json(page).into_response())
}
