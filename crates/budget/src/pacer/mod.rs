//! When the next call may go, and if not, why: pure, with the time as an argument.

mod bucket;

use std::time::Duration;

use weir_types::Timestamp;

use crate::{BreakerState, Facts, Learned, Pace, PaceSource, QuotaKey, Settings, Signal, Status, Verdict, Wait};
use bucket::Bucket;

/// Calls under way at once, where the settings don't say.
pub const CONCURRENCY_DEFAULT: u32 = 64;

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The one that never goes back.
    pub elapsed: Duration,
    /// The wall clock, which may jump. Only quotas and windows look at it.
    pub wall: Timestamp,
}

/// Why the next call does not go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A configured rate, until then.
    Budget(Duration),
    /// The vendor's limit, until then.
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

/// A call that was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Its number since the start.
    pub number: u64,
    /// When it was let go.
    pub at: Duration,
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

/// The pace of one account.
#[derive(Debug)]
pub struct Pacer {
    settings: Settings,
    rates: Vec<Bucket>,
    in_flight: u32,
    number: u64,
}

impl Pacer {
    /// A pacer that begins now, with what was learned before.
    pub fn new(settings: Settings, facts: &Facts, now: Now) -> Self {
        let _ = facts;
        let rates = match &settings.pace {
            Pace::Limited(rates) => {
                rates.iter().map(|rate| Bucket::empty(*rate, settings.burst.unwrap_or(1), now.elapsed)).collect()
            }
            _ => Vec::new(),
        };
        Self { settings, rates, in_flight: 0, number: 0 }
    }

    /// Says what holds the next call back; `None`: it may go now.
    pub fn poll(&mut self, now: Now) -> Option<Hold> {
        if self.in_flight >= self.settings.concurrency.unwrap_or(CONCURRENCY_DEFAULT) {
            return Some(Hold::Concurrency);
        }
        let ready = self.rates.iter().map(Bucket::ready).max()?;
        (ready > now.elapsed).then_some(Hold::Budget(ready))
    }

    /// Lets a call go, which [`Pacer::poll`] must have allowed at this moment.
    pub fn grant(&mut self, now: Now) -> Ticket {
        for rate in &mut self.rates {
            rate.take(now.elapsed);
        }
        self.in_flight += 1;
        self.number += 1;
        Ticket { number: self.number, at: now.elapsed }
    }

    /// Takes note of a call's end.
    pub fn end(&mut self, now: Now, ticket: Ticket, signal: &Signal) -> Verdict {
        let _ = (now, ticket, signal);
        self.in_flight -= 1;
        Verdict { vendor_down: false }
    }

    /// The part of a quota that should be reserved now. It counts as asked for until it is told what came of it.
    pub fn reservation(&mut self, now: Now) -> Option<Reservation> {
        let _ = now;
        None
    }

    /// Takes note of a reservation: so many calls were granted, or it could not be stored.
    pub fn reserved(&mut self, now: Now, reservation: &Reservation, granted: Option<u64>) {
        let _ = (now, reservation, granted);
    }

    /// What should be stored now, if anything.
    pub fn lesson(&mut self, now: Now) -> Option<(Option<Learned>, Option<Timestamp>)> {
        let _ = now;
        None
    }

    /// Calls a second that may go now, as far as is known; none: no limit is known.
    pub fn rate_now(&self, now: Now) -> Option<f64> {
        let _ = now;
        None
    }

    /// The pacer's part of a status.
    pub fn status(&mut self, now: Now) -> Status {
        let _ = now;
        Status {
            pace: None,
            pace_source: PaceSource::Unlimited,
            configured: None,
            refused_at: None,
            burst: 1,
            concurrency: self.settings.concurrency.unwrap_or(CONCURRENCY_DEFAULT),
            in_flight: self.in_flight,
            waiting: 0,
            flows: Vec::new(),
            delivered: 0.0,
            latency_ms: None,
            answered: 0,
            throttled: 0,
            failed: 0,
            breaker: BreakerState::Closed,
            blocked_until: None,
            quotas: Vec::new(),
            wait: Wait::Nothing,
        }
    }
}
