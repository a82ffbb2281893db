//! What an answer's headers say about pace, as spans from now.
//!
//! Read are `Retry-After` (RFC 9110, 10.2.3: seconds or a date), `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers, the
//! structured form and the older `limit=, remaining=, reset=`), the three headers `RateLimit-Limit`, `-Remaining` and `-Reset` with the prefixes
//! `RateLimit`, `X-RateLimit` and `X-Rate-Limit`, the same with `-Second` to `-Day` behind (Kong), and
//! `X-Shopify-Shop-Api-Call-Limit: used/limit`.
//! A reset may be seconds from now, seconds or milliseconds since 1970, or a date; the last three count from the answer's own `Date`, so that a
//! vendor's wrong clock does no harm. What is negative, absurd or garbage counts as not said.

use std::time::{Duration, UNIX_EPOCH};

use weir_types::Timestamp;

use crate::LimitHeaders;

/// The longest `Retry-After` that is obeyed; a longer one counts as this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// The furthest reset that is believed: a calendar month.
pub const RESET_MAX: Duration = Duration::from_secs(31 * 86_400);
/// The largest number of calls that is believed.
const CALLS_MAX: u64 = 1_000_000_000_000;
/// Numbers from here on are milliseconds since 1970 (1973 as such), and from the next on seconds (2001; as a span 31 years).
const EPOCH_MS_MIN: f64 = 1e11;
const EPOCH_S_MIN: f64 = 1e9;

/// What headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// `Retry-After`, from now, [`RETRY_AFTER_MAX`] at most.
    pub retry_after: Option<Duration>,
    /// How much is left; of several limits the one with the least.
    pub limits: Option<LimitHeaders>,
}

/// Reads headers, given as names in any case and values; `now` is the wall clock's time of the answer.
///
/// Never fails: headers are somebody else's, and what can't be read was not said.
pub fn read_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>, now: Timestamp) -> Said {
    let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
    let headers = Headers { headers, now };
    Said { retry_after: headers.retry_after(), limits: headers.limits() }
}

struct Headers<'a> {
    headers: Vec<(String, &'a str)>,
    now: Timestamp,
}

fn date_ms(text: &str) -> Option<f64> {
    if let Ok(time) = httpdate::parse_http_date(text) {
        return Some(time.duration_since(UNIX_EPOCH).ok()?.as_millis() as f64);
    }
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis() as f64)
}

fn calls(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.strip_suffix(".0").unwrap_or(text);
    digits.parse().ok().filter(|calls| *calls <= CALLS_MAX)
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

/// The part before the first `;`, and a parameter of what follows.
fn parameter<'a>(item: &'a str, name: &str) -> Option<&'a str> {
    let pairs = item.split(';').filter_map(|part| part.split_once('='));
    pairs
        .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn label(item: &str) -> &str {
    item.split(';').next().unwrap_or_default().trim().trim_matches('"')
}

