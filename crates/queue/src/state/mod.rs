//! The state of a queue: what its log says, in memory.
//!
//! ```text
//! live:   decide --> apply --> append --+--> commit (durable)
//!                                       +--> roll back (refused)
//! replay: snapshot --> apply ... apply --> settle
//! ```
//!
//! Invariant: what commands change is the same whoever applies them; lists, timers and counts follow from the entries, and
//! are kept only when the state is live. Only time makes a message ready ([`State::due`]), and that is never stored.

mod apply;
mod dedup;
mod due;
mod journal;
mod load;
mod timers;

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

pub(crate) use self::apply::At;
use self::dedup::Repeats;
pub(crate) use self::dedup::key;
use self::journal::Undo;
use self::timers::Timers;
use crate::entry::{Entry, NONE, Phase};
use crate::groups::Groups;
use crate::id::MessageId;
use crate::slab::{CHUNK, List, Slab, in_group, in_log};

/// Producers whose last stamp a queue remembers.
pub(crate) const PRODUCERS_MAX: usize = 100_000;

/// Not in a list of its group.
const UNLISTED: u8 = 0;
const FRESH: u8 = 1;
const AGAIN: u8 = 2;

/// Which order a queue keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Standard,
    Fifo,
}

/// Messages by phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub ready: u64,
    pub in_flight: u64,
    pub delayed: u64,
}

/// A producer's last stamp, and where it stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastStamp {
    pub number: u64,
    pub place: u64,
}

#[derive(Debug)]
pub(crate) struct State {
    kind: Kind,
    identity: u64,
    /// Whether lists, timers and counts are kept.
    live: bool,
    /// The latest time of a command.
    pub clock: i64,
    pub slab: Slab,
    pub groups: Groups,
    /// Messages that lie where they were sent, by place; and those that were copied forward.
    sent: List,
    carried: List,
    leases: Timers,
    delays: Timers,
    /// Ids of messages that came with one, by number, and back.
    ids: HashMap<u64, u128>,
    numbers: HashMap<u128, u64>,
    pub exhausted: BTreeSet<u64>,
    /// Transfers: their numbers, and the messages'.
    pub dead: BTreeMap<u64, u64>,
    pub moving: BTreeMap<u64, u64>,
    pub stamps: HashMap<Box<str>, LastStamp>,
    pub repeats: Repeats,
    pub next_transfer: u64,
    pub counts: Counts,
    /// Bytes of all messages in the log.
    pub bytes: u64,
    journal: Vec<Undo>,
    gone: Vec<u32>,
    /// How many purges there were: slots mean something else after each.
    pub generation: u64,
    /// What a purge has left: whoever owns the state drops it where that may take its time.
    pub retired: Option<Box<State>>,
    /// Replay: up to where the snapshot of each chunk has applied the log.
    applied: Vec<u64>,
}

fn by_place(entry: &Entry) -> u64 {
    entry.place
}

fn by_number(entry: &Entry) -> u64 {
    entry.number
}

