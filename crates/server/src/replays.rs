//! `/v1/replays`: records of the past, once more.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_log::ReadError;
use weir_machine::SubmitError;
use weir_runtime::{Node, Preview, Rate, ReplayAsk, ReplayError, ResolveError, RunStatus};

use crate::body;
use crate::error::{ErrorCode, ErrorReply};

/// The rate that a run is to have.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateRequest {
    /// Such as `50/s`; none: as fast as it goes.
    #[serde(default)]
    pub rate: Option<Rate>,
}

/// Begins a run; 201 with how it stands.
pub(crate) async fn begin(
    State(node): State<Arc<Node>>,
    body: Body,
) -> Result<(StatusCode, Json<RunStatus>), ErrorReply> {
    let ask: ReplayAsk = body::read_json(node.env(), body).await?;
    let run = node.begin_replay(&ask).await.map_err(|error| refused(&error))?;
    Ok((StatusCode::CREATED, Json(run)))
}

/// Says what a run would come to.
pub(crate) async fn preview(State(node): State<Arc<Node>>, body: Body) -> Result<Json<Preview>, ErrorReply> {
    let ask: ReplayAsk = body::read_json(node.env(), body).await?;
    node.preview_replay(&ask).await.map(Json).map_err(|error| refused(&error))
}

/// Lists the runs, the newest first.
pub(crate) async fn list(State(node): State<Arc<Node>>) -> Json<Value> {
    Json(json!({ "replays": node.replays() }))
}

/// Shows one.
pub(crate) async fn show(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Result<Json<RunStatus>, ErrorReply> {
    node.replay(&id).map(Json).map_err(|error| refused(&error))
}

/// Lets one wait.
pub(crate) async fn pause(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
) -> Result<Json<RunStatus>, ErrorReply> {
    node.pause_replay(&id).await.map(Json).map_err(|error| refused(&error))
}

/// Lets one go on.
pub(crate) async fn resume(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
) -> Result<Json<RunStatus>, ErrorReply> {
    node.resume_replay(&id).await.map(Json).map_err(|error| refused(&error))
}

/// Ends one.
pub(crate) async fn cancel(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
) -> Result<Json<RunStatus>, ErrorReply> {
    node.cancel_replay(&id).await.map(Json).map_err(|error| refused(&error))
}

/// Sets one's rate.
pub(crate) async fn rate(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<RunStatus>, ErrorReply> {
    let request: RateRequest = body::read_json(node.env(), body).await?;
    node.set_replay_rate(&id, request.rate).await.map(Json).map_err(|error| refused(&error))
}

fn refused(error: &ReplayError) -> ErrorReply {
    let code = match error {
        ReplayError::Resolve(error) => of_resolve(error),
        ReplayError::NoRun { .. } => ErrorCode::NotFound,
        ReplayError::Ambiguous { .. } | ReplayError::Name => ErrorCode::InvalidRequest,
        ReplayError::Over { .. } => ErrorCode::Over,
        ReplayError::TooMany => ErrorCode::Busy,
        ReplayError::Submit(SubmitError::Append { source, .. }) => crate::records::append_code(source),
        ReplayError::Submit(SubmitError::Closed { .. }) => ErrorCode::Closing,
        ReplayError::Submit(SubmitError::Fenced { .. }) => ErrorCode::Internal,
    };
    ErrorReply::of(code, error)
}

fn of_resolve(error: &ResolveError) -> ErrorCode {
    match error {
        ResolveError::NoStream { .. } | ResolveError::NoFunction { .. } | ResolveError::NoTable { .. } => {
            ErrorCode::NotFound
        }
        ResolveError::NoSource
        | ResolveError::NotOnStream { .. }
        | ResolveError::OtherStream { .. }
        | ResolveError::OtherFunction { .. }
        | ResolveError::NotFed { .. }
        | ResolveError::OtherOutputs { .. }
        | ResolveError::NoTargets { .. }
        | ResolveError::NoIds { .. }
        | ResolveError::Time(_)
        | ResolveError::NoWindow { .. }
        | ResolveError::NoEventTime { .. }
        | ResolveError::NoArchive { .. } => ErrorCode::InvalidRequest,
        ResolveError::Trimmed { .. } => ErrorCode::Trimmed,
        ResolveError::Read(ReadError::Closed) => ErrorCode::Closing,
        ResolveError::Read(ReadError::Damaged { .. } | ReadError::Lost { .. }) => ErrorCode::Damaged,
        ResolveError::Read(_) | ResolveError::Look { .. } | ResolveError::Archive { .. } => ErrorCode::Internal,
    }
}
