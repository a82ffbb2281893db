//! `/v1/tables`: bringing a table up to date.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use weir_runtime::{Node, RefreshError};
use weir_types::TableName;

use crate::error::{ErrorCode, ErrorReply};
use crate::query;

/// Commits what was acknowledged before, computes the rollups between it and the table, and answers when that is done.
pub(crate) async fn refresh(
    State(node): State<Arc<Node>>,
    Path(table): Path<String>,
) -> Result<Json<Value>, ErrorReply> {
    let name: TableName =
        table.parse().map_err(|error| ErrorReply::new(ErrorCode::NotFound, format!("table: {error}")))?;
    node.refresh(&name).await.map_err(|error| refused(&error))?;
    let status = node.status().tables.into_iter().find(|table| table.name == name.as_str());
    Ok(Json(json!({ "table": name, "version": status.map(|table| table.version) })))
}

fn refused(error: &RefreshError) -> ErrorReply {
    match error {
        RefreshError::Unknown { .. } => ErrorReply::of(ErrorCode::NotFound, error),
        RefreshError::Behind(behind) => query::failure(behind),
        RefreshError::Commit(commit) => ErrorReply::of(ErrorCode::Internal, commit),
        RefreshError::Trouble { .. } | RefreshError::Time { .. } => ErrorReply::of(ErrorCode::TableBehind, error),
    }
}
