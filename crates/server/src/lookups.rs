//! `/v1/lookups`: reference data, how fresh it is, and reading it again.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use weir_runtime::{Node, RefreshFailed};
use weir_types::LookupName;

use crate::error::{ErrorCode, ErrorReply};

fn name(text: &str) -> Result<LookupName, ErrorReply> {
    text.parse().map_err(|error| ErrorReply::new(ErrorCode::NotFound, format!("lookup: {error}")))
}

/// Lists the lookups.
pub(crate) async fn list(State(node): State<Arc<Node>>) -> Json<Value> {
    Json(json!({ "lookups": node.status().lookups }))
}

/// Shows a lookup and its columns.
pub(crate) async fn show(State(node): State<Arc<Node>>, Path(lookup): Path<String>) -> Result<Json<Value>, ErrorReply> {
    let name = name(&lookup)?;
    let missing = || ErrorReply::new(ErrorCode::NotFound, format!("there is no lookup `{name}`"));
    let (status, columns) = node.lookup(&name).ok_or_else(missing)?;
    let columns: Vec<Value> = columns
        .fields()
        .iter()
        .map(|field| json!({ "name": field.name(), "type": field.data_type().to_string() }))
        .collect();
    Ok(Json(json!({ "lookup": status, "columns": columns })))
}

/// Reads a lookup again, and answers when that is done.
pub(crate) async fn refresh(
    State(node): State<Arc<Node>>,
    Path(lookup): Path<String>,
) -> Result<Json<Value>, ErrorReply> {
    let name = name(&lookup)?;
    // On a task of its own: a client that goes away does not cut it off.
    let refreshed = tokio::spawn(async move { node.refresh_lookup(&name).await }).await;
    let refreshed = refreshed.map_err(|_| ErrorReply::new(ErrorCode::Internal, "the reading was cut off"))?;
    let status = refreshed.map_err(|error| {
        let code = match error {
            RefreshFailed::Unknown { .. } => ErrorCode::NotFound,
            RefreshFailed::Load { .. } => ErrorCode::LookupFailed,
            RefreshFailed::Keep { .. } => ErrorCode::Internal,
        };
        ErrorReply::of(code, &error)
    })?;
    Ok(Json(json!({ "lookup": status })))
}
