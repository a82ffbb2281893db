//! What time does: it makes messages ready, and old.

use super::State;
use crate::entry::{Entry, NONE, Phase};

impl State {
    /// Makes up to `max` messages ready whose time has come, but leaves those that `exhausted` names: their numbers are
    /// returned, and the caller gives them up. The second value tells whether there may be more.
    pub(crate) fn due(&mut self, now: i64, max: usize, exhausted: impl Fn(&Entry) -> bool) -> (Vec<u64>, bool) {
        let mut given_up = Vec::new();
        for _ in 0..max {
            let (at, slot, phase) = if let Some((at, slot)) = self.leases.pop_due(now) {
                (at, slot, Phase::Leased)
            } else if let Some((at, slot)) = self.delays.pop_due(now) {
                (at, slot, Phase::Delayed)
            } else {
                return (given_up, false);
            };
            let Some(entry) = self.slab.get(slot) else { continue };
            if entry.phase != phase || entry.visible_at != at {
                continue;
            }
            if phase == Phase::Leased && exhausted(entry) {
                given_up.push(entry.number);
                // Two entries may name one lease; and if giving it up fails, it is tried again.
                continue;
            }
            self.change_silently(slot, |entry| entry.phase = Phase::Ready);
        }
        given_up.dedup();
        (given_up, true)
    }

    /// Returns when the next message becomes ready.
    pub(crate) fn next_due(&mut self) -> Option<i64> {
        let Self { slab, leases, delays, .. } = self;
        let counts = |phase| {
            let slab = &*slab;
            move |at, slot| slab.get(slot).is_some_and(|entry: &Entry| entry.phase == phase && entry.visible_at == at)
        };
        let lease = leases.first(counts(Phase::Leased));
        let delay = delays.first(counts(Phase::Delayed));
        lease.into_iter().chain(delay).min()
    }

    /// Drops what was left of leases and delays that ended early.
    pub(crate) fn tidy(&mut self) {
        let Self { slab, leases, delays, counts, .. } = self;
        let waits = |phase| {
            let slab = &*slab;
            move |at, slot| slab.get(slot).is_some_and(|entry: &Entry| entry.phase == phase && entry.visible_at == at)
        };
        leases.tidy(counts.in_flight, waits(Phase::Leased));
        delays.tidy(counts.delayed, waits(Phase::Delayed));
    }

    /// Returns up to `max` messages from the front of those that lie where they were sent that `old` names.
    pub(crate) fn oldest(&self, max: usize, old: impl Fn(&Entry) -> bool) -> Vec<u64> {
        let mut found = Vec::new();
        let mut slot = self.sent.head;
        while slot != NONE && found.len() < max {
            let entry = self.slab.at(slot);
            if !entry.phase.is_queued() || !old(entry) {
                break;
            }
            found.push(entry.number);
            slot = entry.in_log.next;
        }
        found
    }

    /// Returns those that `old` names among the messages in `count` slots from `from` on, and where to go on.
    pub(crate) fn sweep(&self, from: u32, count: u32, old: impl Fn(&Entry) -> bool) -> (Vec<u64>, Option<u32>) {
        let end = from.saturating_add(count).min(self.slab.slots());
        let found = (from..end)
            .filter_map(|slot| self.slab.get(slot))
            .filter(|entry| entry.phase.is_queued() && old(entry))
            .map(|entry| entry.number)
            .collect();
        (found, (end < self.slab.slots()).then_some(end))
    }
}
