//! "10/s": so many calls in so long.

use std::time::Duration;

use weir_budget::{QuotaPeriod, Rate};
use weir_types::span;

/// The most calls of a rate or a quota.
const CALLS_MAX: u64 = 1_000_000_000;
/// The longest window of a rate: a pacer must see its end.
const PER_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

pub(super) const RATE_HINT: &str = "write calls and a length of time: \"10/s\", \"300/m\", \"1500/15m\"";
pub(super) const QUOTA_HINT: &str = "write calls and a period: \"1000/hour\", \"10000/day\", \"250000/month\"";

/// Reads "10/s", "300/m", "1500/15m".
pub(super) fn parse(text: &str) -> Option<Rate> {
    let (calls, per) = split(text)?;
    let per = match per {
        "s" | "m" | "h" | "d" => span::parse(&format!("1{per}")).ok()?,
        longer => span::parse(longer).ok()?,
    };
    (!per.is_zero() && per <= PER_MAX).then_some(Rate { calls, per })
}

/// Reads "10000/day".
pub(super) fn quota(text: &str) -> Option<(u64, QuotaPeriod)> {
    let (calls, per) = split(text)?;
    let per = match per {
        "h" | "hour" => QuotaPeriod::Hour,
        "d" | "day" => QuotaPeriod::Day,
        "month" => QuotaPeriod::Month,
        _ => return None,
    };
    Some((calls, per))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let (calls, per) = text.split_once('/')?;
    let calls = calls.trim().parse().ok().filter(|calls| (1..=CALLS_MAX).contains(calls))?;
    Some((calls, per.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_calls_and_a_length_of_time() {
        let of = |text| parse(text).map(|rate| (rate.calls, rate.per.as_secs()));
        assert_eq!(of("10/s"), Some((10, 1)));
        assert_eq!(of(" 300 / m "), Some((300, 60)));
        assert_eq!(of("1500/15m"), Some((1500, 900)));
        assert_eq!(of("1/d"), Some((1, 86_400)));
        for wrong in ["10", "0/s", "-1/s", "10/0s", "10/", "/s", "1.5/s", "10/second", "9999999999/s", "1/5w", "10/s/s"]
        {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn quotas_are_calls_and_a_period_of_the_calendar() {
        assert_eq!(quota("1000/hour"), Some((1000, QuotaPeriod::Hour)));
        assert_eq!(quota("10000/d"), Some((10_000, QuotaPeriod::Day)));
        assert_eq!(quota("5/month"), Some((5, QuotaPeriod::Month)));
        for wrong in ["10", "10/m", "10/2d", "0/day", "10/week"] {
            assert_eq!(quota(wrong), None, "{wrong}");
        }
    }
}
