//! When the next call may go, and if not, why: pure, with the time as an argument.
//!
//! ```text
//! poll: breaker, Retry-After, concurrency, windows and rates, quotas, headers, learned pace --> go, or what holds it back
//! grant: every one of them takes the call          end: every one of them learns from its signal
//! ```
//!
//! Invariant: a call is let go only when all allow it, and all count it. The configured rates and quotas are hard, in integers; what
//! is learned lies below them.

mod breaker;
mod bucket;
mod calendar;
mod estimate;
mod latency;
mod learner;
mod quota;
mod rates;
mod soft;
mod told;

use std::collections::VecDeque;
use std::time::Duration;

use weir_types::Timestamp;

use crate::{Facts, Learned, Outcome, Pace, PaceSource, QuotaKey, Settings, Signal, Status, Verdict, Wait};
use breaker::Breaker;
pub use breaker::OUTAGE_MAX;
use latency::Latency;
use learner::{Learner, Refused};
use quota::Allowance;
use rates::Rates;
use soft::Soft;
use told::Told;

/// Calls under way at once, where the settings don't say.
pub const CONCURRENCY_DEFAULT: u32 = 64;
/// Seconds over which the delivered rate is counted.
const DELIVERED_SECONDS: u64 = 5;
/// What was learned is stored so often at most, and when its pace has changed by this part since.
const LESSONS_APART: Duration = Duration::from_secs(10);
const LESSON_CHANGE: f64 = 0.1;
/// A wait that moves by less is not stored again.
const BLOCK_CHANGE: Duration = Duration::from_secs(1);

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The one that never goes back.
    pub elapsed: Duration,
    /// The wall clock, which may jump. Only quotas and windows look at it.
    pub wall: Timestamp,
}

impl Now {
    /// The wall clock's time at a moment of the other one.
    pub fn wall_at(self, at: Duration) -> Timestamp {
        match at.checked_sub(self.elapsed) {
            Some(ahead) => self.wall.after(ahead),
            None => self.wall.before(self.elapsed.saturating_sub(at)),
        }
    }
}

/// Why the next call does not go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A configured rate, until then.
    Budget(Duration),
    /// The vendor's limit, until then; in the past: a single call that asks is under way.
    Vendor(Duration),
    /// The breaker, until then; in the past: a probe is under way.
    Breaker(Duration),
    /// All calls that may be are under way.
    Concurrency,
    /// A quota is used up until then.
    Quota(Timestamp),
    /// Part of a quota is being reserved.
    Reserving,
    /// There are no calls until then.
    Window(Timestamp),
}

impl Hold {
    /// What a status says.
    pub fn told(self, now: Now) -> Wait {
        match self {
            Self::Budget(at) => Wait::Budget { until: now.wall_at(at) },
            Self::Vendor(at) => Wait::VendorLimit { until: now.wall_at(at) },
            Self::Breaker(at) => Wait::Breaker { probe_at: now.wall_at(at) },
            Self::Concurrency => Wait::Concurrency,
            Self::Quota(until) => Wait::Quota { until },
            Self::Reserving => Wait::Quota { until: now.wall },
            Self::Window(opens_at) => Wait::Window { opens_at },
        }
    }
}

/// A call that was let go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ticket {
    /// Its number since the start.
    pub number: u64,
    /// When it was let go.
    pub at: Duration,
    /// Calls a second that were allowed then.
    pace: f64,
}

/// A part of a quota that is to be reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Which quota.
    pub quota: QuotaKey,
    /// When its period began.
    pub period: Timestamp,
    /// Calls that are wanted.
    pub calls: u64,
    /// Calls of a whole period.
    pub limit: u64,
}

/// Calls since the start, by what became of them.
#[derive(Debug, Default)]
struct Totals {
    answered: u64,
    throttled: u64,
    failed: u64,
}

/// The pace of one account.
#[derive(Debug)]
pub struct Pacer {
    settings: Settings,
    rates: Rates,
    quotas: Vec<Allowance>,
    learner: Learner,
    told: Told,
    breaker: Breaker,
    latency: Latency,
    soft: Soft,
    in_flight: u32,
    number: u64,
    totals: Totals,
    /// Answers by the second that they came in, the latest last.
    delivered: VecDeque<(u64, u64)>,
    stored: Option<(Duration, Option<Learned>, Option<Duration>)>,
}

