//! An invocation, its answer, and every way in which there is none.
//!
//! The payload is passed on as the handler's runtime sent it, byte for byte: like AWS, the host does not look inside. So a
//! Python handler that returns `float("nan")` answers `NaN`, which is no JSON; whoever parses the answer says so.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use weir_types::FunctionName;

use crate::install::InstallError;

/// What a function is called with.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// The event, JSON.
    pub payload: Bytes,
    /// The client's context, JSON, for `context.client_context`.
    pub client_context: Option<Bytes>,
    /// The X-Ray trace header; `None`: one that is not sampled is made up.
    pub trace: Option<String>,
    /// Whether the answer carries the end of what was printed.
    pub tail_logs: bool,
    /// A version's number, an alias, or `$LATEST`; `None`: the live version.
    pub qualifier: Option<String>,
}

impl Invocation {
    /// Calls the live version with `payload`.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }
}

/// What a handler returned.
#[derive(Debug, Clone)]
pub struct Answer {
    /// As the runtime sent it.
    pub payload: Bytes,
    /// The invocation's id.
    pub request_id: String,
    /// The version that ran.
    pub version: u64,
    /// From handing the event over to having the response.
    pub duration: Duration,
    /// How long the environment took to start, if it was started for this invocation.
    pub init_duration: Option<Duration>,
    /// `duration` in whole milliseconds, rounded up, as AWS bills it.
    pub billed_ms: u64,
    /// The most that the environment was seen to hold, in bytes. Peaks between two looks are not seen.
    pub max_memory_bytes: u64,
    /// The last of what was printed, up to 4 KB, if it was asked for.
    pub log_tail: Option<Bytes>,
}

/// How an environment's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Unknown: it could not be waited for.
    Unknown,
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(name) => write!(f, "signal: {}", name.as_str()),
                Err(_) => write!(f, "signal: {signal}"),
            },
            Self::Unknown => f.write_str("an unknown status"),
        }
    }
}

/// Why an invocation has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InvokeError {
    /// No turn within the limit, or reserved concurrency of zero. Nothing ran; try again.
    #[error("function `{function}` is throttled: {reason}")]
    Throttled {
        /// The function.
        function: FunctionName,
        /// Which limit.
        reason: &'static str,
    },
    /// The event is too large. Nothing ran.
    #[error("the payload has {bytes} bytes, and may have {}", crate::limits::PAYLOAD_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A client context or a trace header that can't be passed on. Nothing ran.
    #[error("{what}")]
    BadRequest {
        /// What is wrong.
        what: String,
    },
    /// No such version or alias. Nothing ran.
    #[error("function `{function}` has no version or alias `{qualifier}`")]
    NoSuchVersion {
        /// The function.
        function: FunctionName,
        /// What was asked for.
        qualifier: String,
    },
    /// The handler returned an error, or raised.
    #[error("{error_type}: {message}")]
    Function {
        /// The error's class.
        error_type: String,
        /// Its message.
        message: String,
        /// Its stack, one frame each.
        trace: Vec<String>,
        /// What the runtime reported, as it sent it.
        payload: Bytes,
        /// The invocation's id.
        request_id: String,
    },
    /// The handler was killed at its timeout.
    #[error("RequestId: {request_id} Error: Task timed out after {:.2} seconds", after.as_secs_f64())]
    TimedOut {
        /// The timeout.
        after: Duration,
        /// The invocation's id.
        request_id: String,
    },
    /// The process ended before it answered.
    #[error("RequestId: {request_id} Error: Runtime exited with error: {status}{}", last(last_lines))]
    Crashed {
        /// How.
        status: ExitStatus,
        /// The invocation's id.
        request_id: String,
        /// The last that it wrote to its standard error.
        last_lines: Vec<String>,
    },
    /// The environment held more memory than it may, and was killed.
    #[error(
        "RequestId: {request_id} Error: Runtime exited with error: signal: killed (more than {limit_bytes} bytes of memory)"
    )]
    OutOfMemory {
        /// The limit.
        limit_bytes: u64,
        /// The invocation's id.
        request_id: String,
    },
    /// The environment's temp folder held more than it may, and the environment was killed.
    #[error("RequestId: {request_id} Error: the temp folder holds more than {limit_bytes} bytes")]
    TempFull {
        /// The limit.
        limit_bytes: u64,
        /// The invocation's id.
        request_id: String,
    },
    /// No environment came up.
    #[error("{error_type}: {message}{}", last(last_lines))]
    InitFailed {
        /// `Runtime.ImportModuleError` and the like as the runtime reports them, or `Runtime.ExitError`, or
        /// `Sandbox.Timedout`.
        error_type: String,
        /// In words.
        message: String,
        /// Its stack, one frame each.
        trace: Vec<String>,
        /// The last that it wrote to its standard error, if it did not say itself what failed.
        last_lines: Vec<String>,
        /// How long nothing will be started, after starts that failed one after another.
        retry_after: Duration,
    },
    /// The response is too large, and was not taken.
    #[error(
        "Response payload size exceeded maximum allowed payload size ({} bytes).",
        crate::limits::RESPONSE_BYTES_MAX
    )]
    ResponseTooLarge {
        /// The invocation's id.
        request_id: String,
    },
    /// The version's dependencies are not there, and could not be installed.
    #[error("install the dependencies of function `{function}`")]
    Install {
        /// The function.
        function: FunctionName,
        /// The cause.
        #[source]
        source: std::sync::Arc<InstallError>,
    },
    /// The machine refused what an environment needs: a process, a socket, a folder.
    #[error("an environment of function `{function}` could not be made: {what}")]
    Start {
        /// The function.
        function: FunctionName,
        /// What failed, and why.
        what: String,
    },
    /// The host is closed, or the function was removed.
    #[error("function `{function}` is closed")]
    Closed {
        /// The function.
        function: FunctionName,
    },
}

