//! `/v1/dead-letters`: which records could not go on, and what is to become of them.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use weir_runtime::{
    ActError, Acted, Batch, Cursor, Edit, Filter, FilterError, FindError, LETTERS_LISTED_MAX, LETTERS_MAX, Node,
    QueryFailed, ShowError, Shown, State as LetterState,
};

use crate::body;
use crate::error::{ErrorCode, ErrorReply};
use crate::query;

/// Letters of one page, where nothing is said.
const PAGE: usize = 100;

/// Which letters a request is about. What is not said holds for all.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetterQuery {
    /// `letters` or `groups`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<View>,
    /// `open`, `redriven`, `dropped` or `any`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// A condition in SQL over the columns of `dead_letters`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub predicate: Option<String>,
    /// The cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The earliest time of the last failure, or how long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The latest time of the last failure, or how long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Ids, with line breaks between: they may hold anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Letters of one page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// How letters are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// One by one, the one that failed last first.
    #[default]
    Letters,
    /// By cause, target and error.
    Groups,
}

/// What is to become of which letters. Calls that go on where the last one ended say so with `after` and the same `run`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActRequest {
    /// A condition in SQL over the columns of `dead_letters`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub predicate: Option<String>,
    /// The cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The earliest time of the last failure, or how long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The latest time of the last failure, or how long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The letters themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// That all open letters are meant, if nothing else is said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Letters of this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The `next` of the call before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The run's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// A JSON merge patch on each payload; of a redrive alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<Box<RawValue>>,
}

fn invalid(message: impl Into<String>) -> ErrorReply {
    ErrorReply::new(ErrorCode::InvalidRequest, message)
}

/// Lists letters, or groups of them.
pub(crate) async fn list(
    State(node): State<Arc<Node>>,
    query: Result<Query<LetterQuery>, QueryRejection>,
) -> Result<Json<Value>, ErrorReply> {
    let Query(query) = query?;
    let state = match &query.state {
        None => LetterState::Open,
        Some(name) => LetterState::from_name(name)
            .ok_or_else(|| invalid(format!("`state` is `{name}`: say {}", LetterState::NAMES.join(", "))))?,
    };
    let ids = query.id.iter().flat_map(|ids| ids.lines()).map(str::to_owned).collect();
    let filter = Filter {
        predicate: query.predicate,
        cause: query.cause,
        target: query.target,
        source: query.source,
        since: query.since,
        until: query.until,
        ids,
        state,
    };
    if query.view == Some(View::Groups) {
        let groups = node.letter_groups(&filter).await.map_err(|error| not_found(&error))?;
        return Ok(Json(json!({ "groups": groups })));
    }
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LETTERS_LISTED_MAX).contains(&limit) {
        return Err(invalid(format!("`limit` is {limit}, and may be 1 to {LETTERS_LISTED_MAX}")));
    }
    let after = cursor(query.after.as_deref())?;
    let found = node.letters(&filter, limit, after.as_ref()).await.map_err(|error| not_found(&error))?;
    let next = found.next.map(|next| next.to_string());
    Ok(Json(json!({ "letters": found.letters, "next": next })))
}

/// Shows one letter.
pub(crate) async fn show(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Result<Json<Shown>, ErrorReply> {
    node.letter(&id).await.map(Json).map_err(|error| match &error {
        ShowError::NoLetter(_) => ErrorReply::of(ErrorCode::NotFound, &error),
        ShowError::Find(find) => not_found(find),
    })
}

/// Sends letters on once more.
pub(crate) async fn redrive(State(node): State<Arc<Node>>, body: Body) -> Result<Json<Acted>, ErrorReply> {
    let request: ActRequest = body::read_json(node.env(), body).await?;
    let edit: Option<Edit> = match &request.edit {
        Some(edit) => Some(edit.get().parse().map_err(|error| ErrorReply::of(ErrorCode::InvalidRequest, &error))?),
        None => None,
    };
    let batch = batch(request)?;
    node.redrive(&batch, edit.as_ref()).await.map(Json).map_err(|error| refused(&error))
}

/// Gives letters up for good.
pub(crate) async fn drop_letters(State(node): State<Arc<Node>>, body: Body) -> Result<Json<Acted>, ErrorReply> {
    let request: ActRequest = body::read_json(node.env(), body).await?;
    if request.edit.is_some() {
        return Err(invalid("`edit` has no meaning for letters that are dropped"));
    }
    let batch = batch(request)?;
    node.drop_letters(&batch).await.map(Json).map_err(|error| refused(&error))
}

fn batch(request: ActRequest) -> Result<Batch, ErrorReply> {
    let limit = request.limit.unwrap_or(PAGE);
    if !(1..=LETTERS_MAX).contains(&limit) {
        return Err(invalid(format!("`limit` is {limit}, and may be 1 to {LETTERS_MAX}")));
    }
    let after = cursor(request.after.as_deref())?;
    let filter = Filter {
        predicate: request.predicate,
        cause: request.cause,
        target: request.target,
        source: request.source,
        since: request.since,
        until: request.until,
        ids: request.ids,
        state: LetterState::Open,
    };
    Ok(Batch { filter, all: request.all, limit, after, run: request.run })
}

fn cursor(text: Option<&str>) -> Result<Option<Cursor>, ErrorReply> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error: weir_runtime::CursorError| ErrorReply::of(ErrorCode::InvalidRequest, &error))
}

fn not_found(error: &FindError) -> ErrorReply {
    match error {
        FindError::Filter(FilterError::Predicate(error)) => in_condition(query::query_failure(error)),
        FindError::Filter(_) => ErrorReply::of(ErrorCode::InvalidRequest, error),
        FindError::Query(QueryFailed::Query(error)) => in_condition(query::query_failure(error)),
        FindError::Query(error) => query::failure(error),
        FindError::Column { .. } => ErrorReply::of(ErrorCode::Internal, error),
    }
}

/// Says where a line and a column are meant.
fn in_condition(mut reply: ErrorReply) -> ErrorReply {
    if reply.error.code == ErrorCode::InvalidQuery {
        reply.error.message = format!("the condition: {}", reply.error.message);
    }
    reply
}

fn refused(error: &ActError) -> ErrorReply {
    let code = match error {
        ActError::Find(error) => return not_found(error),
        ActError::Unfiltered | ActError::Run => ErrorCode::InvalidRequest,
        ActError::Edit { .. } => ErrorCode::EditRefused,
        ActError::Busy => ErrorCode::Busy,
        ActError::Append(error) => crate::records::append_code(error),
    };
    ErrorReply::of(code, error)
}
