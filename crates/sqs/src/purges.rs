//! When queues were purged: one purge in 60 seconds, as SQS has it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use weir_types::QueueName;

use crate::limits::PURGE_PAUSE;

/// The purges of the last minute. Kept in memory alone: after a restart a purge may follow sooner, and harms nothing.
#[derive(Debug, Default)]
pub struct Purges {
    last: Mutex<BTreeMap<QueueName, Duration>>,
}

impl Purges {
    /// Takes note of a purge at `now`, by the clock that never goes back. `false` if the last one was too short a time ago.
    pub fn begin(&self, queue: &QueueName, now: Duration) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // What remains is bounded by the queues that were purged within the last minute.
        last.retain(|_, at| now.saturating_sub(*at) < PURGE_PAUSE);
        if last.contains_key(queue) {
            return false;
        }
        last.insert(queue.clone(), now);
        true
    }

    /// Forgets a purge that failed, or a queue that is gone.
    pub fn forget(&self, queue: &QueueName) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(queue);
    }
}
