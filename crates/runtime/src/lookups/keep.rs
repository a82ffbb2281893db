//! When a lookup is read again: when it is due, and sooner after a failure.

use std::sync::Arc;
use std::time::Duration;

use weir_config::RefreshPlan;
use weir_types::{LookupName, Timestamp};

use super::LookupSet;

/// The wait after the first failure; it doubles with each further one.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest wait between two tries of a reading that fails.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// The longest that a wait goes on without a look at the clock, which may have been set.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl LookupSet {
    /// Returns the lookups' names.
    pub fn names(&self) -> impl Iterator<Item = &LookupName> {
        self.lookups.keys()
    }

    /// Reads a lookup again when it is due, for ever.
    pub async fn keep_fresh(self: Arc<Self>, name: LookupName) {
        let Some(lookup) = self.lookups.get(&name) else { return };
        let refresh = match &lookup.plan.refresh {
            RefreshPlan::Schedule(schedule) => RefreshPlan::Schedule(schedule.clone().anchored(self.env.now())),
            other => other.clone(),
        };
        // One that started from a snapshot is tried again soon, even if it were never due.
        let mut failures = u32::from(lookup.freshness().failing.is_some());
        loop {
            let now = self.env.now();
            let due = due(&refresh, now);
            let retry = (failures > 0).then(|| now.after(self.env.jitter(backoff(failures))));
            let Some(next) = due.into_iter().chain(retry).min() else { return };
            lookup.update(|fresh| fresh.next_at = Some(next));
            self.wait_until(next).await;
            failures = match self.refresh(&name).await {
                Ok(()) => 0,
                Err(_) => failures.saturating_add(1),
            };
            lookup.update(|fresh| fresh.next_at = None);
        }
    }

    async fn wait_until(&self, next: Timestamp) {
        loop {
            let left = next.since(self.env.now());
            if left.is_zero() {
                return;
            }
            self.env.sleep(left.min(LOOK_EVERY)).await;
        }
    }
}

fn due(refresh: &RefreshPlan, now: Timestamp) -> Option<Timestamp> {
    match refresh {
        RefreshPlan::Never => None,
        RefreshPlan::Every(every) => Some(now.after(*every)),
        RefreshPlan::Schedule(schedule) => schedule.next_after(now),
    }
}

/// Returns how long to wait after so many failures in a row.
pub(super) fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    RETRY_MIN.saturating_mul(1 << doublings).min(RETRY_MAX)
}
