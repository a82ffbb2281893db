//! What a queue's handle and its owner share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use tokio::sync::watch;
use weir_env::Env;
use weir_log::Log;
use weir_types::{QueueName, Timestamp};

use crate::error::QueueError;
use crate::payloads::Payloads;
use crate::queue::{Depth, Stats};
use crate::settings::Settings;
use crate::snapshot::Store;
use crate::tuning::Tuning;

pub(crate) struct Shared {
    pub name: QueueName,
    pub identity: u64,
    pub log: Arc<dyn Log>,
    pub store: Store,
    pub env: Env,
    pub tuning: Tuning,
    pub payloads: Payloads,
    pub settings: Mutex<Arc<Settings>>,
    pub stats: Mutex<Stats>,
    pub depth: watch::Sender<Depth>,
    /// The last stamps that are durable, by producer.
    pub stamps: Mutex<HashMap<Box<str>, u64>>,
}

/// Nothing in here panics while it holds a lock, so that a poisoned one still guards a whole state.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.settings))
    }

    pub(crate) fn closed(&self) -> QueueError {
        QueueError::Closed { queue: self.name.clone() }
    }

    /// Tells everybody how much there is.
    pub(crate) fn publish(&self, update: impl FnOnce(&mut Stats)) {
        let depth = {
            let mut stats = lock(&self.stats);
            update(&mut stats);
            Depth { ready: stats.ready, in_flight: stats.in_flight }
        };
        self.depth.send_if_modified(|before| std::mem::replace(before, depth) != depth);
    }
}

/// A queue's clock: the wall's, but it never goes back, and it goes on while the wall's is behind.
#[derive(Debug)]
pub(crate) struct Clock {
    env: Env,
    time: Timestamp,
    elapsed: std::time::Duration,
}

impl Clock {
    /// A clock that does not show less than `time`.
    pub(crate) fn new(env: Env, time: i64) -> Self {
        let (time, elapsed) = (Timestamp(time).max(env.now()), env.elapsed());
        Self { env, time, elapsed }
    }

    pub(crate) fn now(&mut self) -> i64 {
        let elapsed = self.env.elapsed();
        let passed = elapsed.saturating_sub(self.elapsed);
        let whole = std::time::Duration::from_millis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
        // What is less than a millisecond is kept for the next time.
        self.elapsed += whole;
        self.time = self.time.after(whole).max(self.env.now());
        self.time.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_env::ManualClock;

    use super::*;

    #[test]
    fn the_clock_goes_on_while_the_walls_is_behind() {
        let wall = ManualClock::at(Timestamp(1_000_000));
        let mut clock = Clock::new(Env::seeded(wall.clone(), 1), 0);
        assert_eq!(clock.now(), 1_000_000);
        wall.jump(Timestamp(500_000));
        assert_eq!(clock.now(), 1_000_000);
        wall.advance(Duration::from_millis(300));
        assert_eq!(clock.now(), 1_000_300);
        wall.jump(Timestamp(2_000_000));
        assert_eq!(clock.now(), 2_000_000);
        assert_eq!(Clock::new(Env::seeded(wall, 1), 3_000_000).now(), 3_000_000);
    }
}