impl Pacer {
    /// A pacer that begins now, with what was learned before.
    pub fn new(settings: Settings, facts: &Facts, now: Now) -> Self {
        let mut quotas: Vec<Allowance> = Vec::new();
        let mut sorted = settings.quotas.clone();
        // Of two quotas over the same periods the lower one holds.
        sorted.sort_by_key(|quota| quota.calls);
        for quota in sorted {
            let key = calendar::key(&quota);
            if quotas.iter().all(|known| calendar::key(known.quota()) != key) {
                quotas.push(Allowance::new(quota, facts.reserved.get(&key).cloned().unwrap_or_default()));
            }
        }
        let blocked = facts.blocked_until.map_or(Duration::ZERO, |until| until.since(now.wall));
        let paced = settings.pace == Pace::Learned;
        let learner = Learner::new(facts.learned, paced, blocked.min(crate::RETRY_AFTER_MAX), now.elapsed);
        Self {
            rates: Rates::new(&settings, now),
            quotas,
            told: Told::default(),
            breaker: Breaker::closed(),
            latency: Latency::new(settings.concurrency.unwrap_or(CONCURRENCY_DEFAULT)),
            soft: Soft::new(now.elapsed),
            in_flight: 0,
            number: 0,
            totals: Totals::default(),
            delivered: VecDeque::new(),
            stored: Some((now.elapsed, learner.learned(), learner.blocked_until(now.elapsed))),
            learner,
            settings,
        }
    }

    fn calls_max(&self) -> u32 {
        self.latency.calls().min(self.breaker.calls_max())
    }

    /// The pace that is not configured, in calls a second, and where it comes from; infinite: there is none.
    fn soft_pace(&self, now: Duration) -> (f64, PaceSource) {
        let (learned, headers) = (self.learner.pace(), self.told.pace(now));
        let (pace, source) =
            if headers < learned { (headers, PaceSource::Headers) } else { (learned, PaceSource::Learned) };
        let part = self.breaker.part(now);
        let target = pace.min(self.rates.configured(&self.settings));
        if part < 1.0 && target.is_finite() {
            // Never below what a first acquaintance begins with.
            let recovering = (target * part).max(target.min(10.0));
            if recovering < pace {
                return (recovering, PaceSource::Recovering);
            }
        }
        (pace, source)
    }

    /// Says what holds the next call back; `None`: it may go now.
    pub fn poll(&mut self, now: Now) -> Option<Hold> {
        if let Some(until) = self.breaker.poll(now.elapsed) {
            return Some(Hold::Breaker(until));
        }
        if let Some(until) = self.learner.poll(now.elapsed) {
            return Some(Hold::Vendor(until));
        }
        if self.in_flight >= self.calls_max() {
            return Some(Hold::Concurrency);
        }
        if let Some(hold) = self.rates.poll(&self.settings, now) {
            return Some(hold);
        }
        if let Some(until) = self.told.until(now.elapsed) {
            return Some(Hold::Vendor(until));
        }
        let (pace, _) = self.soft_pace(now.elapsed);
        let ready = self.soft.ready(pace);
        if ready > now.elapsed {
            if pace >= self.learner.pace() {
                self.learner.bound();
            }
            return Some(Hold::Vendor(ready));
        }
        // Last, so that nothing is reserved before it can be used.
        self.quotas.iter_mut().find_map(|quota| quota.poll(now.wall))
    }

    /// Lets a call go, which [`Pacer::poll`] must have allowed at this moment.
    pub fn grant(&mut self, now: Now) -> Ticket {
        self.number += 1;
        self.in_flight += 1;
        let (pace, _) = self.soft_pace(now.elapsed);
        self.rates.take(now.elapsed);
        for quota in &mut self.quotas {
            quota.take();
        }
        self.told.take();
        self.soft.take(now.elapsed, pace);
        self.learner.take(self.number, now.elapsed);
        self.breaker.take(self.number);
        Ticket { number: self.number, at: now.elapsed, pace }
    }

    /// Takes note of a call's end.
    pub fn end(&mut self, now: Now, ticket: Ticket, signal: &Signal) -> Verdict {
        let crowd = self.in_flight;
        self.in_flight = self.in_flight.saturating_sub(1);
        let at = now.elapsed;
        let vendor_down = self.breaker.end(at, ticket.number, signal.outcome, self.latency.calls());
        if let Some(limits) = &signal.limits {
            self.told.answered(at, ticket.number, self.number - ticket.number, limits);
        }
        match signal.outcome {
            Outcome::Answered => {
                self.totals.answered += 1;
                self.count_delivered(at);
                if let Some(latency) = signal.latency {
                    self.latency.answered(at, latency, crowd);
                }
                let typical = self.latency.typical().unwrap_or_default();
                let took = signal.latency.unwrap_or(at.saturating_sub(ticket.at));
                self.learner.answered(at, ticket.number, took, typical);
            }
            Outcome::Throttled => {
                self.totals.throttled += 1;
                let reset = signal.limits.filter(|limits| limits.remaining == Some(0)).and_then(|limits| limits.reset);
                let wait = signal.retry_after.or(reset).map(|wait| wait.min(crate::RETRY_AFTER_MAX));
                let took = signal.latency.unwrap_or(at.saturating_sub(ticket.at));
                let call = Refused { number: ticket.number, pace: ticket.pace, took };
                self.learner.refused(at, call, self.number, wait);
            }
            Outcome::Failed => {
                self.totals.failed += 1;
                self.learner.ended(ticket.number);
            }
            Outcome::Unknown => self.learner.ended(ticket.number),
        }
        Verdict { vendor_down }
    }

