//! Applying commands.

use std::time::Duration;

use super::journal::Undo;
use super::{LastStamp, State};
use crate::codec::Malformed;
use crate::command::{Carried, Command};
use crate::entry::{Entry, Link, Phase};
use crate::record;

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub time: i64,
    /// The first place of its block: a snapshot has applied whole blocks.
    pub block: u64,
    /// Its own place, if it has one.
    pub place: u64,
}

impl State {
    /// Applies a command. Messages that it names and that are gone are passed over: a snapshot knew of their end.
    pub(crate) fn apply(&mut self, at: At, command: &Command<'_>) -> Result<(), Malformed> {
        self.clock = self.clock.max(at.time);
        match command {
            Command::Message { sent_at, visible_at, record } => self.add(at, *sent_at, *visible_at, record)?,
            Command::Stamp { producer, number } => self.stamp(at, producer, *number),
            Command::Lease { until, numbers } => {
                self.each(at, numbers, |state, slot| state.change(slot, |entry| entry.receive(at.time, *until)));
            }
            Command::Delete { numbers } => self.each(at, numbers, Self::remove),
            Command::Hide { until, numbers } => {
                self.each(at, numbers, |state, slot| state.change(slot, |entry| entry.visible_at = *until));
            }
            Command::Return { numbers } => {
                self.each(at, numbers, |state, slot| state.change(slot, |entry| entry.unreceive(at.time)));
            }
            Command::Exhaust { numbers } => {
                self.each(at, numbers, |state, slot| state.change(slot, |entry| entry.phase = Phase::Exhausted));
            }
            Command::Transfer { phase, first, numbers } => self.transfer(at, *phase, *first, numbers),
            Command::Forget { transfers } => self.forget(at, transfers),
            Command::Purge { before } => self.purge(at, *before),
            Command::Carry { state, record } => self.carry(at, *state, record)?,
            Command::Counter { next_transfer } => self.next_transfer = self.next_transfer.max(*next_transfer),
        }
        Ok(())
    }

    /// Calls `how` with each message that is here and that no snapshot has in a later state.
    fn each(&mut self, at: At, numbers: &[u64], mut how: impl FnMut(&mut Self, u32)) {
        for number in numbers {
            if let Some(slot) = self.find(*number)
                && self.chunk_applied(slot) <= at.block
            {
                how(self, slot);
            }
        }
    }

    fn add(&mut self, at: At, sent_at: i64, visible_at: i64, bytes: &[u8]) -> Result<(), Malformed> {
        let head = record::head(bytes)?;
        self.repeats.forget_until(at.time);
        if let Some(key) = head.key
            && self.repeats.add(key, at.place, at.time)
            && self.live
        {
            self.journal.push(Undo::Key);
        }
        if self.find(at.place).is_some() {
            return Ok(());
        }
        let delay = Duration::from_millis(u64::try_from(visible_at.saturating_sub(at.time)).unwrap_or(0));
        let delay_s = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        let entry = Entry {
            number: at.place,
            place: at.place,
            sent_at,
            visible_at,
            first_received: 0,
            last_received_s: 0,
            // Its age counts from the end of its delay.
            delay_s: u32::try_from(delay_s).unwrap_or(u32::MAX),
            receives: 0,
            group: self.groups.intern(head.group),
            bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            in_group: Link::FREE,
            in_log: Link::FREE,
            phase: if delay.is_zero() { Phase::Ready } else { Phase::Delayed },
            list: super::UNLISTED,
        };
        self.insert(entry, head.id);
        Ok(())
    }

    fn stamp(&mut self, at: At, producer: &str, number: u64) {
        let before = self.stamps.get(producer).copied();
        // A stamp that is copied forward is no news but for its place.
        let number = before.map_or(number, |last| last.number.max(number));
        self.stamps.insert(producer.into(), LastStamp { number, place: at.block });
        if self.live {
            self.journal.push(Undo::Stamp(producer.into(), before));
        }
    }

    fn transfer(&mut self, at: At, phase: Phase, first: u64, numbers: &[u64]) {
        let end = first + numbers.len() as u64;
        if self.live {
            self.journal.push(Undo::NextTransfer(self.next_transfer));
        }
        self.next_transfer = self.next_transfer.max(end);
        for (transfer, number) in (first..end).zip(numbers) {
            if let Some(slot) = self.find(*number)
                && self.chunk_applied(slot) <= at.block
            {
                self.change(slot, |entry| {
                    entry.phase = phase;
                    entry.visible_at = transfer as i64;
                });
                if !self.live {
                    self.note_transfer(phase, transfer, *number);
                }
            }
        }
    }

    /// Replay: transfers are forgotten by their number, so that they must be known before the state is live.
    pub(super) fn note_transfer(&mut self, phase: Phase, transfer: u64, number: u64) {
        match phase {
            Phase::Dead => drop(self.dead.insert(transfer, number)),
            Phase::Moving => drop(self.moving.insert(transfer, number)),
            _ => {}
        }
    }

    fn forget(&mut self, at: At, transfers: &[u64]) {
        for transfer in transfers {
            let Some(number) = self.dead.get(transfer).or_else(|| self.moving.get(transfer)).copied() else { continue };
            if let Some(slot) = self.find(number)
                && self.chunk_applied(slot) <= at.block
            {
                self.remove(slot);
                self.dead.remove(transfer);
                self.moving.remove(transfer);
            }
        }
    }

    /// Deletes all that is queued below a number: in replay, that no snapshot has in a later state.
    fn purge(&mut self, at: At, before: u64) {
        if self.live {
            return self.purge_live(before);
        }
        for slot in self.slab.occupied() {
            let entry = self.slab.at(slot);
            if entry.number < before && entry.phase.is_queued() && self.chunk_applied(slot) <= at.block {
                self.drop_entry(slot);
            }
        }
    }

    fn carry(&mut self, at: At, state: Carried, bytes: &[u8]) -> Result<(), Malformed> {
        if let Some(slot) = self.find(state.number) {
            if self.chunk_applied(slot) > at.block {
                return Ok(());
            }
            if self.live {
                self.unlink_in_log(slot);
                self.slab.at_mut(slot).place = at.place;
                self.link_in_log(slot);
            } else {
                self.slab.at_mut(slot).place = at.place;
            }
            return Ok(());
        }
        // Where it was sent is trimmed already.
        let head = record::head(bytes)?;
        let entry = Entry {
            number: state.number,
            place: at.place,
            sent_at: state.sent_at,
            visible_at: state.visible_at,
            first_received: state.first_received,
            last_received_s: state.last_received_s,
            delay_s: state.delay_s,
            receives: state.receives,
            group: self.groups.intern(head.group),
            bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            in_group: Link::FREE,
            in_log: Link::FREE,
            phase: state.phase,
            list: super::UNLISTED,
        };
        self.insert(entry, head.id);
        if state.phase.is_transfer() {
            self.note_transfer(state.phase, state.visible_at as u64, state.number);
        }
        Ok(())
    }
}
