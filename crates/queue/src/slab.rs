//! The entries of all messages, found by number.
//!
//! Entries stay in their slot as long as they live, so that lists link slots. Slots are taken from chunks, and the lookup is
//! cut into parts, so that nothing that grows is ever copied whole.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::entry::{Entry, Link, NONE, Phase};

/// Slots of one chunk.
pub(crate) const CHUNK: usize = 4096;
/// Parts of the lookup: each grows alone, so that growing stalls nobody for long.
const PARTS: usize = 256;

const VACANT: Entry = Entry {
    number: u64::MAX,
    place: 0,
    sent_at: 0,
    visible_at: 0,
    first_received: 0,
    last_received_s: 0,
    delay_s: 0,
    receives: 0,
    group: NONE,
    bytes: 0,
    in_group: Link::FREE,
    in_log: Link::FREE,
    phase: Phase::Ready,
    list: 0,
};

#[derive(Debug)]
pub(crate) struct Slab {
    chunks: Vec<Box<[Entry]>>,
    /// The first vacant slot; the others follow by `in_group.next`.
    vacant: u32,
    /// Slots that were ever used.
    used: u32,
    lookup: Vec<HashTable<u32>>,
    len: usize,
}

fn hash(number: u64) -> u64 {
    xxh3_64(&number.to_le_bytes())
}

fn part(hash: u64) -> usize {
    // The table itself uses the highest bits and the lowest.
    (hash >> 40) as usize % PARTS
}

impl Slab {
    pub(crate) fn new() -> Self {
        let lookup = (0..PARTS).map(|_| HashTable::new()).collect();
        Self { chunks: Vec::new(), vacant: NONE, used: 0, lookup, len: 0 }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of slots that were ever used: what a walk over all has to visit.
    pub(crate) fn slots(&self) -> u32 {
        self.used
    }

    pub(crate) fn find(&self, number: u64) -> Option<u32> {
        let hash = hash(number);
        self.lookup[part(hash)].find(hash, |slot| self.at(*slot).number == number).copied()
    }

    pub(crate) fn at(&self, slot: u32) -> &Entry {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// Returns the entry of a slot, if a message is there.
    pub(crate) fn get(&self, slot: u32) -> Option<&Entry> {
        Some(self.at(slot)).filter(|entry| entry.number != u64::MAX)
    }

    /// Puts an entry into a vacant slot. Its number must not be here.
    pub(crate) fn insert(&mut self, entry: Entry) -> u32 {
        debug_assert!(self.find(entry.number).is_none(), "{} is here already", entry.number);
        let slot = if self.vacant == NONE {
            if self.used as usize == self.chunks.len() * CHUNK {
                self.chunks.push(vec![VACANT; CHUNK].into_boxed_slice());
            }
            self.used += 1;
            self.used - 1
        } else {
            let slot = self.vacant;
            self.vacant = self.at(slot).in_group.next;
            slot
        };
        *self.at_mut(slot) = entry;
        let hash_of = hash(entry.number);
        let Self { lookup, chunks, .. } = self;
        lookup[part(hash_of)]
            .insert_unique(hash_of, slot, |slot| hash(chunks[*slot as usize / CHUNK][*slot as usize % CHUNK].number));
        self.len += 1;
        slot
    }

    /// Takes an entry out; its slot is vacant then.
    pub(crate) fn remove(&mut self, slot: u32) -> Entry {
        let entry = *self.at(slot);
        let hash = hash(entry.number);
        if let Ok(found) = self.lookup[part(hash)].find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        let vacant = self.vacant;
        *self.at_mut(slot) = Entry { in_group: Link { prev: NONE, next: vacant }, ..VACANT };
        self.vacant = slot;
        self.len -= 1;
        entry
    }

    /// Goes on to a fresh chunk with the next insert, so that what comes does not share one with what is here. The slots that
    /// are passed over stay unused until [`Self::reclaim`].
    pub(crate) fn next_chunk(&mut self) {
        self.vacant = NONE;
        self.used = (self.chunks.len() * CHUNK) as u32;
    }

    /// Finds all vacant slots again.
    pub(crate) fn reclaim(&mut self) {
        self.vacant = NONE;
        for slot in (0..self.used).rev() {
            if self.at(slot).number == u64::MAX {
                self.at_mut(slot).in_group.next = self.vacant;
                self.vacant = slot;
            }
        }
    }

    /// Returns the slots of all messages.
    pub(crate) fn occupied(&self) -> Vec<u32> {
        let mut slots = Vec::with_capacity(self.len);
        slots.extend((0..self.used).filter(|slot| self.at(*slot).number != u64::MAX));
        slots
    }
}

/// A doubly linked list through one of the links of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct List {
    pub head: u32,
    pub tail: u32,
}

/// Which link a list uses.
pub(crate) type Of = fn(&mut Entry) -> &mut Link;

pub(crate) fn in_group(entry: &mut Entry) -> &mut Link {
    &mut entry.in_group
}

pub(crate) fn in_log(entry: &mut Entry) -> &mut Link {
    &mut entry.in_log
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NONE, tail: NONE };

