//! Answers on the wire: status, headers and body in the request's own protocol.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::error::Failure;
use crate::wire::{Protocol, Reply, xml};

/// The JSON protocol's content type.
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
/// The query protocol's content type.
const XML: HeaderValue = HeaderValue::from_static("text/xml");
/// Where a client finds the id that it should quote when it complains.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// Where the JSON protocol repeats the query protocol's code, for clients that were written for the latter.
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");

/// How one request is to be answered.
#[derive(Debug)]
pub struct Answer {
    /// The request's protocol.
    pub protocol: Protocol,
    /// The request's id, a UUID.
    pub request_id: String,
}

impl Answer {
    /// Answers with what the action gave.
    pub fn reply(&self, action: &str, reply: &impl Reply) -> Response {
        let body = match self.protocol {
            Protocol::Json if reply.is_empty() => Vec::new(),
            Protocol::Json => match serde_json::to_vec(reply) {
                Ok(body) => body,
                Err(error) => return self.failure(&Failure::internal("writing the answer", &error)),
            },
            Protocol::Query => xml::answer(action, reply, &self.request_id).into_bytes(),
        };
        self.response(StatusCode::OK, body)
    }

    /// Answers with a failure.
    pub fn failure(&self, failure: &Failure) -> Response {
        let body = match self.protocol {
            Protocol::Json => serde_json::json!({
                "__type": failure.code.shape().to_string(),
                "message": failure.message,
            })
            .to_string(),
            Protocol::Query => xml::failure(failure, &self.request_id),
        };
        let mut response = self.response(failure.code.status(), body.into_bytes());
        if self.protocol == Protocol::Json {
            let fault = if failure.code.is_senders() { "Sender" } else { "Receiver" };
            put(response.headers_mut(), QUERY_ERROR, &format!("{};{fault}", failure.code.query()));
        }
        response
    }

    fn response(&self, status: StatusCode, body: Vec<u8>) -> Response {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let kind = match self.protocol {
            Protocol::Json => JSON,
            Protocol::Query => XML,
        };
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        put(response.headers_mut(), REQUEST_ID, &self.request_id);
        response
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Codes and ids are ASCII: this never leaves one out.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