fn last(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("; its last lines: {}", lines.join(" | ")) }
}

impl InvokeError {
    /// Returns the error's type, as AWS names it.
    pub fn error_type(&self) -> &str {
        match self {
            Self::Throttled { .. } => "TooManyRequestsException",
            Self::TooLarge { .. } => "RequestTooLargeException",
            Self::BadRequest { .. } => "InvalidParameterValueException",
            Self::NoSuchVersion { .. } => "ResourceNotFoundException",
            Self::Function { error_type, .. } | Self::InitFailed { error_type, .. } => error_type,
            Self::TimedOut { .. } => "Sandbox.Timedout",
            Self::Crashed { .. } => "Runtime.ExitError",
            Self::OutOfMemory { .. } => "Runtime.OutOfMemory",
            Self::TempFull { .. } => "Runtime.TempFull",
            Self::ResponseTooLarge { .. } => "Function.ResponseSizeTooLarge",
            Self::Install { .. } => "Runtime.DependencyError",
            Self::Start { .. } => "Sandbox.StartFailed",
            Self::Closed { .. } => "ServiceException",
        }
    }

    /// Tells whether the function is at fault: it ran, or should have. Otherwise nothing ran, and the same call may do
    /// better later.
    pub fn is_function_error(&self) -> bool {
        !matches!(
            self,
            Self::Throttled { .. }
                | Self::TooLarge { .. }
                | Self::BadRequest { .. }
                | Self::NoSuchVersion { .. }
                | Self::Install { .. }
                | Self::Start { .. }
                | Self::Closed { .. }
        )
    }

    /// Returns the id of the invocation that failed, if one began.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Function { request_id, .. }
            | Self::TimedOut { request_id, .. }
            | Self::Crashed { request_id, .. }
            | Self::OutOfMemory { request_id, .. }
            | Self::TempFull { request_id, .. }
            | Self::ResponseTooLarge { request_id } => Some(request_id),
            _ => None,
        }
    }

    /// Returns the JSON that AWS gives to the caller: the handler's own for [`InvokeError::Function`], else
    /// `{"errorType": ..., "errorMessage": ...}`.
    pub fn payload(&self) -> Bytes {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            error_type: &'a str,
            error_message: String,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            stack_trace: &'a [String],
        }
        let (message, stack_trace) = match self {
            Self::Function { payload, .. } => return payload.clone(),
            Self::InitFailed { message, trace, .. } => (message.clone(), trace.as_slice()),
            _ => (self.to_string(), &[][..]),
        };
        let body = Body { error_type: self.error_type(), error_message: message, stack_trace };
        Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_awss_do() {
        let timed_out = InvokeError::TimedOut { after: Duration::from_millis(1500), request_id: "r".into() };
        assert_eq!(timed_out.to_string(), "RequestId: r Error: Task timed out after 1.50 seconds");
        assert_eq!(
            timed_out.payload(),
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: r Error: Task timed out after 1.50 seconds"}"#
        );
        let crashed =
            InvokeError::Crashed { status: ExitStatus::Signal(9), request_id: "r".into(), last_lines: vec![] };
        assert_eq!(crashed.to_string(), "RequestId: r Error: Runtime exited with error: signal: SIGKILL");
        assert!(crashed.is_function_error());
        assert_eq!(crashed.error_type(), "Runtime.ExitError");
    }
}
