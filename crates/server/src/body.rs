//! Bodies that are read as a whole: short, and within a time.

use axum::body::Body;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use weir_env::Env;
use weir_runtime::SILENCE_MAX;

use crate::error::{ErrorCode, ErrorReply};

/// What paths other than that of records take as a body.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Reads a whole body.
pub(crate) async fn read(env: &Env, body: Body) -> Result<Bytes, ErrorReply> {
    read_up_to(env, body, BODY_BYTES_MAX).await
}

/// Reads a whole body as JSON; an empty one is an empty object.
pub(crate) async fn read_json<T: DeserializeOwned>(env: &Env, body: Body) -> Result<T, ErrorReply> {
    let bytes = read(env, body).await?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| ErrorReply::new(ErrorCode::InvalidBody, format!("the body: {error}")))
}

/// Reads a whole body of at most `bytes_max` bytes.
pub(crate) async fn read_up_to(env: &Env, body: Body, bytes_max: usize) -> Result<Bytes, ErrorReply> {
    match env.within(SILENCE_MAX, axum::body::to_bytes(body, bytes_max)).await {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(error)) if is_too_large(&error) => {
            let message = format!("the body has more than {bytes_max} bytes");
            Err(ErrorReply::new(ErrorCode::BodyTooLarge, message))
        }
        Some(Err(error)) => Err(ErrorReply::new(ErrorCode::BodyTimeout, format!("the body broke off: {error}"))),
        None => {
            let message = format!("the body took longer than {} s", SILENCE_MAX.as_secs());
            Err(ErrorReply::new(ErrorCode::BodyTimeout, message))
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
