//! `/v1/streams/NAME/archive`: what a stream's archive has, hour by hour, and whether it is as it was written.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_archive::{Archive, Depth, ReadError, StoreError, VerifyError};
use weir_runtime::{ArchiveError, Node};
use weir_types::Hour;

use crate::error::{ErrorCode, ErrorReply};

/// Hours that one answer describes.
const HOURS_MAX: usize = 1000;
const HOURS_DEFAULT: usize = 100;
/// The first and the last hour that there can be, for those that are not named.
const FIRST: Hour = Hour(i64::MIN / 2);
const LAST: Hour = Hour(i64::MAX / 8_000_000);

fn archive(node: &Node, stream: &str) -> Result<Arc<Archive>, ErrorReply> {
    let name = stream.parse().map_err(|error| ErrorReply::new(ErrorCode::NotFound, format!("stream: {error}")))?;
    node.archive(&name).map_err(|error| {
        let code = match error {
            ArchiveError::NoStream { .. } | ArchiveError::NotArchived { .. } => ErrorCode::NotFound,
            ArchiveError::NotOpen { .. } => ErrorCode::TableBehind,
        };
        ErrorReply::of(code, &error)
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParameters {
    /// Such as `2026-11-26T10`.
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
}

fn hour(text: Option<&str>, otherwise: Hour) -> Result<Hour, ErrorReply> {
    match text {
        None => Ok(otherwise),
        Some(text) => text.parse::<Hour>().map_err(|error| ErrorReply::of(ErrorCode::InvalidRequest, &error)),
    }
}

fn store_failed(error: &StoreError) -> ErrorReply {
    ErrorReply::of(ErrorCode::Internal, error)
}

/// Describes the newest hours of those that are asked for, oldest first.
pub(crate) async fn list(
    State(node): State<Arc<Node>>,
    Path(stream): Path<String>,
    parameters: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Json<Value>, ErrorReply> {
    let Query(parameters) = parameters?;
    let archive = archive(&node, &stream)?;
    let (from, to) = (hour(parameters.from.as_deref(), FIRST)?, hour(parameters.to.as_deref(), LAST)?);
    let limit = parameters.limit.unwrap_or(HOURS_DEFAULT).clamp(1, HOURS_MAX);
    let hours = archive.hours(from, to).await.map_err(|error| store_failed(&error))?;
    let shown = &hours[hours.len().saturating_sub(limit)..];
    let summaries = match (shown.first(), shown.last()) {
        (Some(first), Some(last)) => archive.manifests(*first, *last).await.map_err(|error| match &error {
            ReadError::Store(error) => store_failed(error),
            ReadError::Damaged(_) => ErrorReply::of(ErrorCode::Damaged, &error),
        })?,
        _ => Vec::new(),
    };
    Ok(Json(json!({
        "stream": stream,
        "archive": archive.stats(),
        "hours": summaries,
        "earlier": hours.len() - shown.len(),
    })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyParameters {
    from: Option<String>,
    to: Option<String>,
    /// `names` or `records`.
    depth: Option<String>,
}

/// Looks through the hours that are asked for. Takes as long as reading them does.
pub(crate) async fn verify(
    State(node): State<Arc<Node>>,
    Path(stream): Path<String>,
    parameters: Result<Query<VerifyParameters>, QueryRejection>,
) -> Result<Json<Value>, ErrorReply> {
    let Query(parameters) = parameters?;
    let archive = archive(&node, &stream)?;
    let (from, to) = (hour(parameters.from.as_deref(), FIRST)?, hour(parameters.to.as_deref(), LAST)?);
    let depth = match parameters.depth.as_deref() {
        None | Some("names") => Depth::Names,
        Some("records") => Depth::Records,
        Some(other) => {
            let message = format!("depth: `{other}` is neither `names` nor `records`");
            return Err(ErrorReply::new(ErrorCode::InvalidRequest, message));
        }
    };
    let verdict = archive.verify(from, to, depth).await.map_err(|error| match &error {
        VerifyError::Store(error) => store_failed(error),
        VerifyError::Order { .. } => ErrorReply::of(ErrorCode::InvalidRequest, &error),
    })?;
    let findings: Vec<Value> = verdict
        .findings
        .iter()
        .map(|finding| {
            let mut value = json!(finding);
            value["text"] = json!(finding.to_string());
            value
        })
        .collect();
    Ok(Json(json!({
        "stream": stream,
        "hours": verdict.hours,
        "totals": verdict.totals,
        "read": verdict.read,
        "findings": findings,
        "more": verdict.more,
    })))
}
