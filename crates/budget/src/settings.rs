//! What is known of a vendor's account before the first call.

use std::time::Duration;

/// So many calls in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls; one at least.
    pub calls: u64,
    /// In how long; a second, a minute, an hour or a day as people write it.
    pub per: Duration,
}

/// How fast calls may follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pace {
    /// As fast as the vendor shows that it allows.
    #[default]
    Learned,
    /// Within all of these, and slower if the vendor shows that it allows less.
    Limited(Vec<Rate>),
    /// Without a limit of our own; what the vendor refuses is obeyed nevertheless.
    Unlimited,
}

/// So many calls in each period of a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Calls.
    pub calls: u64,
    /// The period: an hour, a day, or 28 to 31 days for a calendar month.
    pub per: QuotaPeriod,
    /// Where its days begin.
    pub timezone: chrono_tz::Tz,
}

/// The periods that quotas are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaPeriod {
    /// A clock hour.
    Hour,
    /// A calendar day.
    Day,
    /// A calendar month.
    Month,
}

/// Hours of the day in which another pace holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Where it begins, in minutes since midnight.
    pub from: u16,
    /// Where it ends, exclusively; below `from`: on the next day.
    pub to: u16,
    /// The days that it begins on, Monday first; none set: all.
    pub days: [bool; 7],
    /// Whose clock.
    pub timezone: chrono_tz::Tz,
    /// The rates within it, instead of the budget's; empty: no calls.
    pub rates: Vec<Rate>,
}

/// The `budget` block of an `api`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// How fast calls may follow each other.
    pub pace: Pace,
    /// How many calls may come at once on top of a rate; none: a tenth of a second's calls, one at least.
    pub burst: Option<u64>,
    /// Calls under way at once; none: 64, fewer where latency rises.
    pub concurrency: Option<u32>,
    /// Quotas, which all hold.
    pub quotas: Vec<Quota>,
    /// Hours with rates of their own; the first that fits holds.
    pub windows: Vec<Window>,
}