    fn count_delivered(&mut self, at: Duration) {
        let second = at.as_secs();
        match self.delivered.back_mut() {
            Some((known, calls)) if *known == second => *calls += 1,
            _ => self.delivered.push_back((second, 1)),
        }
        while self.delivered.front().is_some_and(|(known, _)| known + DELIVERED_SECONDS < second) {
            self.delivered.pop_front();
        }
    }

    /// Calls a second that were answered in the last whole seconds.
    fn delivered(&self, now: Duration) -> f64 {
        let (to, from) = (now.as_secs(), now.as_secs().saturating_sub(DELIVERED_SECONDS));
        let calls: u64 = self.delivered.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, calls)| calls).sum();
        calls as f64 / (to - from).max(1) as f64
    }

    /// The part of a quota that should be reserved now. It counts as asked for until it is told what came of it.
    pub fn reservation(&mut self, now: Now) -> Option<Reservation> {
        self.quotas.iter_mut().find_map(|quota| quota.reservation(now.wall))
    }

    /// Takes note of a reservation: so many calls were granted, or it could not be stored.
    pub fn reserved(&mut self, reservation: &Reservation, granted: Option<u64>) {
        for quota in &mut self.quotas {
            quota.reserved(reservation, granted);
        }
    }

    /// What is reserved and will not be used. No call may go after that.
    pub fn unused(&mut self) -> Vec<Reservation> {
        self.quotas.iter_mut().filter_map(Allowance::unused).collect()
    }

    /// What should be stored now, if anything.
    pub fn lesson(&mut self, now: Now) -> Option<(Option<Learned>, Option<Timestamp>)> {
        let (learned, blocked) = (self.learner.learned(), self.learner.blocked_until(now.elapsed));
        if let Some((at, known, known_blocked)) = &self.stored {
            let pace = |learned: &Option<Learned>| learned.map_or(f64::INFINITY, |learned| learned.pace);
            let apart = now.elapsed.saturating_sub(*at);
            let moved = (pace(&learned) / pace(known) - 1.0).abs() > LESSON_CHANGE
                || pace(known).is_finite() != pace(&learned).is_finite();
            let refusal = learned.and_then(|learned| learned.refused_at) != known.and_then(|known| known.refused_at);
            let longer = blocked.is_some_and(|until| until > known_blocked.unwrap_or_default() + BLOCK_CHANGE);
            if !(longer || (moved || refusal) && apart >= LESSONS_APART) {
                return None;
            }
        }
        self.stored = Some((now.elapsed, learned, blocked));
        Some((learned, blocked.map(|until| now.wall_at(until))))
    }

    /// What is known now, whether or not it is worth storing yet.
    pub fn lesson_at_end(&self, now: Now) -> (Option<Learned>, Option<Timestamp>) {
        (self.learner.learned(), self.learner.blocked_until(now.elapsed).map(|until| now.wall_at(until)))
    }

    /// The pacer's part of a status.
    pub fn status(&mut self, now: Now) -> Status {
        // The hours may have changed since somebody asked last.
        let _ = self.rates.poll(&self.settings, now);
        let configured = self.rates.configured(&self.settings);
        let (soft, source) = self.soft_pace(now.elapsed);
        let pace = soft.min(configured);
        let pace_source = match () {
            () if pace.is_infinite() => PaceSource::Unlimited,
            () if configured <= soft => PaceSource::Configured,
            () => source,
        };
        let finite = |rate: f64| rate.is_finite().then_some(rate);
        Status {
            pace: finite(pace),
            pace_source,
            configured: finite(configured),
            refused_at: self.learner.refused_at(),
            burst: self.rates.burst(&self.settings),
            concurrency: self.calls_max(),
            in_flight: self.in_flight,
            waiting: 0,
            flows: Vec::new(),
            delivered: self.delivered(now.elapsed),
            latency_ms: self.latency.typical().map(|latency| latency.as_secs_f64() * 1e3),
            answered: self.totals.answered,
            throttled: self.totals.throttled,
            failed: self.totals.failed,
            breaker: self.breaker.state(),
            blocked_until: self.learner.blocked_until(now.elapsed).map(|until| now.wall_at(until)),
            quotas: self.quotas.iter().map(|quota| quota.status(now.wall)).collect(),
            wait: Wait::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
