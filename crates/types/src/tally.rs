//! Tallies: how many things there are, and a sum of their ids that doesn't depend on their order.
//!
//! Two tallies that are equal stand, but for odds of 2^-128, for the same things: the ids are hashes, so sums of
//! different sets differ like random numbers. Tallies of parts add up to the tally of the whole.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A count of things, and the wrapping sum of their 128-bit ids. Things without ids have the sum 0.
///
/// As text and in JSON the sum is 32 hexadecimal digits: JSON's numbers end at 53 bits in many readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The sum of their ids, modulo 2^128.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub sum: u128,
}

impl Tally {
    /// Counts one thing.
    pub fn add(&mut self, id: u128) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(id);
    }

    /// Adds things that are not among these.
    pub fn merge(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Takes away things that are among these. A count that would be negative becomes 0; compare first where that
    /// matters.
    pub fn subtract(&mut self, other: Self) {
        self.count = self.count.saturating_sub(other.count);
        self.sum = self.sum.wrapping_sub(other.sum);
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Extend<u128> for Tally {
    fn extend<T: IntoIterator<Item = u128>>(&mut self, ids: T) {
        ids.into_iter().for_each(|id| self.add(id));
    }
}

impl FromIterator<u128> for Tally {
    fn from_iter<T: IntoIterator<Item = u128>>(ids: T) -> Self {
        let mut tally = Self::default();
        tally.extend(ids);
        tally
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |mut sum, tally| {
            sum.merge(tally);
            sum
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:032x})", self.count, self.sum)
    }
}

fn to_hex<S: Serializer>(sum: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{sum:032x}"))
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    u128::from_str_radix(&text, 16)
        .map_err(|_| serde::de::Error::custom(format_args!("`{text}` is no sum of ids: 32 hexadecimal digits are")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_in_any_order_add_up_to_the_whole_and_come_off_it_again(
            mut ids in prop::collection::vec(any::<u128>(), 0..50),
            at in any::<prop::sample::Index>(),
        ) {
            let whole: Tally = ids.iter().copied().collect();
            ids.reverse();
            let (left, right) = ids.split_at(at.index(ids.len() + 1));
            let (left, right): (Tally, Tally) = (left.iter().copied().collect(), right.iter().copied().collect());
            prop_assert_eq!([left, right].into_iter().sum::<Tally>(), whole);
            let mut rest = whole;
            rest.subtract(left);
            prop_assert_eq!(rest, right);
        }
    }

    #[test]
    fn sums_differ_where_a_thing_was_exchanged_or_doubled() {
        let tally = |ids: &[u128]| ids.iter().copied().collect::<Tally>();
        assert_ne!(tally(&[7, 9]), tally(&[7, 10]));
        assert_ne!(tally(&[7, 9]), tally(&[7, 7]));
        assert_eq!(tally(&[u128::MAX, 9]), tally(&[9, u128::MAX]));
        assert_eq!(tally(&[u128::MAX, 9]).to_string(), format!("2 ({:032x})", 8));
    }
}