impl State {
    /// An empty state, to be loaded.
    pub(crate) fn new(kind: Kind, identity: u64) -> Self {
        Self {
            kind,
            identity,
            live: false,
            clock: 0,
            slab: Slab::new(),
            groups: Groups::new(),
            sent: List::EMPTY,
            carried: List::EMPTY,
            leases: Timers::default(),
            delays: Timers::default(),
            ids: HashMap::new(),
            numbers: HashMap::new(),
            exhausted: BTreeSet::new(),
            dead: BTreeMap::new(),
            moving: BTreeMap::new(),
            stamps: HashMap::new(),
            repeats: Repeats::default(),
            next_transfer: 1,
            counts: Counts::default(),
            bytes: 0,
            journal: Vec::new(),
            gone: Vec::new(),
            generation: 0,
            retired: None,
            applied: Vec::new(),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }

    /// Finds a message that is not gone.
    pub(crate) fn find(&self, number: u64) -> Option<u32> {
        self.slab.find(number).filter(|slot| self.slab.at(*slot).phase != Phase::Gone)
    }

    /// Finds a message by its id.
    pub(crate) fn find_id(&self, id: MessageId) -> Option<u64> {
        if let Some(number) = self.numbers.get(&id.0) {
            return Some(*number);
        }
        let number = id.number_in(self.identity)?;
        (!self.ids.contains_key(&number)).then_some(number)
    }

    /// Returns the id of a message.
    pub(crate) fn id(&self, number: u64) -> MessageId {
        self.ids.get(&number).map_or_else(|| MessageId::new(self.identity, number), |id| MessageId(*id))
    }

    /// Returns the id that a message came with.
    pub(crate) fn own_id(&self, number: u64) -> Option<u128> {
        self.ids.get(&number).copied()
    }

    /// Returns the place before which the log has nothing that is alive; none if nothing is.
    pub(crate) fn first_place(&self) -> Option<u64> {
        let place = |list: List| (!list.is_empty()).then(|| self.slab.at(list.head).place);
        match (place(self.sent), place(self.carried)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Returns when the oldest message was sent. Exact among those that lie where they were sent.
    pub(crate) fn oldest_sent_at(&self) -> Option<i64> {
        let sent_at = |list: List| (!list.is_empty()).then(|| self.slab.at(list.head).sent_at);
        sent_at(self.sent).into_iter().chain(sent_at(self.carried)).min()
    }

    /// Returns up to `max` messages that lie between two places, in the order of their places: number and place.
    pub(crate) fn placed(&self, from: u64, to: u64, max: usize) -> Vec<(u64, u64)> {
        let (mut sent, mut carried) = (self.sent.head, self.carried.head);
        let place = |slot: u32| if slot == NONE { u64::MAX } else { self.slab.at(slot).place };
        let mut found = Vec::new();
        while found.len() < max {
            let slot = if place(sent) <= place(carried) { &mut sent } else { &mut carried };
            if *slot == NONE || place(*slot) >= to {
                break;
            }
            let entry = self.slab.at(*slot);
            *slot = entry.in_log.next;
            if entry.place >= from {
                found.push((entry.number, entry.place));
            }
        }
        found
    }

    fn chunk_applied(&self, slot: u32) -> u64 {
        self.applied.get(slot as usize / CHUNK).copied().unwrap_or(0)
    }

    /// Adds a message.
    pub(super) fn insert(&mut self, entry: Entry, id: Option<u128>) {
        let number = entry.number;
        if let Some(id) = id {
            self.ids.insert(number, id);
            self.numbers.insert(id, number);
        }
        self.bytes += u64::from(entry.bytes);
        self.groups.at_mut(entry.group).messages += 1;
        let slot = self.slab.insert(entry);
        if self.live {
            self.journal.push(Undo::Inserted(slot));
            self.link_in_log(slot);
            self.enter(slot);
        }
    }

    fn link_in_log(&mut self, slot: u32) {
        let entry = *self.slab.at(slot);
        let list = if entry.place == entry.number { &mut self.sent } else { &mut self.carried };
        list.insert_sorted(&mut self.slab, in_log, slot, by_place);
    }

    fn unlink_in_log(&mut self, slot: u32) {
        let entry = *self.slab.at(slot);
        let list = if entry.place == entry.number { &mut self.sent } else { &mut self.carried };
        list.unlink(&mut self.slab, in_log, slot);
    }

    /// Takes a message away: at once in replay, else once that is durable.
    pub(crate) fn remove(&mut self, slot: u32) {
        if self.live {
            self.gone.push(slot);
            self.change(slot, |entry| entry.phase = Phase::Gone);
        } else {
            self.drop_entry(slot);
        }
    }

    fn drop_entry(&mut self, slot: u32) {
        let entry = self.slab.remove(slot);
        self.bytes -= u64::from(entry.bytes);
        self.groups.at_mut(entry.group).messages -= 1;
        self.groups.forget_if_empty(entry.group);
        if let Some(id) = self.ids.remove(&entry.number)
            && self.numbers.get(&id) == Some(&entry.number)
        {
            self.numbers.remove(&id);
        }
    }

    /// Changes a message's phase, times and counts, and moves it to the lists where it belongs then.
    pub(super) fn change(&mut self, slot: u32, how: impl FnOnce(&mut Entry)) {
        if !self.live {
            how(self.slab.at_mut(slot));
            return;
        }
        let before = *self.slab.at(slot);
        self.journal.push(Undo::Changed(slot, before));
        self.change_silently(slot, how);
    }

    /// As [`Self::change`], without a note of how to take it back: for what time does by itself.
    fn change_silently(&mut self, slot: u32, how: impl FnOnce(&mut Entry)) {
        let before = *self.slab.at(slot);
        how(self.slab.at_mut(slot));
        self.leave(slot, &before);
        self.enter(slot);
    }

    fn leave(&mut self, slot: u32, before: &Entry) {
        let group = self.groups.at_mut(before.group);
        match before.phase {
            Phase::Ready => self.counts.ready -= 1,
            Phase::Delayed => self.counts.delayed -= 1,
            Phase::Leased => {
                self.counts.in_flight -= 1;
                group.in_flight -= 1;
            }
            Phase::Exhausted => drop(self.exhausted.remove(&before.number)),
            Phase::Dead => drop(self.dead.remove(&(before.visible_at as u64))),
            Phase::Moving => drop(self.moving.remove(&(before.visible_at as u64))),
            Phase::Gone => {}
        }
        let stays = self.kind == Kind::Fifo && self.slab.at(slot).phase.is_queued();
        if before.list != UNLISTED && !stays {
            let list = if before.list == FRESH { &mut group.fresh } else { &mut group.again };
            list.unlink(&mut self.slab, in_group, slot);
            self.slab.at_mut(slot).list = UNLISTED;
        }
    }

    fn enter(&mut self, slot: u32) {
        let entry = *self.slab.at(slot);
        let group = self.groups.at_mut(entry.group);
        match entry.phase {
            Phase::Ready => self.counts.ready += 1,
            Phase::Delayed => {
                self.counts.delayed += 1;
                self.delays.add(entry.visible_at, slot);
            }
            Phase::Leased => {
                self.counts.in_flight += 1;
                group.in_flight += 1;
                self.leases.add(entry.visible_at, slot);
            }
            Phase::Exhausted => drop(self.exhausted.insert(entry.number)),
            Phase::Dead => drop(self.dead.insert(entry.visible_at as u64, entry.number)),
            Phase::Moving => drop(self.moving.insert(entry.visible_at as u64, entry.number)),
            Phase::Gone => {}
        }
        match self.kind {
            Kind::Fifo if entry.phase.is_queued() && entry.list == UNLISTED => {
                group.fresh.insert_sorted(&mut self.slab, in_group, slot, by_number);
                self.slab.at_mut(slot).list = FRESH;
            }
            Kind::Standard if entry.phase == Phase::Ready && entry.receives == 0 => {
                group.fresh.push(&mut self.slab, in_group, slot);
                self.slab.at_mut(slot).list = FRESH;
            }
            Kind::Standard if entry.phase == Phase::Ready => {
                group.again.push(&mut self.slab, in_group, slot);
                self.slab.at_mut(slot).list = AGAIN;
            }
            _ => {}
        }
        self.place_group(entry.group);
    }

    /// Puts a group where it belongs in the order of who is served.
    fn place_group(&mut self, id: u32) {
        let group = self.groups.at(id);
        let open = match self.kind {
            Kind::Standard => !group.fresh.is_empty() || !group.again.is_empty(),
            Kind::Fifo => {
                let head = group.fresh.head;
                group.in_flight == 0 && head != NONE && self.slab.at(head).phase == Phase::Ready
            }
        };
        self.groups.place(id, open);
    }

    /// Returns what a receive would take next from the group whose turn it is.
    pub(crate) fn next_ready(&self) -> Option<u32> {
        let group = self.groups.at(self.groups.next()?);
        Some(match self.kind {
            // One in two is a message that comes again, as long as there are both.
            Kind::Standard if group.fresh.is_empty() || (!group.again.is_empty() && self.groups.is_odd_turn()) => {
                group.again.head
            }
            _ => group.fresh.head,
        })
    }

    /// Hides a message that is received: what [`crate::command::Command::Lease`] does to each.
    pub(crate) fn receive(&mut self, slot: u32, now: i64, until: i64) {
        self.change(slot, |entry| entry.receive(now, until));
    }

    /// Notes that a group was served.
    pub(crate) fn served(&mut self, group: u32) {
        self.groups.served(group);
        self.place_group(group);
    }
}
