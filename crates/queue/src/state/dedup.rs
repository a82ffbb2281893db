//! How a FIFO queue recognises a repeat: keys of the last five minutes.

use std::collections::VecDeque;

use hashbrown::HashMap;
use sha2::{Digest, Sha256};
use weir_types::Timestamp;

use crate::limits::DEDUPLICATION;
use crate::message::Message;
use crate::record::Key;
use crate::settings::{DeduplicationScope, Fifo};

/// Keys, each with the first message that had it. Invariant: both parts hold the same keys, and `order` is by time.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    numbers: HashMap<Key, u64>,
    order: VecDeque<(i64, Key)>,
}

impl Repeats {
    /// Returns the first message of a key.
    pub(crate) fn find(&self, key: &Key) -> Option<u64> {
        self.numbers.get(key).copied()
    }

    /// Remembers a key that was sent at `time`. Tells whether it is new.
    pub(crate) fn add(&mut self, key: Key, number: u64, time: i64) -> bool {
        if self.numbers.insert(key, number).is_some() {
            return false;
        }
        self.order.push_back((Timestamp(time).after(DEDUPLICATION).0, key));
        true
    }

    /// Takes the last addition back.
    pub(crate) fn take_back(&mut self) {
        if let Some((_, key)) = self.order.pop_back() {
            self.numbers.remove(&key);
        }
    }

    /// Forgets what is older than five minutes.
    pub(crate) fn forget_until(&mut self, now: i64) {
        while let Some((_, key)) = self.order.pop_front_if(|(until, _)| *until <= now) {
            self.numbers.remove(&key);
        }
    }

    /// Returns the place from which on the log has all keys.
    pub(crate) fn first_place(&self) -> Option<u64> {
        self.order.front().and_then(|(_, key)| self.find(key))
    }

    /// Returns all keys, oldest first: until when, key, number.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = (i64, &Key, u64)> {
        self.order.iter().map(|(until, key)| (*until, key, self.numbers.get(key).copied().unwrap_or_default()))
    }

    /// Puts back what [`Self::all`] returned.
    pub(crate) fn load(&mut self, until: i64, key: Key, number: u64) {
        if self.numbers.insert(key, number).is_none() {
            self.order.push_back((until, key));
        }
    }
}

/// Returns a message's deduplication id, made from the body if it has none, and its key.
pub(crate) fn key(fifo: &Fifo, message: &Message) -> Option<(String, Key)> {
    let id = match &message.deduplication {
        Some(id) => id.clone(),
        None if fifo.content_deduplication => format!("{:x}", Sha256::digest(&message.body)),
        None => return None,
    };
    let mut hash = Sha256::new();
    if fifo.deduplication_scope == DeduplicationScope::MessageGroup {
        let group = message.group.as_deref().unwrap_or_default();
        hash.update((group.len() as u64).to_le_bytes());
        hash.update(group);
    }
    hash.update(&id);
    let mut key = Key::default();
    key.copy_from_slice(&hash.finalize()[..16]);
    Some((id, key))
}
