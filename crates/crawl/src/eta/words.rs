//! An estimate as people say it.

use std::time::Duration;

use crate::status::span_in_words;

/// Returns `about 4 min (3 to 6)`; with units where they differ: `about 4 min (50 s to 6 min)`.
pub(super) fn about(seconds: f64, min: f64, max: Option<f64>) -> String {
    let words = |seconds: f64| span_in_words(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
    let (likely, low) = (words(seconds), words(min));
    let Some(high) = max.map(words) else { return format!("about {likely}, at least {low}") };
    if low == high {
        return format!("about {likely}");
    }
    let unit = |text: &str| text.split_once(' ').map(|(_, unit)| unit.to_owned());
    let simple = |text: &str| text.split(' ').count() == 2;
    if simple(&low) && simple(&high) && unit(&low) == unit(&high) && unit(&low) == unit(&likely) {
        let low = low.split(' ').next().unwrap_or_default();
        let high = high.split(' ').next().unwrap_or_default();
        return format!("about {likely} ({low} to {high})");
    }
    format!("about {likely} ({low} to {high})")
}

/// Returns `at least 10 min: readings was not seen yet`, or `not known yet` if all was seen and no pace was.
pub(super) fn at_least(min: f64, unseen: &[&str]) -> String {
    let min = span_in_words(Duration::try_from_secs_f64(min.max(0.0)).unwrap_or(Duration::MAX));
    match unseen {
        [] => "not known yet".to_owned(),
        [one] => format!("at least {min}: `{one}` was not seen yet"),
        [one, rest @ ..] => format!("at least {min}: `{one}` and {} more were not seen yet", rest.len()),
    }
}
