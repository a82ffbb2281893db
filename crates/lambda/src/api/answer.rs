//! What the API answers: events, `{"status":"OK"}`, and refusals.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::{StateError, Work};
use crate::limits::RESPONSE_BYTES_MAX;

pub(super) type Answer = Response<Full<Bytes>>;

fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The event, with what belongs to it in headers.
pub(super) fn event(work: Work) -> Answer {
    let mut answer = json(StatusCode::OK, work.payload);
    let headers = answer.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        // Values are made by the host or checked by it; one that can't be a header's would be left out, and is told.
        match HeaderValue::from_str(value) {
            Ok(value) => {
                headers.insert(name, value);
            }
            Err(_) => tracing::warn!(header = name, "a value that can't be a header's is left out"),
        }
    };
    set("lambda-runtime-aws-request-id", &work.request_id);
    set("lambda-runtime-deadline-ms", &work.deadline_ms.to_string());
    set("lambda-runtime-invoked-function-arn", &work.arn);
    set("lambda-runtime-trace-id", &work.trace);
    if let Some(context) = work.client_context {
        match HeaderValue::from_maybe_shared(context) {
            Ok(value) => {
                headers.insert("lambda-runtime-client-context", value);
            }
            Err(_) => tracing::warn!("a client context that can't be a header is left out"),
        }
    }
    answer
}

pub(super) fn accepted() -> Answer {
    json(StatusCode::ACCEPTED, "{\"status\":\"OK\"}\n")
}

fn refused(status: StatusCode, error_type: &str, message: &str) -> Answer {
    let body = serde_json::json!({ "errorMessage": message, "errorType": error_type });
    json(status, format!("{body}\n"))
}

pub(super) fn wrong_state(error: StateError) -> Answer {
    match error {
        StateError::InvalidTransition => {
            refused(StatusCode::FORBIDDEN, "InvalidStateTransition", "State transition is not allowed")
        }
        StateError::InvalidRequest => refused(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"),
    }
}

pub(super) fn too_large() -> Answer {
    let message = format!("Exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes).");
    refused(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message)
}

pub(super) fn broken_body(what: &str) -> Answer {
    refused(StatusCode::BAD_REQUEST, "TruncatedResponse", what)
}

pub(super) fn unsupported(path: &str) -> Answer {
    let message = format!("`{path}` is not supported: there are no snapshots to restore from");
    refused(StatusCode::FORBIDDEN, "UnsupportedOperation", &message)
}

pub(super) fn not_found(path: &str) -> Answer {
    refused(StatusCode::NOT_FOUND, "NotFound", &format!("the Runtime API 2018-06-01 has no `{path}`"))
}

pub(super) fn wrong_method(path: &str) -> Answer {
    refused(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", &format!("`{path}` has another method"))
}
