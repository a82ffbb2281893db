//! `/v1/files/NAME/notifications`: a store, or whoever puts files somewhere, says what is new.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use weir_runtime::{HearError, Node};

use crate::body;
use crate::error::{ErrorCode, ErrorReply};

/// Takes an event as S3, SNS or EventBridge send it; an empty body asks for a look at everything. It answers before anything
/// was looked at: the looks that come anyway find what is lost now.
pub(crate) async fn notify(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, ErrorReply> {
    let body = body::read(node.env(), body).await?;
    let named = node.hear_of_files(&name, &body).map_err(|error| {
        let code = match &error {
            HearError::NoFiles { .. } => ErrorCode::NotFound,
            HearError::Notification(_) => ErrorCode::InvalidBody,
        };
        ErrorReply::of(code, &error)
    })?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "files": named }))).into_response())
}
