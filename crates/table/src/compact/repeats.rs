//! Repeats: which rows go, since another one has their id.
//!
//! ```text
//!   ids with ordinals --by some bits of the id--> portions, in memory or in scratch
//!   each portion alone: one ordinal per id stays --> a bit per row that goes
//! ```
//!
//! Portions are cut so that one fits in memory, whatever the number of rows; all rows with one id are in one portion.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use super::CompactError;
use super::scratch::Scratch;
use crate::spec::Keep;

/// Bytes of a portion that is settled at once, about.
const PORTION_BYTES: u64 = 4 << 20;
/// Portions at most: more would make what is written of each too small.
const PORTIONS_MAX: u64 = 4096;
/// Bytes of an id and an ordinal in scratch.
const ENTRY_BYTES: usize = 24;
/// Bits of an id that say its portion: neither those that tables hash by nor those that buckets are cut by.
const PORTION_SHIFT: u32 = 40;

type Entry = (u128, u64);

/// Returns how many portions so many rows are cut into: a power of two.
pub(crate) fn portions(rows: u64) -> usize {
    let wanted = rows.saturating_mul(ENTRY_BYTES as u64).div_ceil(PORTION_BYTES);
    wanted.clamp(1, PORTIONS_MAX).next_power_of_two() as usize
}

/// Ids of one thread's rows.
pub(crate) struct Scattered {
    portions: Vec<Portion>,
    held: usize,
    held_max: usize,
    file: Option<File>,
    written: u64,
}

#[derive(Default)]
struct Portion {
    held: Vec<Entry>,
    /// Where in the file others are: the first byte, and how many.
    pieces: Vec<(u64, usize)>,
}

impl Scattered {
    /// Holds `bytes` in memory at most.
    pub(crate) fn new(portions: usize, bytes: u64) -> Self {
        let held_max = usize::try_from(bytes).unwrap_or(usize::MAX) / size_of::<Entry>();
        let portions = (0..portions).map(|_| Portion::default()).collect();
        Self { portions, held: 0, held_max: held_max.max(1), file: None, written: 0 }
    }

    /// Adds rows that follow each other.
    pub(crate) fn push(&mut self, ids: &[u128], first: u64, scratch: &Scratch) -> Result<(), CompactError> {
        let mask = self.portions.len() - 1;
        for (id, ordinal) in ids.iter().zip(first..) {
            self.portions[(id >> PORTION_SHIFT) as usize & mask].held.push((*id, ordinal));
        }
        self.held += ids.len();
        if self.held > self.held_max {
            self.spill(scratch)?;
        }
        Ok(())
    }

    fn spill(&mut self, scratch: &Scratch) -> Result<(), CompactError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(scratch.file()?),
        };
        let mut bytes = Vec::new();
        for portion in &mut self.portions {
            bytes.clear();
            for (id, ordinal) in &portion.held {
                bytes.extend_from_slice(&id.to_le_bytes());
                bytes.extend_from_slice(&ordinal.to_le_bytes());
            }
            if portion.held.is_empty() {
                continue;
            }
            file.write_all(&bytes).map_err(|source| scratch.failed(source))?;
            portion.pieces.push((self.written, portion.held.len()));
            self.written += bytes.len() as u64;
            portion.held = Vec::new();
        }
        scratch.count(self.held as u64 * ENTRY_BYTES as u64);
        self.held = 0;
        Ok(())
    }

    /// Passes by all of one portion.
    fn each(&self, portion: usize, scratch: &Scratch, mut visit: impl FnMut(u128, u64)) -> Result<(), CompactError> {
        let Portion { held, pieces } = &self.portions[portion];
        for (id, ordinal) in held {
            visit(*id, *ordinal);
        }
        let Some(file) = &self.file else { return Ok(()) };
        for (at, count) in pieces {
            let mut bytes = vec![0; count * ENTRY_BYTES];
            file.read_exact_at(&mut bytes, *at).map_err(|source| scratch.failed(source))?;
            for entry in bytes.chunks_exact(ENTRY_BYTES) {
                let (mut id, mut ordinal) = ([0; 16], [0; 8]);
                id.copy_from_slice(&entry[..16]);
                ordinal.copy_from_slice(&entry[16..]);
                visit(u128::from_le_bytes(id), u64::from_le_bytes(ordinal));
            }
        }
        Ok(())
    }

    fn rows(&self, portion: usize) -> usize {
        let Portion { held, pieces } = &self.portions[portion];
        held.len() + pieces.iter().map(|(_, count)| count).sum::<usize>()
    }
}

