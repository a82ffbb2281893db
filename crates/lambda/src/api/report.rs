//! Errors as runtimes report them.

use base64::Engine;
use bytes::Bytes;
use serde_json::Value;

/// An error that a runtime reported, by `error`, by `init/error`, or in a stream's trailers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuntimeError {
    pub error_type: String,
    pub message: String,
    pub trace: Vec<String>,
    /// The body, as it came.
    pub payload: Bytes,
}

/// Frames of a stack that are kept.
const FRAMES_MAX: usize = 100;

impl RuntimeError {
    /// Reads `{"errorType", "errorMessage", "stackTrace"}`; what is missing there is taken from the header
    /// `Lambda-Runtime-Function-Error-Type`. A body of another form is kept as it is.
    pub fn parse(header: Option<&str>, payload: Bytes) -> Self {
        let body: Value = serde_json::from_slice(&payload).unwrap_or(Value::Null);
        let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
        let error_type =
            text("errorType").or_else(|| header.map(str::to_owned)).unwrap_or_else(|| "Runtime.Unknown".to_owned());
        let message = text("errorMessage").unwrap_or_else(|| match body {
            Value::Null => String::from_utf8_lossy(&payload).into_owned(),
            _ => String::new(),
        });
        let frames = body.get("stackTrace").or_else(|| body.get("trace")).and_then(Value::as_array);
        let trace = frames.into_iter().flatten().take(FRAMES_MAX);
        let trace = trace.map(|frame| frame.as_str().map_or_else(|| frame.to_string(), str::to_owned)).collect();
        Self { error_type, message, trace, payload }
    }

    /// Reads the trailers of a streamed response that broke off: the type, and the error's JSON in Base64.
    pub fn of_trailers(error_type: &str, body: Option<&str>) -> Self {
        let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text.trim()).ok();
        let payload = body.and_then(decode).unwrap_or_default();
        if payload.is_empty() {
            let payload = serde_json::json!({ "errorType": error_type, "errorMessage": "the response broke off" });
            return Self::parse(Some(error_type), Bytes::from(payload.to_string()));
        }
        Self::parse(Some(error_type), Bytes::from(payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_error_is_read() {
        let full = RuntimeError::parse(
            Some("Other"),
            Bytes::from(r#"{"errorType":"ValueError","errorMessage":"bad","stackTrace":["a","b"]}"#),
        );
        assert_eq!((full.error_type.as_str(), full.message.as_str()), ("ValueError", "bad"));
        assert_eq!(full.trace, ["a", "b"]);
        let bare = RuntimeError::parse(Some("Function.Oops"), Bytes::from("it broke"));
        assert_eq!((bare.error_type.as_str(), bare.message.as_str()), ("Function.Oops", "it broke"));
        assert_eq!(RuntimeError::parse(None, Bytes::new()).error_type, "Runtime.Unknown");
        let node = RuntimeError::parse(None, Bytes::from(r#"{"errorType":"E","trace":[["x",1]]}"#));
        assert_eq!(node.trace, [r#"["x",1]"#]);
        let encoded = base64::engine::general_purpose::STANDARD.encode(r#"{"errorMessage":"midway"}"#);
        assert_eq!(RuntimeError::of_trailers("Stream.Broke", Some(&encoded)).message, "midway");
        assert_eq!(RuntimeError::of_trailers("Stream.Broke", None).error_type, "Stream.Broke");
    }
}
