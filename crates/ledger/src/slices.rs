//! Slices of the space of ids: how two heaps of ids that are too large for memory are compared.
//!
//! ```text
//! ids of the source --+                        +-- missing
//!                     +--> slice by slice -----+
//! ids of the files ---+    (each fits)         +-- extra, doubled
//! ```
//!
//! Ids are hashes, so that the slices of a heap are of one size. Both heaps are read once per slice; whoever compares stops as
//! soon as enough ids are named.

use std::collections::HashMap;

/// Part `number` of `of` parts of the space of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    number: u32,
    of: u32,
}

/// Returns slices of about `ids_max` ids each, for heaps of `ids` ids.
pub fn slices_of(ids: u64, ids_max: u64) -> impl Iterator<Item = Slice> {
    let of = u32::try_from(ids.div_ceil(ids_max.max(1)).max(1)).unwrap_or(u32::MAX);
    (0..of).map(move |number| Slice { number, of })
}

impl Slice {
    /// Tells whether an id is in the slice.
    pub fn holds(self, id: u128) -> bool {
        // The multiply-shift range of the middle bits: the upper ones have chosen the bucket, and are alike in a place.
        let middle = (id >> 32) as u64;
        ((u128::from(middle) * u128::from(self.of)) >> 64) as u32 == self.number
    }
}

/// More ids were given than a slice may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceFull;

/// What differs between two heaps of ids.
#[derive(Debug, Default)]
pub struct Difference {
    /// Per id: whether it should be there, and how often it is.
    ids: HashMap<u128, (bool, u32)>,
    ids_max: usize,
}

impl Difference {
    /// Holds at most so many ids.
    pub fn new(ids_max: usize) -> Self {
        Self { ids: HashMap::new(), ids_max }
    }

    /// Notes an id that should be there. Again and again is the same as once.
    ///
    /// # Errors
    /// If there is no room.
    pub fn expect(&mut self, id: u128) -> Result<(), SliceFull> {
        self.entry(id)?.0 = true;
        Ok(())
    }

    /// Notes an id that is there.
    ///
    /// # Errors
    /// If there is no room.
    pub fn find(&mut self, id: u128) -> Result<(), SliceFull> {
        self.entry(id)?.1 += 1;
        Ok(())
    }

    /// Tells whether an id should be there.
    pub fn expects(&self, id: u128) -> bool {
        self.ids.get(&id).is_some_and(|(expected, _)| *expected)
    }

    fn entry(&mut self, id: u128) -> Result<&mut (bool, u32), SliceFull> {
        if self.ids.len() >= self.ids_max && !self.ids.contains_key(&id) {
            return Err(SliceFull);
        }
        Ok(self.ids.entry(id).or_default())
    }

    /// Returns the ids that should be there, and are not.
    pub fn missing(&self) -> impl Iterator<Item = u128> {
        self.ids.iter().filter(|(_, (expected, found))| *expected && *found == 0).map(|(id, _)| *id)
    }

    /// Returns the ids that are there, and should not be.
    pub fn extra(&self) -> impl Iterator<Item = u128> {
        self.ids.iter().filter(|(_, (expected, found))| !*expected && *found > 0).map(|(id, _)| *id)
    }

    /// Returns the ids that are there more than once.
    pub fn doubled(&self) -> impl Iterator<Item = u128> {
        self.ids.iter().filter(|(_, (_, found))| *found > 1).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn each_id_is_in_one_slice(ids in proptest::collection::vec(proptest::num::u128::ANY, 0..50), count in 1u64..10_000) {
            let slices: Vec<Slice> = slices_of(count, 100).collect();
            for id in ids {
                proptest::prop_assert_eq!(slices.iter().filter(|slice| slice.holds(id)).count(), 1);
            }
        }
    }

    #[test]
    fn what_is_missing_extra_or_doubled_is_told_and_room_is_bounded() {
        let mut difference = Difference::new(4);
        for id in [1, 2, 2, 3] {
            difference.expect(id).unwrap();
        }
        for id in [2, 3, 3, 9] {
            difference.find(id).unwrap();
        }
        assert_eq!(difference.missing().collect::<Vec<_>>(), [1]);
        assert_eq!(difference.extra().collect::<Vec<_>>(), [9]);
        assert_eq!(difference.doubled().collect::<Vec<_>>(), [3]);
        assert_eq!(difference.find(77), Err(SliceFull));
    }
}
