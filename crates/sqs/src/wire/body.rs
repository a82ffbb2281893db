//! Reading a body: within a size and a time.

use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use weir_env::Env;

use crate::error::{ErrorCode, Failure};

/// Reads the whole body, at most `bytes_max` within `limit`.
///
/// # Errors
/// `MalformedInput` says that it was too large, too slow, broken off or compressed.
pub async fn read(head: &Parts, body: Body, env: &Env, bytes_max: usize, limit: Duration) -> Result<Bytes, Failure> {
    plain(&head.headers)?;
    let collected = match env.within(limit, Limited::new(body, bytes_max).collect()).await {
        None => {
            return Err(malformed(format!("The body did not arrive within {} s.", limit.as_secs())));
        }
        Some(collected) => collected,
    };
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(malformed(format!("The body is longer than {bytes_max} bytes.")))
        }
        Err(error) => Err(malformed(format!("The body broke off: {error}."))),
    }
}

/// How many bytes a request's body will take at most: what it says itself, or `bytes_max`.
pub fn announced(headers: &HeaderMap, bytes_max: usize) -> usize {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    length.unwrap_or(bytes_max).min(bytes_max)
}

/// No client of SQS compresses its bodies. (`amz-1.0` is an old name for none.)
fn plain(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
        None | Some(b"" | b"identity" | b"amz-1.0") => Ok(()),
        Some(encoding) => Err(malformed(format!(
            "The content encoding {} is not supported: send the body as it is.",
            String::from_utf8_lossy(encoding)
        ))),
    }
}

fn malformed(message: String) -> Failure {
    Failure::new(ErrorCode::MalformedInput, message)
}
