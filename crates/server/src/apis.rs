//! `/v1/apis`: vendors' accounts, their budgets, and calls that handlers make through them.
//!
//! A handler calls `WEIR_API_NAME_URL/PATH` as it would call the vendor. weir waits for the account's budget, adds its
//! credentials, tries again what the vendor refused for its pace, and hands the answer on.
//!
//! Invariant: only processes of this machine can spend an account's budget, and none sees its credentials.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use weir_crawl::{Method as CallMethod, TransportError};
use weir_runtime::{CallError, Node};
use weir_types::{FunctionName, span};

use crate::body;
use crate::crawls::refused;
use crate::error::{ErrorCode, ErrorReply};
use crate::invoke::Peer;

/// The largest body of a call that is handed on.
const CALL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a call may take, waiting for the budget included, unless it says otherwise.
const WITHIN: Duration = Duration::from_secs(60);
/// The longest that a call may ask for: what an invocation of a handler may take.
const WITHIN_MAX: Duration = Duration::from_secs(15 * 60);
/// The header that says how long a call may take, such as `30s`.
const DEADLINE: HeaderName = HeaderName::from_static("x-weir-within");

/// Headers that are of a connection, and not of a message (RFC 9110, section 7.6.1), and those that the client sets itself.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Those of an answer that were true before it was decompressed.
const OF_ENCODING: [&str; 2] = ["accept-encoding", "content-encoding"];

/// Lists the accounts, each with how its budget stands.
pub(crate) async fn list(State(node): State<Arc<Node>>) -> Json<Value> {
    let crawls = node.crawls();
    let apis: Vec<Value> = crawls
        .apis()
        .into_iter()
        .map(|(name, budget)| {
            let base_url = crawls.base_url(name.as_str()).ok().map(ToString::to_string);
            json!({ "api": name, "base_url": base_url, "budget": budget })
        })
        .collect();
    Json(json!({ "apis": apis }))
}

/// Shows one.
pub(crate) async fn show(State(node): State<Arc<Node>>, Path(api): Path<String>) -> Result<Json<Value>, ErrorReply> {
    let crawls = node.crawls();
    let budget = crawls.api(&api).map_err(|error| refused(&error))?;
    let base_url = crawls.base_url(&api).map_err(|error| refused(&error))?;
    Ok(Json(json!({ "api": api, "base_url": base_url, "budget": budget })))
}

/// Makes a call for a handler.
pub(crate) async fn call(
    State(node): State<Arc<Node>>,
    Path(parts): Path<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, ErrorReply> {
    let part = |name: &str| parts.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let (api, function) = (part("api"), part("function"));
    let (head, body) = request.into_parts();
    if !head.extensions.get::<Peer>().is_some_and(|peer| peer.0.ip().to_canonical().is_loopback()) {
        let message = "an account's budget is spent by handlers of this machine alone: call from there";
        return Err(ErrorReply::new(ErrorCode::Forbidden, message));
    }
    let name = function.parse::<FunctionName>();
    if !name.is_ok_and(|name| node.may_call(&name, api)) {
        let message = format!("function `{function}` may not call api `{api}`: write `apis = [api.{api}]` in it");
        return Err(ErrorReply::new(ErrorCode::Forbidden, message));
    }
    let within = within(&head.headers)?;
    let base_url = node.crawls().base_url(api).map_err(|error| refused(&error))?.clone();
    let url = target(base_url, api, function, &head.uri)?;
    let method = method(&head.method)?;
    let headers = carried(&head.headers)?;
    let body = body::read_up_to(node.env(), body, CALL_BYTES_MAX).await?;
    let call = weir_crawl::Request { method, url, headers, body };
    match node.crawls().call(api, function, call, within).await {
        Ok(answer) => Ok(answered(answer)),
        Err(error) => Err(ErrorReply::of(code_of(&error), &error)),
    }
}

/// Puts what follows the function's name, as it was sent, behind the account's URL.
fn target(mut url: url::Url, api: &str, function: &str, uri: &axum::http::Uri) -> Result<url::Url, ErrorReply> {
    let prefix = format!("/v1/apis/{api}/call/{function}");
    let Some(rest) = uri.path().strip_prefix(&prefix) else {
        return Err(ErrorReply::new(ErrorCode::InvalidRequest, "the names of the api and the function are plain"));
    };
    // The path stays below the account's own: a segment that leads up would leave it.
    let leads_up = |segment: &str| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    };
    if rest.split(['/', '\\']).any(leads_up) {
        return Err(ErrorReply::new(ErrorCode::InvalidRequest, "a path of a call has no `.` and `..`"));
    }
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}{rest}"));
    url.set_query(uri.query());
    Ok(url)
}

