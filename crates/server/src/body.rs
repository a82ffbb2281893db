//! Bodies that are read as a whole: short, and within a time.

use axum::body::Body;
use bytes::Bytes;
use weir_env::Env;
use weir_runtime::SILENCE_MAX;

use crate::error::{ErrorCode, ErrorReply};

/// What paths other than that of records take as a body.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Reads a whole body.
pub(crate) async fn read(env: &Env, body: Body) -> Result<Bytes, ErrorReply> {
    match env.within(SILENCE_MAX, axum::body::to_bytes(body, BODY_BYTES_MAX)).await {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(error)) if is_too_large(&error) => {
            let message = format!("the body has more than {BODY_BYTES_MAX} bytes");
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
