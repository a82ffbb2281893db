//! A line of a recording.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::Redaction;
use crate::{Answer, Method, Request};

/// An answer, and what it was the answer to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The request's key, 32 hexadecimal digits. First, so that an index needs no body.
    pub(super) key: String,
    pub(super) request: String,
    status: u16,
    headers: Vec<(String, String)>,
    latency_ms: f64,
    /// The body, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The body, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// What an index needs of a line. All of the line is read nevertheless: one that was torn is not taken for whole.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) key: String,
    pub(super) request: String,
}

impl Entry {
    pub(super) fn new(key: &Key, answer: &Answer, redaction: &Redaction) -> Self {
        let headers = answer.headers.iter().filter(|(name, _)| redaction.keeps_header(name));
        let headers = headers.map(|(name, value)| (name.clone(), redaction.text(value.clone()))).collect();
        let (text, base64) = match std::str::from_utf8(&answer.body) {
            Ok(text) => (Some(redaction.text(text.to_owned())), None),
            Err(_) => (None, Some(STANDARD.encode(redaction.bytes(&answer.body)))),
        };
        Self {
            key: key.hex(),
            request: key.request.clone(),
            status: answer.status,
            headers,
            latency_ms: answer.latency.as_secs_f64() * 1000.0,
            text,
            base64,
        }
    }

    /// Returns the answer; None if the body is no base64.
    pub(super) fn into_answer(self) -> Option<Answer> {
        let body = match (self.text, self.base64) {
            (Some(text), _) => Bytes::from(text),
            (None, Some(base64)) => Bytes::from(STANDARD.decode(base64).ok()?),
            (None, None) => Bytes::new(),
        };
        let seconds = (self.latency_ms / 1000.0).clamp(0.0, 86_400.0);
        Some(Answer { status: self.status, headers: self.headers, body, latency: Duration::from_secs_f64(seconds) })
    }
}

/// What a request is known by.
pub(super) struct Key {
    pub(super) hash: u128,
    /// Method and URL, as they are shown.
    pub(super) request: String,
}

impl Key {
    pub(super) fn of(request: &Request, redaction: &Redaction) -> Self {
        let shown = format!("{} {}", method(request.method), redaction.url(&request.url));
        let mut bytes = shown.as_bytes().to_vec();
        bytes.push(b'\n');
        bytes.extend_from_slice(&redaction.bytes(&request.body));
        Self { hash: xxh3_128(&bytes), request: shown }
    }

    fn hex(&self) -> String {
        format!("{:032x}", self.hash)
    }
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Patch => "PATCH",
        Method::Head => "HEAD",
    }
}
