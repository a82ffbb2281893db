//! Lambda's own way to invoke a function, and a URL for each: `/2015-03-31/functions/NAME/invocations`, `/functions/NAME/...`.
//!
//! Source of the former: <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>. A function's URL gives the handler
//! the request as payload format 2.0, and makes an HTTP response of what it returns.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use weir_lambda::event::{ApiForm, ApiRequest, api, api_response};
use weir_lambda::limits::PAYLOAD_BYTES_MAX;
use weir_lambda::{Invocation, InvokeError};
use weir_runtime::{InvokeFailed, Node};
use weir_types::FunctionName;

use crate::body;
use crate::error::{ErrorCode, ErrorReply};

/// The largest event that is kept for later: a message's body.
const EVENT_BYTES_MAX: usize = weir_queue::limits::MESSAGE_BYTES_MAX - 1024;

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub SocketAddr);

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    #[serde(rename = "Qualifier")]
    qualifier: Option<String>,
}

/// An error as Lambda's clients read it.
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    fn of(error: &InvokeFailed) -> Self {
        let kind = |status, kind| Self::new(status, kind, ErrorReply::of(ErrorCode::Internal, error).error.message);
        match error {
            InvokeFailed::NoFunction(_) => kind(StatusCode::NOT_FOUND, "ResourceNotFoundException"),
            InvokeFailed::NoHandler(_) => kind(StatusCode::BAD_REQUEST, "InvalidParameterValueException"),
            InvokeFailed::Send { .. } => kind(StatusCode::SERVICE_UNAVAILABLE, "ServiceException"),
            InvokeFailed::NoRecords { .. } | InvokeFailed::Output { .. } => {
                kind(StatusCode::BAD_GATEWAY, "InvalidRuntimeException")
            }
            InvokeFailed::Invoke(error) => match error {
                InvokeError::Throttled { .. } => kind(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException"),
                InvokeError::TooLarge { .. } => kind(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException"),
                InvokeError::NoSuchVersion { .. } => kind(StatusCode::NOT_FOUND, "ResourceNotFoundException"),
                InvokeError::Install { .. } => kind(StatusCode::BAD_GATEWAY, "InvalidRuntimeException"),
                _ => kind(StatusCode::SERVICE_UNAVAILABLE, "ServiceException"),
            },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = if self.status.is_client_error() { "User" } else { "Service" };
        let body = axum::Json(json!({ "Type": kind, "Message": self.message, "message": self.message }));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(self.kind));
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Reads a function's name as clients write it: `NAME`, `NAME:QUALIFIER`, or an ARN with either at its end.
fn name_of(text: &str) -> Result<(FunctionName, Option<String>), Refusal> {
    let parts: Vec<&str> = text.split(':').collect();
    let (name, qualifier) = match parts.as_slice() {
        [name] => (*name, None),
        [name, qualifier] => (*name, Some((*qualifier).to_owned())),
        ["arn", _, "lambda", _, _, "function", name] | [_, "function", name] => (*name, None),
        ["arn", _, "lambda", _, _, "function", name, qualifier] => (*name, Some((*qualifier).to_owned())),
        _ => (text, None),
    };
    let refused = |error| Refusal::new(StatusCode::BAD_REQUEST, "InvalidParameterValueException", format!("{error}"));
    Ok((name.parse().map_err(refused)?, qualifier))
}

/// Invokes a function: 200 with what it returned (or its error, which a header says), 202 for later, 204 for a dry run.
pub(crate) async fn invoke(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match invoked(&node, &name, parameters, &headers, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn invoked(
    node: &Node,
    name: &str,
    parameters: Parameters,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (name, qualifier) = name_of(name)?;
    let payload = body::read_up_to(node.env(), body, PAYLOAD_BYTES_MAX)
        .await
        .map_err(|error| Refusal::new(error.error.code.status(), "RequestTooLargeException", error.error.message))?;
    let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        let message = format!("could not parse the request body as JSON: {error}");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidRequestContentException", message));
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("x-amz-invocation-type").unwrap_or("RequestResponse") {
        "RequestResponse" => {}
        "DryRun" => {
            node.handler(&name).map_err(|error| Refusal::of(&error))?;
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        "Event" => return invoke_later(node, &name, payload).await,
        other => {
            let message = format!("the invocation type `{other}` is none of RequestResponse, Event and DryRun");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidParameterValueException", message));
        }
    }
    let invocation = Invocation {
        payload,
        client_context: client_context(text("x-amz-client-context"))?,
        trace: text("x-amzn-trace-id").map(str::to_owned),
        tail_logs: text("x-amz-log-type").is_some_and(|kind| kind.eq_ignore_ascii_case("tail")),
        qualifier: parameters.qualifier.or(qualifier),
    };
    match node.invoke(&name, invocation).await {
        Ok(invoked) => {
            let answer = invoked.answer;
            let mut response = json_response(answer.payload);
            let headers = response.headers_mut();
            insert(headers, "x-amzn-requestid", &answer.request_id);
            insert(headers, "x-amz-executed-version", &answer.version.to_string());
            if let Some(log) = &answer.log_tail {
                insert(headers, "x-amz-log-result", &BASE64.encode(log));
            }
            Ok(response)
        }
        Err(InvokeFailed::Invoke(error)) if error.is_function_error() => {
            let mut response = json_response(error.payload());
            let headers = response.headers_mut();
            headers.insert(HeaderName::from_static("x-amz-function-error"), HeaderValue::from_static("Unhandled"));
            if let Some(id) = error.request_id() {
                insert(headers, "x-amzn-requestid", id);
            }
            Ok(response)
        }
        Err(error) => Err(Refusal::of(&error)),
    }
}

async fn invoke_later(node: &Node, name: &FunctionName, payload: Bytes) -> Result<Response, Refusal> {
    if payload.len() > EVENT_BYTES_MAX {
        let message = format!("an event has {} bytes, and may have {EVENT_BYTES_MAX}", payload.len());
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", message));
    }
    let id = node.invoke_later(name, payload).await.map_err(|error| Refusal::of(&error))?;
    let mut response = StatusCode::ACCEPTED.into_response();
    insert(response.headers_mut(), "x-amzn-requestid", &id.to_string());
    Ok(response)
}

fn client_context(text: Option<&str>) -> Result<Option<Bytes>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let decoded = BASE64.decode(text).ok();
    let decoded = decoded.filter(|bytes| serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok());
    let refused = || {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            "the client context is not JSON in base64",
        )
    };
    decoded.map(|bytes| Some(Bytes::from(bytes))).ok_or_else(refused)
}

fn json_response(payload: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], payload).into_response()
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Calls a function by its URL.
pub(crate) async fn url(State(node): State<Arc<Node>>, request: Request) -> Result<Response, ErrorReply> {
    let peer =
        request.extensions().get::<Peer>().map_or_else(|| "127.0.0.1".to_owned(), |peer| peer.0.ip().to_string());
    let (head, body) = request.into_parts();
    let full = head.uri.path().trim_start_matches("/functions/");
    let (name, rest) = full.split_once('/').unwrap_or((full, ""));
    let not_found = |error: String| ErrorReply::new(ErrorCode::NotFound, error);
    let name: FunctionName = name.parse().map_err(|error| not_found(format!("function: {error}")))?;
    // What AWS adds to a request is base64 for anything but text: a third more than the body.
    let body = body::read_up_to(node.env(), body, PAYLOAD_BYTES_MAX * 2 / 3).await?;
    let headers: Vec<(&str, &[u8])> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let path = format!("/{rest}");
    let request_id = format!("{:016x}", node.env().random());
    let event = api(&ApiRequest {
        form: ApiForm::FunctionUrl,
        api_id: name.as_str(),
        method: head.method.as_str(),
        path: &path,
        query: head.uri.query().unwrap_or_default(),
        protocol: "HTTP/1.1",
        headers: &headers,
        path_parameters: &[],
        body: &body,
        source_ip: &peer,
        request_id: &request_id,
        received_at: node.env().now(),
    });
    let answer = match node.invoke(&name, Invocation::new(event)).await {
        Ok(invoked) => invoked.answer.payload,
        // A web handler may answer its caller, and hand nothing on.
        Err(InvokeFailed::NoRecords { answer, .. }) => answer.payload,
        Err(error) => {
            let reply = refused(&error);
            if reply.error.code != ErrorCode::FunctionFailed {
                return Err(reply);
            }
            // Whoever calls a URL may be anybody: what failed is for the log.
            tracing::warn!(function = %name, error = reply.error.message, "a call of a function's URL failed");
            let message = format!("the function failed; `weir function logs {name}` and weir's own log say why");
            return Err(ErrorReply::new(ErrorCode::FunctionFailed, message));
        }
    };
    let failed = |what: String| {
        tracing::warn!(function = %name, error = what, "what a function returned is no HTTP response");
        ErrorReply::new(ErrorCode::FunctionFailed, what)
    };
    let answer = api_response(&answer)
        .map_err(|error| failed(ErrorReply::of(ErrorCode::FunctionFailed, &error).error.message))?;
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(|error| failed(error.to_string()))?;
    let cookies = answer.cookies.into_iter().map(|cookie| ("set-cookie".to_owned(), cookie));
    for (name, value) in answer.headers.into_iter().chain(cookies) {
        let name = HeaderName::try_from(name).map_err(|error| failed(error.to_string()))?;
        let value = HeaderValue::try_from(value).map_err(|error| failed(error.to_string()))?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

/// Tells why a function was not invoked, in weir's own form.
pub(crate) fn refused(error: &InvokeFailed) -> ErrorReply {
    let code = match error {
        InvokeFailed::NoFunction(_) | InvokeFailed::Invoke(InvokeError::NoSuchVersion { .. }) => ErrorCode::NotFound,
        InvokeFailed::NoHandler(_) => ErrorCode::InvalidRequest,
        InvokeFailed::Invoke(InvokeError::Throttled { .. }) => ErrorCode::Busy,
        InvokeFailed::Invoke(InvokeError::TooLarge { .. }) => ErrorCode::BodyTooLarge,
        InvokeFailed::Invoke(InvokeError::Closed { .. }) => ErrorCode::Closing,
        InvokeFailed::Send { source, .. } if source.is_closed() => ErrorCode::Closing,
        InvokeFailed::Send { .. } => ErrorCode::Busy,
        InvokeFailed::NoRecords { .. } | InvokeFailed::Output { .. } | InvokeFailed::Invoke(_) => {
            ErrorCode::FunctionFailed
        }
    };
    ErrorReply::of(code, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_as_lambdas_clients_do() {
        let read = |text: &str| name_of(text).map(|(name, qualifier)| (name.to_string(), qualifier)).ok();
        assert_eq!(read("score"), Some(("score".into(), None)));
        assert_eq!(read("score:3"), Some(("score".into(), Some("3".into()))));
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:score";
        assert_eq!(read(arn), Some(("score".into(), None)));
        assert_eq!(read(&format!("{arn}:live")), Some(("score".into(), Some("live".into()))));
        assert_eq!(read("000000000000:function:score"), Some(("score".into(), None)));
        assert_eq!(read("sc ore"), None);
    }
}
