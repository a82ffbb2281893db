//! What is due when somebody wakes, and what becomes of times that were slept through.
//!
//! ```text
//!      last (seen)                          now
//! -------|------ t1 ------ t2 ------ t3 ----|---- t4 ----
//!                                                 next
//!   Skip:  t3 if it is at most a minute old   t1, t2 (and an older t3) are skipped
//!   Once:  t3                                 t1, t2 are skipped
//!   All:   t1, t2, t3
//! ```
//!
//! Invariant: only times after `last` and up to `now` fire. A clock that jumps back fires nothing until it is past
//! `last` again, so that nothing fires twice.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_types::Timestamp;

use crate::schedule::Schedule;

/// Times in one answer. Where [`Missed::All`] has more, the next answer has them.
pub const DUE_MAX: usize = 1000;

/// How late a time may be and still counts as met: the precision that EventBridge promises.
pub const ON_TIME: Duration = Duration::from_secs(60);

/// Skipped times of a `cron` that are counted. From here on the number means "at least".
pub const SKIPPED_MAX: u64 = 100_000;

/// What becomes of times that came while nobody was there to see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Only a time that is met within [`ON_TIME`] fires.
    Skip,
    /// The latest of them fires, for all.
    #[default]
    Once,
    /// Each of them fires, in order.
    All,
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The times that fire now, ascending, at most [`DUE_MAX`].
    pub fire: Vec<Timestamp>,
    /// When to ask again: in the past if there was no room for all. `None`: never.
    pub next: Option<Timestamp>,
    /// Times that came and will never fire, at most [`SKIPPED_MAX`] of a `cron`.
    pub skipped: u64,
    /// What to give as `last` the next time. Store it with what fired, in one step; it never goes back.
    pub seen: Timestamp,
}

impl Schedule {
    /// Returns what is due at `now`, if all times up to `last` are dealt with.
    ///
    /// For a new schedule `last` is the time of its creation.
    pub fn due(&self, last: Timestamp, now: Timestamp, missed: Missed) -> Due {
        if now <= last {
            return Due { fire: Vec::new(), next: self.next_after(last), skipped: 0, seen: last };
        }
        if missed == Missed::All {
            return self.all(last, now);
        }
        let latest = self.latest(now).filter(|time| *time > last);
        let fire: Vec<Timestamp> =
            latest.filter(|time| missed == Missed::Once || now.since(*time) <= ON_TIME).into_iter().collect();
        let skipped = self.count(last, now, SKIPPED_MAX).saturating_sub(fire.len() as u64);
        Due { fire, next: self.next_after(now), skipped, seen: now }
    }

    fn all(&self, last: Timestamp, now: Timestamp) -> Due {
        let mut fire = Vec::new();
        let mut next = self.next_after(last);
        while let Some(time) = next.filter(|time| *time <= now && fire.len() < DUE_MAX) {
            fire.push(time);
            next = self.next_after(time);
        }
        let more = next.is_some_and(|time| time <= now);
        // Only what fired is dealt with while there is more.
        let seen = fire.last().copied().filter(|_| more).unwrap_or(now);
        Due { fire, next, skipped: 0, seen }
    }
}

#[cfg(test)]
mod tests;
