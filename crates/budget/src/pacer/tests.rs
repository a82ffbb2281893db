mod hard;
mod vendor;

use std::time::Duration;

use chrono_tz::UTC;
use weir_env::Random;
use weir_types::Timestamp;

use super::Now;
use crate::{BreakerState, LimitHeaders, Outcome, Pace, Quota, QuotaPeriod, Rate, Settings, Signal, Window};
use vendor::{Bucket, Fixed, Report, Run, START, Vendor, ms, pacer, run, signal};

const S: Duration = Duration::from_secs(1);

fn learned() -> Settings {
    Settings { concurrency: Some(2000), ..Settings::default() }
}

fn limited(calls: u64, per: Duration, burst: u64) -> Settings {
    Settings {
        pace: Pace::Limited(vec![Rate { calls, per }]),
        burst: Some(burst),
        concurrency: Some(500),
        ..Settings::default()
    }
}

fn used(report: &Report, calls: u64, rate: f64) -> f64 {
    calls as f64 / rate / report.took.as_secs_f64()
}

#[test]
fn a_token_bucket_of_unknown_rate_is_learned_and_used_without_refusals() {
    for seed in 1..=2 {
        for (rate, latency) in
            [(20.0, 50), (50.0, 50), (100.0, 5), (200.0, 200), (500.0, 50), (1000.0, 5), (2000.0, 50)]
        {
            for seconds in [0.1, 1.0, 5.0] {
                let mut vendor = Bucket::new(rate, rate * seconds);
                let calls = 65_000;
                let report =
                    run(&mut pacer(learned()), &mut vendor, &Run::new(calls, ms(latency), seed), Duration::ZERO);
                let (used, late) = (used(&report, calls, rate), report.refused_after_learning());
                let what = format!(
                    "{rate}/s, {seconds} s of burst, {latency} ms, seed {seed}: {used:.3} used, {late} refused"
                );
                // The fastest one has sent all its calls half a minute after the first.
                assert!(used >= if rate < 2000.0 { 0.9 } else { 0.88 }, "{what}");
                assert!(late <= calls / 1000, "{what}");
            }
        }
    }
}

#[test]
fn vendors_that_count_windows_are_used_and_learned() {
    for (calls, window) in [(1000, 60), (100, 10), (50, 1), (5000, 3600)] {
        for (retry_after, headers) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut vendor = Fixed { retry_after, headers, ..Fixed::new(calls, window * S) };
            let report =
                run(&mut pacer(Settings::default()), &mut vendor, &Run::new(30_000, ms(50), 7), Duration::ZERO);
            let used = used(&report, 30_000, calls as f64 / f64::from(window));
            let what =
                format!("{calls} in {window} s, {retry_after} {headers}: {used:.3} used, {} refused", report.throttled);
            assert!(used >= 0.85, "{what}");
            // What is refused in the first few windows, while its length is unknown.
            assert!(report.throttled <= if headers { 100 } else { 1200 }, "{what}");
        }
    }
}

/// Changes its rate at some time.
struct Changing(Bucket, Duration, f64);

impl Vendor for Changing {
    fn call(&mut self, at: Duration) -> Signal {
        if at >= self.1 {
            (self.0.rate, self.0.burst) = (self.2, self.2 * 0.1);
        }
        self.0.call(at)
    }
}

#[test]
fn a_limit_that_changes_is_followed_down_at_once_and_up_in_time() {
    let calls_at =
        |report: &Report, second: u64| report.sent.iter().filter(|at| at.as_secs() / 10 == second / 10).count();
    let mut vendor = Changing(Bucket::new(500.0, 50.0), 60 * S, 100.0);
    let down = run(&mut pacer(learned()), &mut vendor, &Run::new(40_000, ms(50), 3), Duration::ZERO);
    assert!((850..=1010).contains(&calls_at(&down, 120)), "{} in 10 s", calls_at(&down, 120));
    assert!(down.throttled < 200, "{} refused", down.throttled);
    let mut vendor = Changing(Bucket::new(50.0, 5.0), 60 * S, 200.0);
    let up = run(&mut pacer(learned()), &mut vendor, &Run::new(200_000, ms(50), 3), Duration::ZERO);
    assert!(calls_at(&up, 900) > 1000, "{} in 10 s", calls_at(&up, 900));
}