impl Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    fn items(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.headers.iter().filter(move |(known, _)| known == name);
        values.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|item| !item.is_empty())
    }

    /// The vendor's own clock, in milliseconds since 1970, or ours if it does not show it.
    fn vendor_now_ms(&self) -> f64 {
        self.get("date").and_then(date_ms).unwrap_or(self.now.0 as f64)
    }

    fn until_epoch_ms(&self, at: f64) -> Duration {
        seconds((at - self.vendor_now_ms()).max(0.0) / 1e3).unwrap_or(Duration::MAX)
    }

    fn retry_after(&self) -> Option<Duration> {
        let ms = ["retry-after-ms", "x-ms-retry-after-ms"].iter().find_map(|name| self.get(name)).and_then(number);
        let precise = ms.and_then(|ms| seconds(ms / 1e3));
        // Some vendors put a point of time here.
        let said = precise.or_else(|| self.span(self.get("retry-after")?))?;
        Some(said.min(RETRY_AFTER_MAX))
    }

    /// A span, or a point of time as a span from now.
    fn span(&self, text: &str) -> Option<Duration> {
        match number(text) {
            Some(at) if at >= EPOCH_MS_MIN => Some(self.until_epoch_ms(at)),
            Some(at) if at >= EPOCH_S_MIN => Some(self.until_epoch_ms(at * 1e3)),
            Some(span) => seconds(span),
            None => date_ms(text).map(|at| self.until_epoch_ms(at)),
        }
    }

    fn reset(&self, text: &str) -> Option<Duration> {
        self.span(text).filter(|span| *span <= RESET_MAX)
    }

    fn limits(&self) -> Option<LimitHeaders> {
        let found = self.structured().into_iter().chain(self.assigned()).chain(self.families()).chain(self.shopify());
        let said = found.filter(|limits| limits.remaining.is_some() || limits.limit.is_some());
        // The one with the least left, a share of its limit where that is known; the first of equals.
        said.min_by_key(|limits| limits.remaining.unwrap_or(u64::MAX))
    }

    fn policy(&self, name: &str) -> Option<(u64, Option<Duration>)> {
        let found = self.items("ratelimit-policy").find(|item| label(item) == name)?;
        let quota = parameter(found, "q").and_then(calls).or_else(|| calls(label(found)))?;
        Some((quota, window(found)))
    }

    /// `RateLimit: "default";r=50;t=30`.
    fn structured(&self) -> Vec<LimitHeaders> {
        let with_rest = self.items("ratelimit").filter(|item| parameter(item, "r").is_some());
        let read = with_rest.map(|item| {
            let policy = self.policy(label(item));
            LimitHeaders {
                limit: policy.map(|(quota, _)| quota),
                window: policy.and_then(|(_, window)| window),
                remaining: parameter(item, "r").and_then(calls),
                reset: parameter(item, "t").and_then(|text| self.reset(text)),
            }
        });
        read.collect()
    }

    /// `RateLimit: limit=100, remaining=50, reset=5`.
    fn assigned(&self) -> Option<LimitHeaders> {
        let pairs: Vec<_> = self.items("ratelimit").filter_map(|item| item.split_once('=')).collect();
        let value = |name: &str| pairs.iter().find(|(key, _)| key.trim() == name).map(|(_, value)| *value);
        let remaining = value("remaining").and_then(calls)?;
        let policy = self.items("ratelimit-policy").next();
        Some(LimitHeaders {
            limit: value("limit").and_then(calls),
            window: policy.and_then(window),
            remaining: Some(remaining),
            reset: value("reset").and_then(|text| self.reset(text)),
        })
    }

    fn families(&self) -> impl Iterator<Item = LimitHeaders> {
        const SUFFIXES: [(&str, Option<u64>); 5] =
            [("", None), ("-second", Some(1)), ("-minute", Some(60)), ("-hour", Some(3600)), ("-day", Some(86_400))];
        let prefixes = ["ratelimit", "x-ratelimit", "x-rate-limit"].into_iter();
        let all = prefixes.flat_map(|prefix| SUFFIXES.into_iter().map(move |suffix| (prefix, suffix)));
        all.filter_map(|(prefix, (suffix, window_s))| {
            let get = |part: &str, suffix: &str| self.get(&format!("{prefix}-{part}{suffix}"));
            let limit = get("limit", suffix);
            let remaining = get("remaining", suffix).and_then(calls);
            // `100, 100;w=60`: the limit in force, and the policies that it may come from.
            let first = limit.and_then(|text| text.split(',').next()).map(label).and_then(calls);
            let policies = limit.into_iter().flat_map(|text| text.split(',')).skip(1).find_map(window);
            let policy = self.items("ratelimit-policy").find(|item| calls(label(item)) == first).and_then(window);
            let window = window_s.map(Duration::from_secs).or(policies).or(policy);
            let reset = get("reset", suffix).or_else(|| get("reset", "")).and_then(|text| self.reset(text));
            (first.is_some() || remaining.is_some()).then_some(LimitHeaders { limit: first, window, remaining, reset })
        })
    }

    fn shopify(&self) -> Option<LimitHeaders> {
        let (used, limit) = self.get("x-shopify-shop-api-call-limit")?.split_once('/')?;
        let (used, limit) = (calls(used)?, calls(limit)?);
        Some(LimitHeaders {
            limit: Some(limit),
            window: None,
            remaining: Some(limit.saturating_sub(used)),
            reset: None,
        })
    }
}

fn window(item: &str) -> Option<Duration> {
    parameter(item, "w").and_then(number).and_then(seconds).filter(|window| !window.is_zero() && *window <= RESET_MAX)
}

#[cfg(test)]
mod tests;
