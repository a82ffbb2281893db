use proptest::prelude::*;

use super::*;

/// 2026-01-01T00:00:00Z, a Thursday.
const NOW: Timestamp = Timestamp(1_767_225_600_000);

fn limits(headers: &[(&str, &str)]) -> Option<LimitHeaders> {
    read_headers(headers.iter().copied(), NOW).limits
}

fn retry_after(headers: &[(&str, &str)]) -> Option<u128> {
    read_headers(headers.iter().copied(), NOW).retry_after.map(|span| span.as_millis())
}

fn said(limit: u64, window: Option<u64>, remaining: u64, reset: Option<u64>) -> Option<LimitHeaders> {
    let span = |s: Option<u64>| s.map(Duration::from_secs);
    Some(LimitHeaders { limit: Some(limit), window: span(window), remaining: Some(remaining), reset: span(reset) })
}

#[test]
fn retry_after_is_seconds_or_a_date_by_the_vendors_own_clock() {
    assert_eq!(retry_after(&[("Retry-After", "120")]), Some(120_000));
    assert_eq!(retry_after(&[("retry-after", " 0 ")]), Some(0));
    assert_eq!(retry_after(&[("Retry-After", "1.5")]), Some(1_500));
    assert_eq!(retry_after(&[("Retry-After", "Thu, 01 Jan 2026 00:01:00 GMT")]), Some(60_000));
    assert_eq!(retry_after(&[("Retry-After", "Wed, 31 Dec 2025 23:00:00 GMT")]), Some(0));
    let skewed = [("Retry-After", "Thu, 01 Jan 2026 05:00:30 GMT"), ("Date", "Thu, 01 Jan 2026 05:00:00 GMT")];
    assert_eq!(retry_after(&skewed), Some(30_000));
    assert_eq!(retry_after(&[("retry-after-ms", "250"), ("Retry-After", "1")]), Some(250));
    assert_eq!(retry_after(&[("Retry-After", "1767225610")]), Some(10_000), "a point of time");
}

#[test]
fn hostile_retry_afters_are_ignored_or_capped() {
    for text in ["-5", "soon", "", "NaN", "inf", "1e400", "Thu, 99 Foo 2026"] {
        assert_eq!(retry_after(&[("Retry-After", text)]), None, "{text}");
    }
    for text in ["999999999", "Fri, 01 Jan 2100 00:00:00 GMT", "99999999999999999999999999"] {
        assert_eq!(retry_after(&[("Retry-After", text)]), Some(RETRY_AFTER_MAX.as_millis()), "{text}");
    }
}

#[test]
fn both_forms_of_the_draft_are_read() {
    let structured = [("RateLimit", "\"default\";r=50;t=30"), ("RateLimit-Policy", "\"default\";q=100;w=60")];
    assert_eq!(limits(&structured), said(100, Some(60), 50, Some(30)));
    let several = [
        ("RateLimit", "\"burst\";r=90;t=1, \"day\";r=7;t=3600"),
        ("RateLimit-Policy", "\"burst\";q=100;w=1,\"day\";q=5000;w=86400"),
    ];
    assert_eq!(limits(&several), said(5000, Some(86_400), 7, Some(3600)));
    let three = [("RateLimit-Limit", "100, 100;w=60"), ("RateLimit-Remaining", "50"), ("RateLimit-Reset", "30")];
    assert_eq!(limits(&three), said(100, Some(60), 50, Some(30)));
    let assigned = [("RateLimit", "limit=100, remaining=50, reset=5"), ("RateLimit-Policy", "100;w=10")];
    assert_eq!(limits(&assigned), said(100, Some(10), 50, Some(5)));
}

#[test]
fn vendors_own_forms_are_read() {
    let reset = |text: &'static str| {
        [("X-RateLimit-Limit", "5000"), ("X-RateLimit-Remaining", "4987"), ("X-RateLimit-Reset", text)]
    };
    for text in ["60", "1767225660", "1767225660000", "2026-01-01T00:01:00Z", "Thu, 01 Jan 2026 00:01:00 GMT"] {
        assert_eq!(limits(&reset(text)), said(5000, None, 4987, Some(60)), "{text}");
    }
    let twitter = [("x-rate-limit-limit", "15"), ("x-rate-limit-remaining", "3"), ("x-rate-limit-reset", "1767225700")];
    assert_eq!(limits(&twitter), said(15, None, 3, Some(100)));
    assert_eq!(limits(&[("X-Shopify-Shop-Api-Call-Limit", "32/40")]), said(40, None, 8, None));
    let kong = [
        ("X-RateLimit-Limit-Minute", "60"),
        ("X-RateLimit-Remaining-Minute", "59"),
        ("X-RateLimit-Limit-Hour", "1000"),
        ("X-RateLimit-Remaining-Hour", "4"),
    ];
    assert_eq!(limits(&kong), said(1000, Some(3600), 4, None));
    let skewed = [
        ("Date", "Thu, 01 Jan 2026 05:00:00 GMT"),
        reset("1767243660")[0],
        reset("1767243660")[1],
        reset("1767243660")[2],
    ];
    assert_eq!(limits(&skewed), said(5000, None, 4987, Some(60)));
}

#[test]
fn hostile_limits_count_as_not_said() {
    assert_eq!(limits(&[("X-RateLimit-Remaining", "-1"), ("X-RateLimit-Limit", "lots")]), None);
    let far = [("X-RateLimit-Remaining", "5"), ("X-RateLimit-Reset", "99999999")];
    assert_eq!(limits(&far).unwrap().reset, None);
    assert_eq!(limits(&[("X-RateLimit-Remaining", "99999999999999999999")]), None);
    assert_eq!(limits(&[("X-Shopify-Shop-Api-Call-Limit", "a/b")]), None);
    assert_eq!(limits(&[("RateLimit", ";;;=,r=,\"")]), None);
    assert_eq!(limits(&[]), None);
}

proptest! {
    #[test]
    fn nothing_that_is_said_panics_or_lasts_too_long(
        name in prop::sample::select(vec![
            "Retry-After", "RateLimit", "RateLimit-Policy", "RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Date",
            "retry-after-ms", "X-Shopify-Shop-Api-Call-Limit",
        ]),
        value in "[0-9a-zA-Z:;=,. \"/+-]{0,30}",
        number in any::<f64>(),
    ) {
        let number = number.to_string();
        let remaining = ("X-RateLimit-Remaining", "7");
        for value in [value.as_str(), number.as_str()] {
            let said = read_headers([(name, value), remaining, ("X-RateLimit-Reset", value)], NOW);
            prop_assert!(said.retry_after.unwrap_or_default() <= RETRY_AFTER_MAX);
            prop_assert!(said.limits.and_then(|limits| limits.reset).unwrap_or_default() <= RESET_MAX);
        }
    }
}
