//! Receives of FIFO queues that may be asked for again: the answer was lost, and the same messages are wanted.
//!
//! Kept in memory alone: after a restart the messages are hidden until their lease ends.

use std::collections::VecDeque;

use hashbrown::HashMap;
use weir_types::Timestamp;

use crate::limits::DEDUPLICATION;

/// Attempts that are remembered.
const ATTEMPTS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Attempts {
    leases: HashMap<String, Vec<(u64, u32)>>,
    order: VecDeque<(i64, String)>,
}

impl Attempts {
    /// Returns what an attempt got within the last five minutes: messages, and the numbers of their leases.
    pub(crate) fn find(&mut self, attempt: &str, now: i64) -> Option<&[(u64, u32)]> {
        while let Some((_, old)) = self.order.pop_front_if(|(until, _)| *until <= now) {
            self.leases.remove(&old);
        }
        self.leases.get(attempt).map(Vec::as_slice)
    }

    /// Forgets the attempts that got a lease which was taken back: another lease of the same number may follow.
    pub(crate) fn forget(&mut self, returned: &[(u64, u32)]) {
        if !self.leases.is_empty() {
            self.leases.retain(|_, leases| !leases.iter().any(|lease| returned.contains(lease)));
            let leases = &self.leases;
            self.order.retain(|(_, attempt)| leases.contains_key(attempt));
        }
    }

    /// Remembers what an attempt got.
    pub(crate) fn add(&mut self, attempt: String, now: i64, leases: Vec<(u64, u32)>) {
        if self.leases.insert(attempt.clone(), leases).is_none() {
            self.order.push_back((Timestamp(now).after(DEDUPLICATION).0, attempt));
        }
        while self.order.len() > ATTEMPTS_MAX {
            if let Some((_, oldest)) = self.order.pop_front() {
                self.leases.remove(&oldest);
            }
        }
    }
}
