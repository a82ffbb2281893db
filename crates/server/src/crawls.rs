//! `/v1/crawls`: what is pulled from vendors, and its runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_crawl::runs::{Outcome, Run};
use weir_crawl::status::CrawlStatus;
use weir_machine::SubmitError;
use weir_runtime::{CrawlError, Node, RunAsk};

use crate::body;
use crate::error::{ErrorCode, ErrorReply};

/// What a run is asked for with. The fields of `POST /v1/crawls/NAME/runs`, which may all be left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// Values for `{params.NAME}` that are not the plan's.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The tenants that are meant; none: all.
    #[serde(default)]
    pub tenants: Option<Vec<String>>,
    /// Names this start: made again with the same name, it is the same run.
    #[serde(default)]
    pub request: Option<String>,
}

/// What became of a start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    /// How.
    pub outcome: StartOutcome,
    /// The run that was asked for; none: it was left out.
    pub run: Option<Run>,
    /// Another run that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<u64>,
}

/// How a start went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartOutcome {
    /// The run is under way.
    Started,
    /// The same start was made before.
    Known,
    /// It was left out, because another run is under way.
    Skipped,
    /// It waits for the end of another.
    Queued,
    /// It begins when another, which is being cancelled for it, has ended.
    Replaces,
}

/// Why a run is cancelled. The fields of `POST /v1/crawls/NAME/cancel`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// In words, for the history.
    #[serde(default)]
    pub reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    #[serde(default)]
    dry_run: bool,
}

/// Lists the crawls, each with the run that is under way.
pub(crate) async fn list(State(node): State<Arc<Node>>) -> Json<Value> {
    Json(json!({ "crawls": node.crawls().list() }))
}

/// Shows one.
pub(crate) async fn show(
    State(node): State<Arc<Node>>,
    Path(crawl): Path<String>,
) -> Result<Json<CrawlStatus>, ErrorReply> {
    node.crawls().status(&crawl).map(Json).map_err(|error| refused(&error))
}

/// Lists a crawl's runs, the newest first.
pub(crate) async fn runs(State(node): State<Arc<Node>>, Path(crawl): Path<String>) -> Result<Json<Value>, ErrorReply> {
    let runs = node.crawls().runs(&crawl).map_err(|error| refused(&error))?;
    Ok(Json(json!({ "crawl": crawl, "runs": runs })))
}

/// Begins a run, or with `dry_run=true` says what one would come to. 201 if a run came of it, 200 if not.
pub(crate) async fn start(
    State(node): State<Arc<Node>>,
    Path(crawl): Path<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ErrorReply> {
    let Query(parameters) = parameters?;
    let request: RunRequest = body::read_json(node.env(), body).await?;
    let ask = RunAsk { params: request.params, tenants: request.tenants, request: request.request };
    if parameters.dry_run {
        let plan = node.crawls().dry_run(&crawl, &ask).map_err(|error| refused(&error))?;
        return Ok((StatusCode::OK, Json(json!(plan))));
    }
    let outcome = node.crawls().start(&crawl, ask).await.map_err(|error| refused(&error))?;
    let started = Started::of(outcome).ok_or_else(|| {
        ErrorReply::new(ErrorCode::Internal, format!("crawl `{crawl}`: a start was answered as something else"))
    })?;
    let status = match started.outcome {
        StartOutcome::Known | StartOutcome::Skipped => StatusCode::OK,
        StartOutcome::Started | StartOutcome::Queued | StartOutcome::Replaces => StatusCode::CREATED,
    };
    Ok((status, Json(json!(started))))
}

impl Started {
    /// Returns what became of a start; none: it is the answer to something else.
    fn of(outcome: Outcome) -> Option<Self> {
        let (outcome, run, under_way) = match outcome {
            Outcome::Started(run) => (StartOutcome::Started, Some(run), None),
            Outcome::Known(run) => (StartOutcome::Known, Some(run), None),
            Outcome::Skipped { under_way, .. } => (StartOutcome::Skipped, None, Some(under_way)),
            Outcome::Queued { run, behind } => (StartOutcome::Queued, Some(run), Some(behind)),
            Outcome::Replaces { run, cancelling } => (StartOutcome::Replaces, Some(run), Some(cancelling)),
            _ => return None,
        };
        Some(Self { outcome, run: run.map(|run| *run), under_way })
    }
}

/// Lets the run that is under way wait.
pub(crate) async fn pause(State(node): State<Arc<Node>>, Path(crawl): Path<String>) -> Result<Json<Run>, ErrorReply> {
    node.crawls().pause(&crawl).await.map(Json).map_err(|error| refused(&error))
}

/// Lets it go on.
pub(crate) async fn resume(State(node): State<Arc<Node>>, Path(crawl): Path<String>) -> Result<Json<Run>, ErrorReply> {
    node.crawls().resume(&crawl).await.map(Json).map_err(|error| refused(&error))
}

/// Ends it.
pub(crate) async fn cancel(
    State(node): State<Arc<Node>>,
    Path(crawl): Path<String>,
    body: Body,
) -> Result<Json<Run>, ErrorReply> {
    let request: CancelRequest = body::read_json(node.env(), body).await?;
    node.crawls().cancel(&crawl, request.reason).await.map(Json).map_err(|error| refused(&error))
}

pub(crate) fn refused(error: &CrawlError) -> ErrorReply {
    let code = match error {
        CrawlError::Unknown { .. } | CrawlError::UnknownApi { .. } => ErrorCode::NotFound,
        CrawlError::Asked { .. } | CrawlError::TooLarge { .. } => ErrorCode::InvalidRequest,
        CrawlError::CannotRun { .. } | CrawlError::NoRun { .. } | CrawlError::NotInState { .. } => {
            ErrorCode::NotInState
        }
        CrawlError::Submit { source, .. } => match source {
            SubmitError::Append { source, .. } => crate::records::append_code(source),
            SubmitError::Closed { .. } => ErrorCode::Closing,
            SubmitError::Fenced { .. } => ErrorCode::Internal,
        },
    };
    ErrorReply::of(code, error)
}
