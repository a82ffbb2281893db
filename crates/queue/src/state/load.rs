//! Bringing a state to life after replay, and starting over after a purge.

use super::{State, UNLISTED};
use crate::entry::{Entry, Link, Phase};

impl State {
    /// Replay: adds a message of a snapshot that has applied the log up to `applied`. Messages with one `applied` come
    /// together, after [`Self::begin_part`].
    pub(crate) fn load(&mut self, entry: Entry, group: Option<&str>, id: Option<u128>) {
        let group = self.groups.intern(group);
        if entry.phase.is_transfer() {
            self.note_transfer(entry.phase, entry.visible_at as u64, entry.number);
        }
        let entry = Entry { group, in_group: Link::FREE, in_log: Link::FREE, list: UNLISTED, ..entry };
        if self.find(entry.number).is_none() {
            self.insert(entry, id);
        }
    }

    /// Replay: begins a part of a snapshot, which has applied the log up to `applied`.
    pub(crate) fn begin_part(&mut self, applied: u64, messages: usize) {
        self.slab.next_chunk();
        let from = self.slab.slots() as usize / crate::slab::CHUNK;
        self.applied.resize(from, 0);
        self.applied.resize(from + messages.div_ceil(crate::slab::CHUNK), applied);
    }

    /// Replay: ends the snapshot; what comes from the log shares no chunk with it.
    pub(crate) fn end_parts(&mut self) {
        self.slab.next_chunk();
    }

    /// Begins to keep lists, timers and counts.
    pub(crate) fn settle(&mut self, now: i64) {
        self.applied = Vec::new();
        self.slab.reclaim();
        self.live = true;
        self.repeats.forget_until(now);
        self.exhausted.clear();
        self.dead.clear();
        self.moving.clear();
        let mut slots = self.slab.occupied();
        // Mostly sorted: slots are filled in the order of sending.
        slots.sort_by_key(|slot| self.slab.at(*slot).place);
        for slot in &slots {
            self.link_in_log(*slot);
        }
        slots.sort_by_key(|slot| self.slab.at(*slot).number);
        for slot in slots {
            let entry = self.slab.at_mut(slot);
            if entry.phase.is_queued() {
                entry.phase = match entry.receives {
                    0 if entry.visible_at <= now => Phase::Ready,
                    0 => Phase::Delayed,
                    // Whether it may be received again is decided when its time is looked at.
                    _ => Phase::Leased,
                };
            }
            self.enter(slot);
        }
    }

    /// Deletes all that is queued. Nothing has a number of `before` or above yet. What held it is left in
    /// [`State::retired`].
    pub(super) fn purge_live(&mut self, before: u64) {
        let given_up = self.exhausted.iter().chain(self.dead.values()).chain(self.moving.values());
        let mut kept: Vec<(Entry, Option<Box<str>>, Option<u128>)> = given_up
            .filter_map(|number| self.find(*number))
            .map(|slot| {
                let entry = *self.slab.at(slot);
                (entry, self.groups.name(entry.group).map(Into::into), self.own_id(entry.number))
            })
            .collect();
        kept.sort_by_key(|(entry, ..)| entry.number);
        debug_assert!(kept.iter().all(|(entry, ..)| entry.number < before));
        let mut fresh = Self::new(self.kind, self.identity);
        fresh.live = true;
        for (entry, group, id) in kept {
            let group = fresh.groups.intern(group.as_deref());
            let entry = Entry { group, in_group: Link::FREE, in_log: Link::FREE, list: UNLISTED, ..entry };
            fresh.insert(entry, id);
        }
        fresh.commit();
        fresh.clock = self.clock;
        fresh.generation = self.generation + 1;
        fresh.next_transfer = self.next_transfer;
        fresh.stamps = std::mem::take(&mut self.stamps);
        fresh.repeats = std::mem::take(&mut self.repeats);
        self.retired = None;
        fresh.retired = Some(Box::new(std::mem::replace(self, Self::new(self.kind, self.identity))));
        *self = fresh;
    }
}
