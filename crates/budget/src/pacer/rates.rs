//! The configured rates, which change by the hours of the day.
//!
//! Invariant: in any window within which one set of rates holds, none is exceeded. A set that begins, begins empty.

use std::time::Duration;

use super::bucket::Bucket;
use super::calendar::{self, Span};
use super::{Hold, Now};
use crate::{Pace, Rate, Settings};

/// The share of the burst that is spent here; the rest is room for what lies between a permit and the vendor's clock.
const BURST_SHARE: u64 = 2;
/// Where no burst is set: the calls of this part of a second.
const BURST_DEFAULT: f64 = 0.1;

/// The rates in force.
#[derive(Debug)]
pub struct Rates {
    buckets: Vec<Bucket>,
    window: Option<usize>,
    valid: Span,
}

/// Calls a second of a rate.
pub fn per_second(rate: Rate) -> f64 {
    rate.calls as f64 / rate.per.as_secs_f64().max(1e-9)
}

/// How many calls may come at once by the settings.
pub fn burst(settings: &Settings, rate: Rate) -> u64 {
    settings.burst.unwrap_or((per_second(rate) * BURST_DEFAULT) as u64).max(1)
}

/// The rates that hold in a window, or outside of all; none: closed.
pub fn of(settings: &Settings, window: Option<usize>) -> Option<&[Rate]> {
    match (window.and_then(|index| settings.windows.get(index)), &settings.pace) {
        (Some(window), _) => (!window.rates.is_empty()).then_some(&window.rates),
        (None, Pace::Limited(rates)) => Some(rates),
        (None, Pace::Learned | Pace::Unlimited) => Some(&[]),
    }
}

/// The least of some rates in calls a second; infinite without one.
pub fn least(rates: &[Rate]) -> f64 {
    rates.iter().map(|rate| per_second(*rate)).fold(f64::INFINITY, f64::min)
}

impl Rates {
    /// The rates that hold now, with empty buckets.
    pub fn new(settings: &Settings, now: Now) -> Self {
        let (window, valid) = calendar::window_at(&settings.windows, now.wall);
        let mut rates = Self { buckets: Vec::new(), window, valid };
        rates.begin(settings, now.elapsed);
        rates
    }

    fn begin(&mut self, settings: &Settings, now: Duration) {
        let ours = |rate: Rate| (burst(settings, rate) / BURST_SHARE).max(1);
        let rates = of(settings, self.window).unwrap_or_default();
        self.buckets = rates.iter().map(|rate| Bucket::empty(*rate, ours(*rate), now)).collect();
    }

    fn roll(&mut self, settings: &Settings, now: Now) {
        if settings.windows.is_empty() || self.valid.holds(now.wall) {
            return;
        }
        let (window, valid) = calendar::window_at(&settings.windows, now.wall);
        self.valid = valid;
        if window != self.window {
            self.window = window;
            self.begin(settings, now.elapsed);
        }
    }

    /// What holds a call back.
    pub fn poll(&mut self, settings: &Settings, now: Now) -> Option<Hold> {
        self.roll(settings, now);
        if of(settings, self.window).is_none() {
            return Some(Hold::Window(self.valid.to));
        }
        let ready = self.buckets.iter().map(Bucket::ready).max()?;
        (ready > now.elapsed).then_some(Hold::Budget(ready))
    }

    /// Takes a call of every rate.
    pub fn take(&mut self, now: Duration) {
        for bucket in &mut self.buckets {
            bucket.take(now);
        }
    }

    /// Calls a second that the settings allow now; infinite without a limit.
    pub fn configured(&self, settings: &Settings) -> f64 {
        of(settings, self.window).map_or(0.0, least)
    }

    /// How many calls may come at once, by the tightest rate; 1 without one.
    pub fn burst(&self, settings: &Settings) -> u64 {
        let rates = of(settings, self.window).unwrap_or_default();
        rates.iter().map(|rate| burst(settings, *rate)).min().unwrap_or(settings.burst.unwrap_or(1))
    }
}
