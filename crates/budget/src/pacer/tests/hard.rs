//! What must never happen: more calls in a window than a rate allows, or in a period than a quota allows, whatever happens.

use std::time::Duration;

use chrono_tz::UTC;
use proptest::prelude::*;
use weir_machine::{At, Machine};
use weir_types::{SequenceNumber, Timestamp};

use super::vendor::{START, refusal, signal};
use crate::pacer::{Now, Pacer, Ticket};
use crate::{BudgetCommand, Budgets, Outcome, Pace, Quota, QuotaPeriod, Rate, Settings, Signal};

#[derive(Debug, Clone)]
enum Step {
    /// Time passes, and so many ask.
    Ask(u64, usize),
    /// The oldest call under way ends.
    End(u8),
    /// The process stands still: its next question comes late.
    Stall(u64),
    /// It is killed, and starts again after a while.
    Restart(u64),
    /// Somebody sets the wall clock.
    Jump(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..40_000u64, 0..30usize).prop_map(|(us, asks)| Step::Ask(us, asks)),
        8 => (0..6u8).prop_map(Step::End),
        1 => (0..5_000u64).prop_map(Step::Stall),
        1 => (0..300u64).prop_map(Step::Restart),
        1 => (-8_000_000..8_000_000i64).prop_map(Step::Jump),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let rate = (1..800u64, prop::sample::select(vec![500u64, 1_000, 60_000]))
        .prop_map(|(calls, per)| Rate { calls, per: Duration::from_millis(per) });
    let quota = (1..400u64, prop::sample::select(vec![QuotaPeriod::Hour, QuotaPeriod::Day]))
        .prop_map(|(calls, per)| Quota { calls, per, timezone: UTC });
    (prop::collection::vec(rate, 1..3), 1..40u64, prop::collection::vec(quota, 0..2), 1..60u32).prop_map(
        |(rates, burst, quotas, concurrency)| Settings {
            pace: Pace::Limited(rates),
            burst: Some(burst),
            concurrency: Some(concurrency),
            quotas,
            windows: Vec::new(),
        },
    )
}

fn ending(kind: u8) -> Signal {
    match kind {
        0 => signal(Outcome::Failed),
        1 => refusal(Some(Duration::from_secs(1))),
        2 => signal(Outcome::Unknown),
        _ => Signal { latency: Some(Duration::from_millis(20)), ..signal(Outcome::Answered) },
    }
}

struct World {
    settings: Settings,
    facts: Budgets,
    pacer: Pacer,
    /// Microseconds of true time.
    at: u64,
    started: u64,
    skew: i64,
    calls: Vec<Ticket>,
    sent: Vec<u64>,
    shown: Vec<Timestamp>,
}

impl World {
    fn new(settings: Settings) -> Self {
        let now = Now { elapsed: Duration::ZERO, wall: START };
        let pacer = Pacer::new(settings.clone(), &crate::Facts::default(), now);
        let (facts, calls, sent, shown) = (Budgets::default(), Vec::new(), Vec::new(), Vec::new());
        Self { settings, facts, pacer, at: 0, started: 0, skew: 0, calls, sent, shown }
    }

    fn now(&self) -> Now {
        let wall = Timestamp(START.0 + (self.at / 1000) as i64 + self.skew);
        Now { elapsed: Duration::from_micros(self.at - self.started), wall }
    }

    fn ask(&mut self) {
        let now = self.now();
        while let Some(reservation) = self.pacer.reservation(now) {
            let command = BudgetCommand::Reserve {
                api: "a".parse().unwrap(),
                quota: reservation.quota.clone(),
                period: reservation.period,
                calls: reservation.calls,
                limit: reservation.limit,
            };
            let granted = self.facts.apply(At { sequence: SequenceNumber(0), time: Timestamp(0) }, command);
            self.pacer.reserved(&reservation, Some(granted));
        }
        if self.pacer.poll(now).is_none() {
            self.calls.push(self.pacer.grant(now));
            self.sent.push(self.at);
            self.shown.push(now.wall);
        }
    }

    fn restart(&mut self) {
        self.started = self.at;
        self.calls.clear();
        let facts = self.facts.get(&"a".parse().unwrap()).cloned().unwrap_or_default();
        self.pacer = Pacer::new(self.settings.clone(), &facts, self.now());
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Ask(us, asks) => {
                self.at += us;
                for _ in 0..*asks {
                    self.ask();
                }
            }
            Step::End(kind) => {
                if !self.calls.is_empty() {
                    let ticket = self.calls.remove(0);
                    self.pacer.end(self.now(), ticket, &ending(*kind));
                }
            }
            Step::Stall(ms) => self.at += ms * 1000,
            Step::Restart(ms) => {
                self.at += ms * 1000;
                self.restart();
            }
            Step::Jump(ms) => self.skew = *ms,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_window_and_no_period_holds_more_than_it_may(settings in settings(), steps in prop::collection::vec(step(), 1..250)) {
        let mut world = World::new(settings.clone());
        for step in &steps {
            world.step(step);
            let limit = settings.concurrency.unwrap() as usize;
            prop_assert!(world.calls.len() <= limit, "more than {limit} under way");
        }
        let Pace::Limited(rates) = &settings.pace else { unreachable!() };
        for rate in rates {
            for (first, from) in world.sent.iter().enumerate() {
                for (last, to) in world.sent.iter().enumerate().skip(first) {
                    let window = (to - from) as f64 / 1e6;
                    let allowed = settings.burst.unwrap() as f64 + rate.calls as f64 / rate.per.as_secs_f64() * window;
                    prop_assert!((last - first + 1) as f64 <= allowed + 1e-6, "{} calls in {window} s", last - first + 1);
                }
            }
        }
        for quota in &settings.quotas {
            let mut periods = std::collections::HashMap::new();
            for wall in &world.shown {
                let period = crate::pacer::calendar::period(quota, *wall).from;
                let used = periods.entry(period).or_insert(0u64);
                *used += 1;
                prop_assert!(*used <= quota.calls, "{used} calls in the period from {period}");
            }
        }
    }
}

#[test]
fn a_quota_is_used_to_its_last_call_and_a_crash_costs_a_hundredth_at_most() {
    let quotas = vec![Quota { calls: 1_000, per: QuotaPeriod::Day, timezone: UTC }];
    let settings = Settings { pace: Pace::Unlimited, quotas, concurrency: Some(10_000), ..Settings::default() };
    let mut whole = World::new(settings.clone());
    let mut crashed = World::new(settings);
    for _ in 0..3_000 {
        whole.ask();
    }
    assert_eq!(whole.sent.len(), 1_000);
    for _ in 0..300 {
        crashed.ask();
    }
    crashed.restart();
    for _ in 0..3_000 {
        crashed.ask();
    }
    assert!((990..=1_000).contains(&crashed.sent.len()), "{} calls", crashed.sent.len());
}
