//! Simulated vendors, and callers that always have another call: hours in milliseconds.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use weir_env::Random;
use weir_types::Timestamp;

use crate::pacer::{Now, Pacer, Ticket};
use crate::{Facts, Hold, LimitHeaders, Outcome, Settings, Signal};

/// 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp(1_767_225_600_000);

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a vendor makes of a call that arrives.
pub trait Vendor {
    fn call(&mut self, at: Duration) -> Signal;
}

pub fn signal(outcome: Outcome) -> Signal {
    Signal::of(outcome)
}

pub fn refusal(retry_after: Option<Duration>) -> Signal {
    Signal { retry_after, ..Signal::of(Outcome::Throttled) }
}

/// A true token bucket, which says `Retry-After` in whole seconds or not at all.
pub struct Bucket {
    pub rate: f64,
    pub burst: f64,
    pub tokens: f64,
    pub last: Duration,
    pub retry_after: bool,
}

impl Bucket {
    pub fn new(rate: f64, burst: f64) -> Self {
        Self { rate, burst, tokens: burst, last: Duration::ZERO, retry_after: true }
    }
}

impl Vendor for Bucket {
    fn call(&mut self, at: Duration) -> Signal {
        self.tokens = (self.tokens + (at - self.last).as_secs_f64() * self.rate).min(self.burst);
        self.last = at;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return signal(Outcome::Answered);
        }
        let seconds = ((1.0 - self.tokens) / self.rate).ceil() as u64;
        refusal(self.retry_after.then(|| Duration::from_secs(seconds)))
    }
}

/// So many calls in each window, and 429 until it ends.
pub struct Fixed {
    pub calls: u64,
    pub window: Duration,
    pub used: u64,
    pub number: u64,
    pub retry_after: bool,
    pub headers: bool,
}

impl Fixed {
    pub fn new(calls: u64, window: Duration) -> Self {
        Self { calls, window, used: 0, number: 0, retry_after: true, headers: false }
    }
}

impl Vendor for Fixed {
    fn call(&mut self, at: Duration) -> Signal {
        let number = (at.as_nanos() / self.window.as_nanos()) as u64;
        if number != self.number {
            (self.number, self.used) = (number, 0);
        }
        let reset = Duration::from_secs((self.window * (number as u32 + 1) - at).as_secs_f64().ceil() as u64);
        self.used = (self.used + 1).min(self.calls + 1);
        let remaining = self.calls.saturating_sub(self.used);
        let limits =
            LimitHeaders { limit: Some(self.calls), window: None, remaining: Some(remaining), reset: Some(reset) };
        let answer = if self.used <= self.calls {
            signal(Outcome::Answered)
        } else {
            refusal(self.retry_after.then_some(reset))
        };
        Signal { limits: self.headers.then_some(limits), ..answer }
    }
}

/// How a run is made.
pub struct Run {
    pub calls: u64,
    pub latency: Duration,
    pub late: Duration,
    pub seed: u64,
    /// No run lasts longer.
    pub limit: Duration,
    /// What is reserved of quotas.
    pub desk: RefCell<HashMap<(String, Timestamp), u64>>,
}

impl Run {
    pub fn new(calls: u64, latency: Duration, seed: u64) -> Self {
        Self { calls, latency, late: ms(2), seed, limit: Duration::from_secs(86_400), desk: RefCell::default() }
    }
}

#[derive(Debug, Default)]
pub struct Report {
    pub took: Duration,
    pub answered: u64,
    pub throttled: u64,
    pub failed: u64,
    /// When calls were refused, as the vendor saw it, and the calls' answers so far then.
    pub refusals: Vec<Duration>,
    pub sent: Vec<Duration>,
    /// Calls under way at most.
    pub crowd: usize,
    pub arrived: Vec<Duration>,
}

