//! What memory holds of a message: 80 bytes, whatever its payload.

use std::time::Duration;

use weir_types::Timestamp;

use crate::limits::HIDDEN_MAX;

/// No slot: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// Where a message is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// It can be received.
    Ready,
    /// It waits for the end of its delay, and was never received.
    Delayed,
    /// A lease hides it.
    Leased,
    /// It was received as often as it may, and waits for the table of dead letters.
    Exhausted,
    /// It is under way to the dead-letter queue.
    Dead,
    /// A move has taken it.
    Moving,
    /// It is deleted, as soon as that is durable. Never stored.
    Gone,
}

impl Phase {
    /// Tells whether it is still a message of this queue for receivers.
    pub(crate) fn is_queued(self) -> bool {
        matches!(self, Self::Ready | Self::Delayed | Self::Leased)
    }

    /// Tells whether it has a transfer number.
    pub(crate) fn is_transfer(self) -> bool {
        matches!(self, Self::Dead | Self::Moving)
    }

    pub(crate) fn from_u8(code: u8) -> Option<Self> {
        let all = [Self::Ready, Self::Delayed, Self::Leased, Self::Exhausted, Self::Dead, Self::Moving];
        all.into_iter().find(|phase| *phase as u8 == code)
    }
}

/// A place in a doubly linked list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub prev: u32,
    pub next: u32,
}

impl Link {
    pub(crate) const FREE: Self = Self { prev: NONE, next: NONE };
}

/// A message's entry in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its place when it was sent: its name in this queue, for ever.
    pub number: u64,
    /// Where its record lies now: elsewhere once it was copied forward.
    pub place: u64,
    pub sent_at: i64,
    /// When it can be received; of a transfer, its number.
    pub visible_at: i64,
    pub first_received: i64,
    /// Seconds from `first_received` to the last receive, rounded up.
    pub last_received_s: u32,
    /// Whole seconds of its delay: its age counts from their end.
    pub delay_s: u32,
    /// Receives; the number of its last lease.
    pub receives: u32,
    pub group: u32,
    /// Bytes that its record takes in the log.
    pub bytes: u32,
    /// Its place in its group's list.
    pub in_group: Link,
    /// Its place in the list of all, by place in the log.
    pub in_log: Link,
    pub phase: Phase,
    /// Which of its group's lists it is in, if in one.
    pub list: u8,
}

impl Entry {
    /// Returns when it grows too old.
    pub(crate) fn expires_at(&self, retention: Duration) -> i64 {
        Timestamp(self.sent_at).after(Duration::from_secs(u64::from(self.delay_s))).after(retention).0
    }

    /// Returns when its lease ends at the latest.
    pub(crate) fn hidden_until_max(&self) -> i64 {
        let received = Timestamp(self.first_received).after(Duration::from_secs(u64::from(self.last_received_s)));
        received.after(HIDDEN_MAX).0
    }

    /// Notes a receive.
    pub(crate) fn receive(&mut self, now: i64, until: i64) {
        if self.receives == 0 {
            self.first_received = now;
        }
        self.last_received_s =
            u32::try_from((now.saturating_sub(self.first_received) + 999) / 1000).unwrap_or(u32::MAX);
        self.receives = self.receives.saturating_add(1);
        self.visible_at = until;
        self.phase = Phase::Leased;
    }

    /// Takes the last receive back: nobody has seen it.
    pub(crate) fn unreceive(&mut self, now: i64) {
        self.receives = self.receives.saturating_sub(1);
        self.visible_at = now;
        self.phase = Phase::Leased;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_80_bytes() {
        assert_eq!(size_of::<Entry>(), 80);
    }
}
