//! Parameters in seconds.

use std::time::Duration;

use crate::error::Failure;

/// Reads a parameter of 0 to `max` seconds, if it is there.
///
/// # Errors
/// `InvalidParameterValue` with the reason that SQS gives for this parameter.
pub fn seconds(
    parameter: &str,
    value: Option<i64>,
    max: i64,
    reason: impl FnOnce(i64) -> String,
) -> Result<Option<Duration>, Failure> {
    match value {
        None => Ok(None),
        Some(value) if (0..=max).contains(&value) => Ok(Some(Duration::from_secs(value.unsigned_abs()))),
        Some(value) => Err(Failure::value(parameter, value, &reason(max))),
    }
}