    pub(crate) fn is_empty(self) -> bool {
        self.head == NONE
    }

    pub(crate) fn push(&mut self, slab: &mut Slab, of: Of, slot: u32) {
        *of(slab.at_mut(slot)) = Link { prev: self.tail, next: NONE };
        match self.tail {
            NONE => self.head = slot,
            tail => of(slab.at_mut(tail)).next = slot,
        }
        self.tail = slot;
    }

    pub(crate) fn unlink(&mut self, slab: &mut Slab, of: Of, slot: u32) {
        let link = std::mem::replace(of(slab.at_mut(slot)), Link::FREE);
        match link.prev {
            NONE => self.head = link.next,
            prev => of(slab.at_mut(prev)).next = link.next,
        }
        match link.next {
            NONE => self.tail = link.prev,
            next => of(slab.at_mut(next)).prev = link.prev,
        }
    }

    /// Links a slot so that `key` rises along the list. Cheap at either end.
    pub(crate) fn insert_sorted(&mut self, slab: &mut Slab, of: Of, slot: u32, key: fn(&Entry) -> u64) {
        let own = key(slab.at(slot));
        if self.tail == NONE || key(slab.at(self.tail)) < own {
            return self.push(slab, of, slot);
        }
        let mut next = self.head;
        while key(slab.at(next)) < own {
            next = of(slab.at_mut(next)).next;
        }
        let prev = std::mem::replace(&mut of(slab.at_mut(next)).prev, slot);
        match prev {
            NONE => self.head = slot,
            prev => of(slab.at_mut(prev)).next = slot,
        }
        *of(slab.at_mut(slot)) = Link { prev, next };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> Entry {
        Entry { number, ..VACANT }
    }

    #[test]
    fn entries_are_found_until_they_are_removed() {
        let mut slab = Slab::new();
        for number in 0..20_000 {
            slab.insert(entry(number * 3));
        }
        for number in (0..20_000).step_by(2) {
            let slot = slab.find(number * 3).unwrap();
            assert_eq!(slab.remove(slot).number, number * 3);
        }
        for number in 0..20_000 {
            assert_eq!(slab.find(number * 3).is_some(), number % 2 == 1);
        }
        let slots = slab.slots();
        for number in 0..10_000 {
            slab.insert(entry(number * 3 + 1));
        }
        assert_eq!((slab.slots(), slab.len()), (slots, 20_000), "vacant slots are used first");
    }

    #[test]
    fn passed_slots_are_used_after_they_are_reclaimed() {
        let mut slab = Slab::new();
        slab.insert(entry(1));
        slab.next_chunk();
        assert_eq!(slab.insert(entry(2)), CHUNK as u32);
        slab.reclaim();
        assert_eq!(slab.insert(entry(3)), 1);
        assert_eq!(slab.occupied(), [0, 1, CHUNK as u32]);
    }

    #[test]
    fn a_list_keeps_its_order() {
        let (mut slab, mut list) = (Slab::new(), List::EMPTY);
        let slots: Vec<u32> = (0..6).map(|number| slab.insert(entry(number))).collect();
        for index in [1, 3, 5, 0, 4, 2] {
            list.insert_sorted(&mut slab, in_group, slots[index], |entry| entry.number);
        }
        list.unlink(&mut slab, in_group, slots[0]);
        list.unlink(&mut slab, in_group, slots[3]);
        list.unlink(&mut slab, in_group, slots[5]);
        let mut found = Vec::new();
        let mut slot = list.head;
        while slot != NONE {
            found.push(slab.at(slot).number);
            slot = slab.at(slot).in_group.next;
        }
        assert_eq!(found, [1, 2, 4]);
    }
}