#[test]
fn a_known_budget_is_used_to_the_last_percent() {
    for (calls, burst, count, least) in [(500, 50, 65_000, 0.985), (10, 1, 1_000, 0.98), (3, 1, 300, 0.98)] {
        let report =
            run(&mut pacer(limited(calls, S, burst)), &mut Says(None), &Run::new(count, ms(60), 5), Duration::ZERO);
        assert!(used(&report, count, calls as f64) >= least, "{calls}/s took {:?}", report.took);
    }
}

/// Answers, and says the same about its limit each time.
struct Says(Option<LimitHeaders>);

impl Vendor for Says {
    fn call(&mut self, _at: Duration) -> Signal {
        Signal { limits: self.0, ..signal(Outcome::Answered) }
    }
}

#[test]
fn headers_that_lie_stall_nothing() {
    let said = |limit, remaining, reset: u64| {
        Some(LimitHeaders { limit, window: None, remaining: Some(remaining), reset: Some(Duration::from_secs(reset)) })
    };
    for limits in [
        said(Some(0), 0, 60),
        said(Some(100), 0, 60),
        said(None, 0, 5),
        said(Some(100), 0, 0),
        said(Some(1000), 1, 3600),
    ] {
        let report = run(&mut pacer(learned()), &mut Says(limits), &Run::new(10_000, ms(20), 1), Duration::ZERO);
        assert!(report.took < 5 * 60 * S, "{limits:?}: {:?}", report.took);
    }
}

/// Fails at random, and always during an outage.
struct Failing {
    random: Random,
    percent: u64,
    outage: std::ops::Range<Duration>,
    called: u64,
}

impl Vendor for Failing {
    fn call(&mut self, at: Duration) -> Signal {
        let out = self.outage.contains(&at);
        self.called += u64::from(out);
        let fails = out || self.random.next() % 100 < self.percent;
        signal(if fails { Outcome::Failed } else { Outcome::Answered })
    }
}

#[test]
fn an_outage_stops_calls_within_moments_and_the_pace_is_back_within_seconds() {
    for settings in [
        limited(500, S, 50),
        limited(2, S, 1),
        Settings { concurrency: Some(32), pace: Pace::Unlimited, ..Settings::default() },
    ] {
        let outage = 20 * S..80 * S;
        let mut vendor = Failing { random: Random::seeded(9), percent: 3, outage, called: 0 };
        let rate = match &settings.pace {
            Pace::Limited(rates) => rates[0].calls,
            _ => 1000,
        };
        let mut pacer = pacer(settings);
        let run_limit = Run { limit: 120 * S, ..Run::new(u64::MAX / 2, ms(20), 9) };
        let report = run(&mut pacer, &mut vendor, &run_limit, Duration::ZERO);
        // What was under way, and a probe at 1, 2, 4, 8, 16 and 30 s.
        assert!(vendor.called <= 5 + 40 + 7, "{} calls during the outage", vendor.called);
        let back = report.sent.iter().filter(|at| **at > 115 * S).count() as u64;
        assert!(back >= rate * 4, "{back} calls in 5 s, 35 s after the outage");
        assert_eq!(pacer.breaker.state(), BreakerState::Closed);
    }
}

#[test]
fn latency_that_rises_lowers_concurrency_and_a_slow_vendor_is_not_left() {
    /// One that serves one call after the other.
    struct Slow(Duration);
    impl Vendor for Slow {
        fn call(&mut self, _at: Duration) -> Signal {
            Signal { latency: Some(self.0), ..signal(Outcome::Answered) }
        }
    }
    let mut pacer = pacer(Settings { pace: Pace::Unlimited, concurrency: Some(40), ..Settings::default() });
    let calm = run(&mut pacer, &mut Slow(ms(50)), &Run::new(5_000, ms(50), 1), Duration::ZERO);
    assert_eq!(calm.crowd, 40);
    let begin = calm.took;
    let rising = run(&mut pacer, &mut Slow(ms(50)), &Run::new(400, ms(1500), 1), begin);
    assert!(pacer.latency.calls() < 30, "{} at once", pacer.latency.calls());
    run(&mut pacer, &mut Slow(ms(50)), &Run::new(20_000, ms(50), 1), begin + rising.took);
    assert!(pacer.latency.calls() >= 39, "{} at once", pacer.latency.calls());
}

