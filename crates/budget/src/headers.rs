//! What an answer's headers say about pace, as spans from now.

use std::time::Duration;

use weir_types::Timestamp;

use crate::LimitHeaders;

/// The longest `Retry-After` that is obeyed, and the furthest reset that is believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// What headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// `Retry-After`, from now.
    pub retry_after: Option<Duration>,
    /// How much is left.
    pub limits: Option<LimitHeaders>,
}

/// Reads headers, given as names in any case and values; `now` is the wall clock's time of the answer.
pub fn read_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>, now: Timestamp) -> Said {
    let mut said = Said::default();
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("retry-after") {
            said.retry_after = value.trim().parse().ok().map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX));
        }
    }
    let _ = now;
    said
}
