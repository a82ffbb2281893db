//! `/v1/schemas`: subjects and their versions.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use weir_machine::SubmitError;
use weir_runtime::Node;
use weir_schema::registry::{Outcome, Registered, Version};
use weir_types::SubjectName;

use crate::body;
use crate::error::{ErrorCode, ErrorReply};

fn describe(subject: &SubjectName, version: &Version) -> Value {
    let schema = &version.schema;
    json!({
        "subject": subject,
        "version": version.version,
        "id": version.id,
        "fingerprint": schema.fingerprint().to_string(),
        "schema": serde_json::from_str::<Value>(schema.to_json()).unwrap_or(Value::Null),
    })
}

fn subject(text: &str) -> Result<SubjectName, ErrorReply> {
    text.parse().map_err(|error| ErrorReply::new(ErrorCode::InvalidRequest, format!("subject: {error}")))
}

/// Lists every subject with its latest version.
pub(crate) async fn list(State(node): State<Arc<Node>>) -> Json<Value> {
    let subjects: Vec<Value> = node.registry().read(|registry| {
        let subjects = registry.subjects();
        subjects.iter().filter_map(|name| Some(describe(name, &registry.latest(name)?))).collect()
    });
    Json(json!({ "subjects": subjects }))
}

/// Returns every version of a subject, oldest first.
pub(crate) async fn get(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Result<Json<Value>, ErrorReply> {
    let name = subject(&name)?;
    let (level, versions) = node.registry().read(|registry| {
        let versions: Vec<Value> = registry.versions(&name).iter().map(|version| describe(&name, version)).collect();
        (registry.compatibility(&name), versions)
    });
    if versions.is_empty() {
        return Err(ErrorReply::new(ErrorCode::NotFound, format!("there is no subject `{name}`")));
    }
    Ok(Json(json!({ "compatibility": level, "versions": versions })))
}

/// Registers a schema. 201 when it is new, 200 when the subject has it already, 409 with the fields when it contradicts.
pub(crate) async fn register(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, ErrorReply> {
    let name = subject(&name)?;
    let body = body::read(node.env(), body).await?;
    let text = String::from_utf8(body.to_vec())
        .map_err(|_| ErrorReply::new(ErrorCode::InvalidBody, "the schema is not UTF-8"))?;
    let outcome = node.registry().register(name.clone(), text).await.map_err(|error| {
        let code = match &error {
            SubmitError::Append { .. } => ErrorCode::Busy,
            SubmitError::Fenced { .. } | SubmitError::Closed { .. } => ErrorCode::Closing,
        };
        ErrorReply::of(code, &error)
    })?;
    let done = |status: StatusCode, at: Registered| {
        let fingerprint = at.fingerprint.to_string();
        let body = json!({ "subject": name, "version": at.version, "id": at.id, "fingerprint": fingerprint });
        Ok((status, Json(body)).into_response())
    };
    match outcome {
        Outcome::Registered(at) => done(StatusCode::CREATED, at),
        Outcome::Unchanged(at) => done(StatusCode::OK, at),
        Outcome::Incompatible { level, reasons } => {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            let message =
                format!("under {level} the schema contradicts the subject's versions: {}", reasons.join("; "));
            Err(ErrorReply::new(ErrorCode::IncompatibleSchema, message))
        }
        Outcome::Invalid { error } => Err(ErrorReply::of(ErrorCode::InvalidBody, &error)),
        other => Err(ErrorReply::new(ErrorCode::Internal, format!("the registry answered {other:?}"))),
    }
}
