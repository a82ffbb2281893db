//! What an HTTP client is told when something fails.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Every way in which a request can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request's own words are off: its path, a parameter, a header.
    InvalidRequest,
    /// The body is not what its content type or encoding says.
    InvalidBody,
    /// The body is larger than this path takes.
    BodyTooLarge,
    /// The body broke off, or was silent for too long.
    BodyTimeout,
    /// The content type is not one that records come in.
    UnsupportedMediaType,
    /// What the path names is not there.
    NotFound,
    /// The path is there, and takes other methods.
    MethodNotAllowed,
    /// The batch's number does not follow that of the producer's last one.
    ProducerOutOfOrder,
    /// The schema contradicts the subject's versions.
    IncompatibleSchema,
    /// The records were trimmed.
    Trimmed,
    /// What the path names has ended, and can't be changed any more.
    Over,
    /// What the path names can't do that now: its state, or what it lacks, is in the way.
    NotInState,
    /// Whoever asks may not.
    Forbidden,
    /// Stored bytes do not read back.
    Damaged,
    /// The SQL is wrong.
    InvalidQuery,
    /// The query was within its rights, and needs more than it may have.
    QueryLimit,
    /// An edit does not fit what it is to change.
    EditRefused,
    /// A table has not caught up with what was acknowledged.
    TableBehind,
    /// A lookup could not be read again.
    LookupFailed,
    /// A function could not be run, or what it returned is not what it should.
    FunctionFailed,
    /// A vendor's account could not be called.
    VendorFailed,
    /// A vendor's answer, or the turn to ask for it, did not come in time.
    VendorSlow,
    /// The server takes in as much as it can.
    Busy,
    /// The disk is full.
    DiskFull,
    /// The server is going down.
    Closing,
    /// A defect, or the operating system refused.
    Internal,
}

impl ErrorCode {
    /// Returns the HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest | Self::InvalidBody | Self::InvalidQuery => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ProducerOutOfOrder | Self::IncompatibleSchema | Self::Over | Self::NotInState => StatusCode::CONFLICT,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Trimmed => StatusCode::GONE,
            Self::QueryLimit | Self::EditRefused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::FunctionFailed | Self::LookupFailed | Self::VendorFailed => StatusCode::BAD_GATEWAY,
            Self::VendorSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::TableBehind | Self::Closing => StatusCode::SERVICE_UNAVAILABLE,
            Self::Damaged | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Says whether the same request may succeed later.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Busy
            | Self::DiskFull
            | Self::TableBehind
            | Self::LookupFailed
            | Self::VendorFailed
            | Self::VendorSlow
            | Self::Closing
            | Self::BodyTimeout
            | Self::Internal => true,
            Self::InvalidRequest
            | Self::InvalidBody
            | Self::BodyTooLarge
            | Self::UnsupportedMediaType
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::ProducerOutOfOrder
            | Self::IncompatibleSchema
            | Self::Trimmed
            | Self::Over
            | Self::NotInState
            | Self::Forbidden
            | Self::Damaged
            | Self::InvalidQuery
            | Self::FunctionFailed
            | Self::QueryLimit
            | Self::EditRefused => false,
        }
    }
}

/// An error as it is sent: `{"error": {...}, ...}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Which kind.
    pub code: ErrorCode,
    /// What happened, and what to do.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// A hint, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line in what was sent, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column in that line, in characters from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The producer's last batch, where that is what the request missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
}

/// A request that failed.
#[derive(Debug)]
pub struct ErrorReply {
    /// The error.
    pub error: ErrorBody,
    /// What became of the request until then, if something did.
    pub report: Option<Value>,
}

impl ErrorReply {
    /// An error and nothing else.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let error = ErrorBody {
            code,
            message: message.into(),
            retryable: code.is_retryable(),
            hint: None,
            line: None,
            column: None,
            last: None,
        };
        Self { error, report: None }
    }

    /// Writes an error with its causes, the way a person reads it.
    pub fn of(code: ErrorCode, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Self::new(code, message)
    }
}

impl From<QueryRejection> for ErrorReply {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(ErrorCode::InvalidRequest, rejection.body_text())
    }
}

/// Seconds after which a busy server may be asked again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl IntoResponse for ErrorReply {
    fn into_response(self) -> Response {
        let code = self.error.code;
        let mut body = serde_json::json!({ "error": self.error });
        if let Some(report) = self.report {
            body["report"] = report;
        }
        let mut response = (code.status(), Json(body)).into_response();
        if code.is_retryable() {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