fn within(headers: &HeaderMap) -> Result<Duration, ErrorReply> {
    let Some(text) = headers.get(DEADLINE) else { return Ok(WITHIN) };
    let parsed = text.to_str().ok().and_then(|text| span::parse(text).ok());
    match parsed {
        Some(within) if !within.is_zero() && within <= WITHIN_MAX => Ok(within),
        _ => {
            let message =
                format!("{DEADLINE}: write a length of time up to {}, such as 30s", span::display(WITHIN_MAX));
            Err(ErrorReply::new(ErrorCode::InvalidRequest, message))
        }
    }
}

fn method(method: &Method) -> Result<CallMethod, ErrorReply> {
    Ok(match method.as_str() {
        "GET" => CallMethod::Get,
        "POST" => CallMethod::Post,
        "PUT" => CallMethod::Put,
        "DELETE" => CallMethod::Delete,
        "PATCH" => CallMethod::Patch,
        "HEAD" => CallMethod::Head,
        other => {
            let message = format!("{other} is not handed on: GET, POST, PUT, DELETE, PATCH and HEAD are");
            return Err(ErrorReply::new(ErrorCode::MethodNotAllowed, message));
        }
    })
}

/// Returns the headers that are handed on: not those of this connection, and not those that it names as its own.
fn carried(headers: &HeaderMap) -> Result<Vec<(String, String)>, ErrorReply> {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let mut carried = Vec::new();
    for (name, value) in headers {
        let is_ours = name == DEADLINE || HOP_BY_HOP.contains(&name.as_str()) || OF_ENCODING.contains(&name.as_str());
        if is_ours || named.iter().any(|other| other == name.as_str()) {
            continue;
        }
        let Ok(value) = value.to_str() else {
            return Err(ErrorReply::new(ErrorCode::InvalidRequest, format!("header `{name}` is not ASCII")));
        };
        carried.push((name.as_str().to_owned(), value.to_owned()));
    }
    Ok(carried)
}

fn answered(answer: weir_crawl::Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = (status, Body::from(answer.body)).into_response();
    // The body's own type, and not that of bytes.
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in answer.headers {
        if HOP_BY_HOP.contains(&name.as_str()) || OF_ENCODING.contains(&name.as_str()) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn code_of(error: &CallError) -> ErrorCode {
    match error {
        CallError::UnknownApi { .. } => ErrorCode::NotFound,
        CallError::TooLate { .. } => ErrorCode::VendorSlow,
        CallError::Transport { source, .. } => match source {
            TransportError::Timeout { .. } => ErrorCode::VendorSlow,
            TransportError::Connect { .. }
            | TransportError::CutOff { .. }
            | TransportError::TooLarge { .. }
            | TransportError::Token { .. }
            | TransportError::NotRecorded { .. } => ErrorCode::VendorFailed,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(uri: &str) -> Option<String> {
        let base = "https://vendor.example/v1/".parse().unwrap();
        target(base, "monitor", "ask", &uri.parse().unwrap()).ok().map(String::from)
    }

    #[test]
    fn a_path_stays_below_the_accounts_url_as_it_was_sent() {
        let found = to("/v1/apis/monitor/call/ask/devices/a%2Fb?page=2&q=a+b");
        assert_eq!(found.as_deref(), Some("https://vendor.example/v1/devices/a%2Fb?page=2&q=a+b"));
        assert_eq!(to("/v1/apis/monitor/call/ask").as_deref(), Some("https://vendor.example/v1"));
        for up in ["/../admin", "/a/%2e%2E/b", "/./a", "/a/..", "/a\\..\\b"] {
            assert_eq!(to(&format!("/v1/apis/monitor/call/ask{up}")), None, "{up}");
        }
        assert_eq!(to("/v1/apis/monitor/call/other/devices"), None);
    }

    #[test]
    fn headers_of_the_connection_are_not_handed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "application/json"),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("host", "127.0.0.1"),
            ("accept-encoding", "br"),
            ("x-weir-within", "5s"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert_eq!(carried(&headers).ok(), Some(vec![("accept".to_owned(), "application/json".to_owned())]));
        assert_eq!(within(&headers).ok(), Some(Duration::from_secs(5)));
    }
}
