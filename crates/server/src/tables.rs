//! `/v1/tables`: bringing a table up to date, compacting it, and deleting its dead files.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_runtime::{CompactedTable, MaintainError, Node, RefreshError};
use weir_types::TableName;

use crate::error::{ErrorCode, ErrorReply};
use crate::query;

/// How long files that were replaced stay, unless the caller says otherwise: for readers of the version before.
const VACUUM_KEEP: Duration = Duration::from_secs(3600);

/// Commits what was acknowledged before, computes the rollups between it and the table, and answers when that is done.
pub(crate) async fn refresh(
    State(node): State<Arc<Node>>,
    Path(table): Path<String>,
) -> Result<Json<Value>, ErrorReply> {
    let name = named(&table)?;
    node.refresh(&name).await.map_err(|error| refused(&error))?;
    let status = node.status().tables.into_iter().find(|table| table.name == name.as_str());
    Ok(Json(json!({ "table": name, "version": status.map(|table| table.version) })))
}

/// Rebuilds every partition that is not as compact as it gets.
pub(crate) async fn compact(
    State(node): State<Arc<Node>>,
    Path(table): Path<String>,
) -> Result<Json<CompactedTable>, ErrorReply> {
    let compacted = node.compact_table(&named(&table)?).await;
    Ok(Json(compacted.map_err(|error| not_maintained(&error))?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VacuumQuery {
    keep: Option<String>,
}

/// Deletes what no version younger than `keep` (default 1h) names.
pub(crate) async fn vacuum(
    State(node): State<Arc<Node>>,
    Path(table): Path<String>,
    Query(query): Query<VacuumQuery>,
) -> Result<Json<Value>, ErrorReply> {
    let keep = match query.keep {
        Some(text) => weir_types::span::parse(&text)
            .map_err(|error| ErrorReply::new(ErrorCode::InvalidRequest, format!("keep: {error}")))?,
        None => VACUUM_KEEP,
    };
    let vacuumed = node.vacuum_table(&named(&table)?, keep).await.map_err(|error| not_maintained(&error))?;
    Ok(Json(json!({ "files": vacuumed.files, "bytes": vacuumed.bytes, "log_files": vacuumed.log_files })))
}

fn named(table: &str) -> Result<TableName, ErrorReply> {
    table.parse().map_err(|error| ErrorReply::new(ErrorCode::NotFound, format!("table: {error}")))
}

fn not_maintained(error: &MaintainError) -> ErrorReply {
    match error {
        MaintainError::Unknown { .. } => ErrorReply::of(ErrorCode::NotFound, error),
        MaintainError::Keep { .. } => ErrorReply::of(ErrorCode::InvalidRequest, error),
        MaintainError::Compact(_) | MaintainError::Vacuum(_) => ErrorReply::of(ErrorCode::Internal, error),
    }
}

fn refused(error: &RefreshError) -> ErrorReply {
    match error {
        RefreshError::Unknown { .. } => ErrorReply::of(ErrorCode::NotFound, error),
        RefreshError::Behind(behind) => query::failure(behind),
        RefreshError::Commit(commit) => ErrorReply::of(ErrorCode::Internal, commit),
        RefreshError::Trouble { .. } | RefreshError::Time { .. } => ErrorReply::of(ErrorCode::TableBehind, error),
    }
}
