//! `/v1/functions`: what runs, its versions and its logs.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_lambda::{ChangeError, Cursor, LogQuery};
use weir_runtime::{InvokeFailed, Node};
use weir_types::FunctionName;

use crate::body;
use crate::error::{ErrorCode, ErrorReply};
use crate::invoke;

/// Lines of one page of logs.
const LINES_MAX: usize = 10_000;
/// The longest that a page of logs waits for a line.
const WAIT_MAX: Duration = Duration::from_secs(20);

fn name(text: &str) -> Result<FunctionName, ErrorReply> {
    text.parse().map_err(|error| ErrorReply::new(ErrorCode::NotFound, format!("function: {error}")))
}

/// Lists functions that are more than the pipelines of their tables, and what confines handlers.
pub(crate) async fn list(State(node): State<Arc<Node>>) -> Json<Value> {
    let confinement: Vec<Value> = node
        .confinement()
        .into_iter()
        .map(|feature| json!({ "feature": feature.feature, "enforced": feature.enforced, "why": feature.why }))
        .collect();
    Json(json!({ "functions": node.status().functions, "confinement": confinement }))
}

/// Lists a handler's versions, oldest first, and its aliases.
pub(crate) async fn versions(
    State(node): State<Arc<Node>>,
    Path(function): Path<String>,
) -> Result<Json<Value>, ErrorReply> {
    let name = name(&function)?;
    let handler = node.handler(&name).map_err(|error| invoke::refused(&error))?;
    let versions: Vec<Value> = handler
        .versions()
        .into_iter()
        .map(|version| {
            json!({
                "version": version.number,
                "hash": version.hash,
                "created_at": version.created_at.to_string(),
                "live": version.live,
                "bytes": version.size,
            })
        })
        .collect();
    Ok(Json(json!({ "function": name, "versions": versions, "aliases": handler.aliases() })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollback {
    to: Option<u64>,
}

/// Makes an older version live.
pub(crate) async fn rollback(
    State(node): State<Arc<Node>>,
    Path(function): Path<String>,
    body: Body,
) -> Result<Json<Value>, ErrorReply> {
    let name = name(&function)?;
    let request: Rollback = body::read_json(node.env(), body).await?;
    let handler = node.handler(&name).map_err(|error| invoke::refused(&error))?;
    let live = handler.rollback(request.to).await.map_err(|error| changed(&error))?;
    Ok(Json(json!({ "function": name, "live": live })))
}

/// Reads a function's code again; new code drains the old.
pub(crate) async fn deploy(
    State(node): State<Arc<Node>>,
    Path(function): Path<String>,
) -> Result<Json<Value>, ErrorReply> {
    let name = name(&function)?;
    let version = node.deploy(&name).await.map_err(|error| {
        let code = match &error {
            weir_runtime::DeployFailed::Invoke(error) => return invoke::refused(error),
            weir_runtime::DeployFailed::Deploy { .. } => ErrorCode::FunctionFailed,
        };
        ErrorReply::of(code, &error)
    })?;
    Ok(Json(json!({ "function": name, "live": version })))
}

fn changed(error: &ChangeError) -> ErrorReply {
    let code = match error {
        ChangeError::Refused(_) => ErrorCode::NotFound,
        ChangeError::Store { .. } => ErrorCode::Busy,
        ChangeError::Missing { .. } => ErrorCode::FunctionFailed,
    };
    ErrorReply::of(code, error)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogParameters {
    /// Only lines from this place on, as `next` of the page before.
    after: Option<u64>,
    /// Only lines of this invocation.
    request: Option<String>,
    #[serde(default = "default_lines")]
    limit: usize,
    /// How long to wait for a line, such as `10s`.
    wait: Option<String>,
}

fn default_lines() -> usize {
    100
}

/// Returns lines of a handler's log; with `wait`, waits for one if there is none.
pub(crate) async fn logs(
    State(node): State<Arc<Node>>,
    Path(function): Path<String>,
    parameters: Result<Query<LogParameters>, QueryRejection>,
) -> Result<Json<Value>, ErrorReply> {
    let Query(parameters) = parameters?;
    let name = name(&function)?;
    let handler = node.handler(&name).map_err(|error: InvokeFailed| invoke::refused(&error))?;
    let wait = match &parameters.wait {
        None => Duration::ZERO,
        Some(text) => weir_types::span::parse(text)
            .map_err(|error| ErrorReply::new(ErrorCode::InvalidRequest, format!("wait: {error}")))?,
    };
    let query = LogQuery {
        after: parameters.after.map(Cursor),
        request_id: parameters.request,
        lines_max: parameters.limit.clamp(1, LINES_MAX),
    };
    let mut end = handler.follow();
    end.mark_unchanged();
    let read = |query: LogQuery| async {
        handler.logs(query).await.map_err(|error| ErrorReply::of(ErrorCode::Internal, &error))
    };
    let mut lines = read(query.clone()).await?;
    if lines.is_empty() && !wait.is_zero() {
        // An error says that the function is gone: the read that follows says so too.
        let _ = node.env().within(wait.min(WAIT_MAX), end.changed()).await;
        lines = read(query.clone()).await?;
    }
    let next = lines.last().map(|line| line.next.0).or(parameters.after).unwrap_or(end.borrow().0);
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({ "time": line.time.to_string(), "request_id": line.request_id, "source": line.source, "text": line.text })
        })
        .collect();
    Ok(Json(json!({ "lines": lines, "next": next })))
}