/// The rows that go.
pub(crate) struct Removed {
    bits: Vec<AtomicU64>,
    count: AtomicU64,
}

impl Removed {
    pub(crate) fn none(rows: u64) -> Self {
        let words = usize::try_from(rows.div_ceil(64)).unwrap_or(usize::MAX);
        Self { bits: (0..words).map(|_| AtomicU64::new(0)).collect(), count: AtomicU64::new(0) }
    }

    fn insert(&self, ordinal: u64) {
        let word = &self.bits[(ordinal / 64) as usize];
        word.fetch_or(1 << (ordinal % 64), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn holds(&self, ordinal: u64) -> bool {
        self.bits[(ordinal / 64) as usize].load(Ordering::Relaxed) >> (ordinal % 64) & 1 == 1
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Settles one portion: of each id's rows the first or the last stays.
    pub(crate) fn settle(
        &self,
        portion: usize,
        all: &[Scattered],
        keep: Keep,
        scratch: &Scratch,
    ) -> Result<(), CompactError> {
        let rows = all.iter().map(|scattered| scattered.rows(portion)).sum();
        let mut kept: HashTable<Entry> = HashTable::with_capacity(rows);
        for scattered in all {
            scattered.each(portion, scratch, |id, ordinal| {
                match kept.entry(id as u64, |(held, _)| *held == id, |(held, _)| *held as u64) {
                    Slot::Vacant(slot) => {
                        slot.insert((id, ordinal));
                    }
                    Slot::Occupied(mut slot) => {
                        let stays = &mut slot.get_mut().1;
                        let is_better = match keep {
                            Keep::First => ordinal < *stays,
                            Keep::Last => ordinal > *stays,
                        };
                        self.insert(if is_better { std::mem::replace(stays, ordinal) } else { ordinal });
                    }
                }
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(ids: &[u128], keep: Keep, bytes: u64) -> (Vec<u64>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new("t".parse().unwrap(), Some(folder.path()), 1);
        let mut all = [Scattered::new(4, bytes), Scattered::new(4, bytes)];
        for (first, ids) in ids.chunks(3).enumerate() {
            all[first % 2].push(ids, first as u64 * 3, &scratch).unwrap();
        }
        let removed = Removed::none(ids.len() as u64);
        for portion in 0..4 {
            removed.settle(portion, &all, keep, &scratch).unwrap();
        }
        let gone: Vec<u64> = (0..ids.len() as u64).filter(|row| removed.holds(*row)).collect();
        assert_eq!(removed.count(), gone.len() as u64);
        (gone, scratch.written())
    }

    #[test]
    fn the_first_or_the_last_of_each_id_stays_in_memory_and_in_scratch() {
        let ids: Vec<u128> = [5, 7, 5, 9, 7, 7, 5, 1].map(|id: u128| id << PORTION_SHIFT | id).to_vec();
        for bytes in [1 << 20, 1] {
            let (gone, written) = settled(&ids, Keep::First, bytes);
            assert_eq!(gone, [2, 4, 5, 6]);
            assert_eq!(written > 0, bytes == 1);
            assert_eq!(settled(&ids, Keep::Last, bytes).0, [0, 1, 2, 4]);
        }
    }

    #[test]
    fn portions_grow_with_rows_and_are_bounded() {
        assert_eq!(portions(0), 1);
        assert_eq!(portions(5_000_000), 32);
        assert_eq!(portions(u64::MAX), PORTIONS_MAX as usize);
    }
}
