//! `/v1/ledger`: whether everything balances.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_runtime::{LedgerChoice, LedgerDepth, LedgerError, LedgerReport, Node};
use weir_types::{Hour, Timestamp};

use crate::body;
use crate::error::{ErrorCode, ErrorReply};

/// Bytes of what somebody says of an incident.
const NOTE_BYTES_MAX: usize = 4096;

/// Which part of the ledger is asked for, and how deep the look goes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerQuery {
    /// The first hour, `2026-11-26T10`, or how long ago, such as `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The first hour that is not meant any more, or how long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The hop: `door`, `stream`, `function`, `table`, `archive` or `dead_letters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// The stream's, function's or table's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether files, archives and dead letters are read, and what is wrong is named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
}

/// What somebody has looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// An incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<u64>,
    /// A table, which is as it should be from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What there is to say of it.
    pub note: String,
}

fn invalid(message: impl Into<String>) -> ErrorReply {
    ErrorReply::new(ErrorCode::InvalidRequest, message)
}

fn hour(text: Option<&str>, now: Timestamp) -> Result<Option<Hour>, ErrorReply> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(hour) = text.parse() {
        return Ok(Some(hour));
    }
    match weir_types::span::parse(text) {
        Ok(ago) => Ok(Some(Hour::of(now.before(ago)))),
        Err(_) => Err(invalid(format!(
            "`{text}` is neither an hour, such as `2026-11-26T10`, nor a length of time, such as `24h`"
        ))),
    }
}

/// Compares the books, and if asked the files.
pub(crate) async fn show(
    State(node): State<Arc<Node>>,
    query: Result<Query<LedgerQuery>, QueryRejection>,
) -> Result<Json<LedgerReport>, ErrorReply> {
    let Query(query) = query?;
    let now = node.env().now();
    let choice = LedgerChoice {
        since: hour(query.since.as_deref(), now)?,
        until: hour(query.until.as_deref(), now)?,
        hop: match query.hop.as_deref() {
            Some(hop) => Some(hop.parse().map_err(|error| invalid(format!("{error}")))?),
            None => None,
        },
        name: query.name,
    };
    let depth = if query.verify { LedgerDepth::Files } else { LedgerDepth::Books };
    Ok(Json(node.ledger(&choice, depth).await))
}

/// Takes note that somebody has looked at something.
pub(crate) async fn accept(State(node): State<Arc<Node>>, body: Body) -> Result<Json<Value>, ErrorReply> {
    let request: AcceptRequest = body::read_json(node.env(), body).await?;
    if request.note.trim().is_empty() || request.note.len() > NOTE_BYTES_MAX {
        return Err(invalid(format!("say what you found in `note`, in 1 to {NOTE_BYTES_MAX} bytes")));
    }
    let accepted = match (request.incident, request.table) {
        (Some(incident), None) => node.accept_incident(incident, request.note).await,
        (None, Some(table)) => node.accept_table(&table, &request.note).await,
        _ => return Err(invalid("name either an `incident` or a `table`")),
    };
    accepted.map_err(|error| ErrorReply::of(code_of(&error), &error))?;
    Ok(Json(json!({ "accepted": true })))
}

fn code_of(error: &LedgerError) -> ErrorCode {
    match error {
        LedgerError::NoIncident { .. } | LedgerError::NoTable { .. } => ErrorCode::NotFound,
        LedgerError::Busy { .. } => ErrorCode::Busy,
        LedgerError::Audit(_) | LedgerError::Submit(_) => ErrorCode::Internal,
    }
}
