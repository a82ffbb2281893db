//! Requests and answers, and the seam to whatever carries them: HTTP, a recording, a test.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use url::Url;

/// Methods that crawls use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// POST, for vendors whose queries are bodies.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// PATCH.
    Patch,
    /// HEAD.
    Head,
}

/// A request without credentials: those are the transport's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: Url,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body; empty without.
    pub body: Bytes,
}

/// An answer that came whole: a body that was cut off is a [`TransportError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, decompressed.
    pub body: Bytes,
    /// From the request's last byte to the answer's first.
    pub latency: Duration,
}

impl Answer {
    /// Returns the first header of a name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer. Never shows a credential.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// No connection, or it broke before an answer began.
    #[error("connect to `{host}`: {reason}")]
    Connect {
        /// The vendor's host and port.
        host: String,
        /// Why, in words.
        reason: String,
    },
    /// Not within the client's timeout.
    #[error("no whole answer within {}", weir_types::span::display(*.after))]
    Timeout {
        /// The timeout.
        after: Duration,
    },
    /// The body ended before its end.
    #[error("the answer (status {status}) was cut off after {bytes} bytes: {reason}")]
    CutOff {
        /// Its status.
        status: u16,
        /// What came of it.
        bytes: u64,
        /// Why, in words.
        reason: String,
    },
    /// The body is larger than it may be.
    #[error(
        "the answer (status {status}) is larger than {max} bytes; raise `answer_bytes_max`, or ask for smaller pages"
    )]
    TooLarge {
        /// Its status.
        status: u16,
        /// The limit.
        max: u64,
    },
    /// No token could be had.
    #[error("no token from `{token_url}`: {reason}")]
    Token {
        /// Where it was asked for.
        token_url: String,
        /// Why, in words.
        reason: String,
        /// Whether asking again may help.
        passing: bool,
    },
    /// A recording has no answer to this request.
    #[error("the recording has no answer to {request}")]
    NotRecorded {
        /// Method and URL.
        request: String,
    },
}

/// Whatever carries requests to a vendor.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Makes one call. Dropping the future gives it up.
    ///
    /// # Errors
    /// See [`TransportError`]; an answer with an error's status is an answer.
    async fn call(&self, request: Request) -> Result<Answer, TransportError>;
}