impl Report {
    /// Refusals after the first five seconds, and after the third of them.
    pub fn refused_after_learning(&self) -> u64 {
        let late = self.refusals.iter().skip(3).filter(|at| **at > Duration::from_secs(5));
        late.count() as u64
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(u64, Duration),
    Returns(u64),
}

/// Runs until so many calls have been answered. Refused and failed calls are made again.
pub fn run(pacer: &mut Pacer, vendor: &mut dyn Vendor, run: &Run, begin: Duration) -> Report {
    let random = Random::seeded(run.seed);
    let part = |span: Duration, from: f64, to: f64| {
        span.mul_f64(from + (to - from) * (random.next() >> 11) as f64 / (1u64 << 53) as f64)
    };
    let mut report = Report::default();
    let mut events: BinaryHeap<Reverse<(Duration, Event)>> = BinaryHeap::new();
    let mut under_way: HashMap<u64, (Ticket, Option<Signal>)> = std::collections::HashMap::new();
    let mut at = begin;
    let mut wake = begin;
    while report.answered < run.calls && at - begin < run.limit {
        let now = Now { elapsed: at, wall: START.after(at) };
        let mut until = Duration::MAX;
        loop {
            if wake > at {
                break;
            }
            if let Some(reservation) = pacer.reservation(now) {
                let mut desk = run.desk.borrow_mut();
                let reserved = desk.entry((reservation.quota.clone(), reservation.period)).or_insert(0);
                let granted = reservation.calls.min(reservation.limit - *reserved);
                *reserved += granted;
                pacer.reserved(&reservation, Some(granted));
            }
            match pacer.poll(now) {
                None if report.answered + under_way.len() as u64 >= run.calls => break,
                None => {
                    let ticket = pacer.grant(now);
                    report.sent.push(at);
                    let latency = part(run.latency, 0.5, 1.5);
                    under_way.insert(ticket.number, (ticket, None));
                    events.push(Reverse((at + latency / 2, Event::Arrives(ticket.number, latency))));
                    report.crowd = report.crowd.max(under_way.len());
                }
                Some(Hold::Reserving) => {}
                Some(hold) => {
                    until = match hold {
                        Hold::Budget(at) => at,
                        Hold::Breaker(until) | Hold::Vendor(until) if until > at => until,
                        Hold::Quota(until) | Hold::Window(until) => at + until.since(now.wall),
                        _ => Duration::MAX,
                    };
                    break;
                }
            }
        }
        if until != Duration::MAX {
            wake = until + part(run.late, 0.0, 1.0);
        }
        let next = events.peek().map(|Reverse((at, _))| *at);
        let sleeps = (wake > at).then_some(wake);
        let Some(next) = next.into_iter().chain(sleeps).min() else {
            panic!("nothing happens at {at:?}: {:?}", pacer.poll(now))
        };
        at = next;
        let now = Now { elapsed: at, wall: START.after(at) };
        while events.peek().is_some_and(|Reverse((event, _))| *event <= at) {
            match events.pop().unwrap().0.1 {
                Event::Arrives(number, latency) => {
                    let mut signal = vendor.call(at);
                    signal.latency = Some(latency);
                    report.arrived.push(at);
                    if signal.outcome == Outcome::Throttled {
                        report.refusals.push(at - begin);
                    }
                    under_way.get_mut(&number).unwrap().1 = Some(signal);
                    events.push(Reverse((at + latency / 2, Event::Returns(number))));
                }
                Event::Returns(number) => {
                    let (ticket, signal) = under_way.remove(&number).unwrap();
                    let signal = signal.unwrap();
                    match signal.outcome {
                        Outcome::Answered => report.answered += 1,
                        Outcome::Throttled => report.throttled += 1,
                        _ => report.failed += 1,
                    }
                    pacer.end(now, ticket, &signal);
                    // Whoever waited for an end looks again.
                    if pacer.poll(now).is_none() || wake > at + run.late {
                        wake = wake.min(at).max(begin);
                    }
                }
            }
        }
    }
    report.took = at - begin;
    report
}

pub fn pacer(settings: Settings) -> Pacer {
    Pacer::new(settings, &Facts::default(), Now { elapsed: Duration::ZERO, wall: START })
}