#[test]
fn an_estimate_is_how_long_it_takes_with_quotas_and_windows() {
    let quota = |calls, per| Quota { calls, per, timezone: UTC };
    let night =
        Window { from: 22 * 60, to: 6 * 60, days: [false; 7], timezone: UTC, rates: vec![Rate { calls: 20, per: S }] };
    let noon = Window { from: 60, to: 90, days: [false; 7], timezone: UTC, rates: Vec::new() };
    let settings = [
        limited(50, S, 5),
        Settings { windows: vec![night, noon], ..limited(5, S, 1) },
        Settings {
            quotas: vec![quota(10_000, QuotaPeriod::Hour), quota(45_000, QuotaPeriod::Day)],
            ..limited(50, S, 5)
        },
        Settings { concurrency: Some(2), pace: Pace::Unlimited, ..Settings::default() },
    ];
    for settings in settings {
        let mut pacer = pacer(settings.clone());
        let first = Run::new(500, ms(80), 2);
        let begun = run(&mut pacer, &mut Says(None), &first, Duration::ZERO);
        let now = Now { elapsed: begun.took, wall: START.after(begun.took) };
        let estimate = pacer.time_for(now, 50_000);
        let report =
            run(&mut pacer, &mut Says(None), &Run { limit: 10 * 86_400 * S, calls: 50_000, ..first }, begun.took);
        let off = estimate.likely.as_secs_f64() / report.took.as_secs_f64();
        assert!((0.95..1.05).contains(&off), "{settings:?}: {estimate:?}, and it took {:?}", report.took);
        assert!(estimate.least <= estimate.likely && estimate.likely <= estimate.most);
    }
}

#[test]
fn an_estimate_that_has_no_end_says_so() {
    let closed = Settings {
        windows: vec![Window { from: 0, to: 0, days: [false; 7], timezone: UTC, rates: Vec::new() }],
        ..limited(5, S, 1)
    };
    let pacer = pacer(closed);
    let now = Now { elapsed: Duration::ZERO, wall: START };
    assert_eq!(pacer.time_for(now, 1).likely, crate::Estimate::MAX);
    assert_eq!(pacer.time_for(now, 0).likely, Duration::ZERO);
}

#[test]
fn a_clock_far_outside_of_any_calendar_breaks_nothing() {
    let quotas = vec![Quota { calls: 10, per: QuotaPeriod::Month, timezone: chrono_tz::Europe::Berlin }];
    for wall in [i64::MIN, i64::MIN / 2, -1, i64::MAX / 2, i64::MAX] {
        let now = Now { elapsed: S, wall: Timestamp(wall) };
        let window = Window { from: 0, to: 1, days: [true; 7], timezone: UTC, rates: Vec::new() };
        let settings = Settings { quotas: quotas.clone(), windows: vec![window], ..limited(5, S, 1) };
        let mut pacer = crate::Pacer::new(settings, &crate::Facts::default(), now);
        let _ = (pacer.poll(now), pacer.reservation(now), pacer.status(now), pacer.time_for(now, 100));
    }
}

#[test]
fn a_limit_below_the_configured_rate_is_found_and_never_exceeds_it() {
    for settings in
        [limited(500, S, 50), Settings { pace: Pace::Unlimited, concurrency: Some(64), ..Settings::default() }]
    {
        let mut vendor = Bucket::new(400.0, 40.0);
        let report = run(&mut pacer(settings.clone()), &mut vendor, &Run::new(65_000, ms(50), 4), Duration::ZERO);
        let (used, late) = (used(&report, 65_000, 400.0), report.refused_after_learning());
        assert!(used > 0.9 && late <= 65, "{settings:?}: {used:.3} used, {late} refused");
        let most = report.sent.windows(551).map(|calls| calls[550] - calls[0]).min().unwrap();
        assert!(settings.pace == Pace::Unlimited || most >= S, "551 calls in {most:?}");
    }
}

#[test]
fn a_restart_goes_on_with_what_was_learned() {
    let mut vendor = Bucket::new(300.0, 30.0);
    let mut first = pacer(learned());
    let begun = run(&mut first, &mut vendor, &Run::new(20_000, ms(50), 6), Duration::ZERO);
    let now = Now { elapsed: begun.took, wall: START.after(begun.took) };
    let (learned_pace, blocked_until) = first.lesson_at_end(now);
    let facts = crate::Facts { learned: learned_pace, blocked_until, ..crate::Facts::default() };
    let mut again = crate::Pacer::new(learned(), &facts, now);
    let report = run(&mut again, &mut vendor, &Run::new(20_000, ms(50), 6), begun.took);
    assert!(used(&report, 20_000, 300.0) > 0.93, "took {:?}", report.took);
    assert!(report.throttled <= 5, "{} refused", report.throttled);
}
