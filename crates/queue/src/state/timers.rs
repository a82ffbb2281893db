//! When messages become ready.
//!
//! An entry of the heap counts only if its message still waits for just that time; others are passed over when their time
//! comes, or dropped together when they are more than those that count.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Below so many nobody cares about entries that don't count.
const STALE_MIN: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(i64, u32)>>,
}

impl Timers {
    pub(crate) fn add(&mut self, at: i64, slot: u32) {
        self.heap.push(Reverse((at, slot)));
    }

    /// Returns the first entry that counts; drops those before it.
    pub(crate) fn first(&mut self, counts: impl Fn(i64, u32) -> bool) -> Option<i64> {
        while let Some(Reverse((at, slot))) = self.heap.peek() {
            if counts(*at, *slot) {
                return Some(*at);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes the next slot whose time has come.
    pub(crate) fn pop_due(&mut self, now: i64) -> Option<(i64, u32)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Drops what does not count, once that is most of the heap. `live` is how many count.
    pub(crate) fn tidy(&mut self, live: u64, counts: impl Fn(i64, u32) -> bool) {
        if self.heap.len() > STALE_MIN && self.heap.len() as u64 > 3 * live {
            self.heap.retain(|Reverse((at, slot))| counts(*at, *slot));
            self.heap.shrink_to(STALE_MIN);
        }
    }
}
