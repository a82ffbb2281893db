//! Which partitions of a rollup are stale: those that were not made of what there is now.
//!
//! ```text
//!   rollup            epoch, hash of the SQL, the source and the lookups' contents      one for all partitions
//!   rollup/PARTITION  epoch, `changed` of the source's partitions behind it             one for each
//! ```
//!
//! Both are positions in the rollup's own Delta log, in one transaction with the partition's rows. Whatever changes rows of
//! the source has a commit number that is higher than all before, so that the highest `changed` says it all. Another SQL or
//! lookup begins another epoch, in which every partition is stale, one by one. Invariants: positions only grow. They are taken
//! before the rows are, so that rows may be newer than their position says, which costs one more computation, and are never
//! older.

use std::collections::BTreeMap;
use std::fmt::Display;

use arrow::datatypes::Schema;
use weir_config::{PartitionBy, RollupScope};
use weir_function::rollup::{DAY_US, HOUR_US};
use weir_table::{Partition, Place, SourceId};
use weir_types::TableName;
use weir_types::civil::{civil_from_days, days_from_civil};
use xxhash_rust::xxh3::Xxh3;

/// What marks are made like; another number computes every rollup again.
const SCHEME: u32 = 1;

/// A partition: its day and hour.
pub(super) type Key = (Option<i32>, Option<u8>);

/// How the partitions of a source map to those of a rollup.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub scope: RollupScope,
    /// How the rollup is partitioned.
    pub by: PartitionBy,
}

impl Shape {
    /// Returns the partition of the rollup that a partition of the source feeds.
    pub fn target(&self, (day, hour): Key) -> Key {
        let (RollupScope::Partition(derivation), Some(day)) = (&self.scope, day) else { return (None, None) };
        let start = i64::from(day) * DAY_US + hour.map_or(0, i64::from) * HOUR_US;
        let at = derivation.apply(start);
        if !is_usable(at) {
            // As the table has it: a time that is no partition's is in that of null.
            return (None, None);
        }
        let day = i32::try_from(at.div_euclid(DAY_US)).ok();
        let hour = u8::try_from(at.rem_euclid(DAY_US) / HOUR_US).ok();
        (day, hour.filter(|_| matches!(self.by, PartitionBy::Hour(_))))
    }

    /// Whether rows at a place of the source feed a partition of the rollup.
    pub fn feeds(&self, place: Place, key: Key) -> bool {
        self.target((place.day, place.hour)) == key
    }
}

/// Names a partition, such as `2013-01-01`, `2013-01-01T05` or `null`.
pub(super) fn name((day, hour): Key) -> String {
    let Some(day) = day else { return "null".to_owned() };
    let (year, month, day) = civil_from_days(day.into());
    match hour {
        Some(hour) => format!("{year:04}-{month:02}-{day:02}T{hour:02}"),
        None => format!("{year:04}-{month:02}-{day:02}"),
    }
}

/// The years whose times have partitions of their own: see [`weir_table::Spec::timeless`].
fn is_usable(micros: i64) -> bool {
    let day = micros.div_euclid(DAY_US);
    (days_from_civil(1900, 1, 1)..days_from_civil(2100, 1, 1)).contains(&day)
}

/// Bits of the number of a commit, and of the hash of what all partitions depend on; the epoch is above them. Delta's
/// versions have 63.
const LOW_BITS: u32 = 36;
const LOW_MAX: u64 = (1 << LOW_BITS) - 1;

/// The position that keeps the epoch.
const BASIS: &str = "rollup";

/// Names the position of a partition.
fn position(key: Key) -> SourceId {
    SourceId::new(format!("{BASIS}/{}", name(key)))
}

fn join(epoch: u64, low: u64) -> u64 {
    (epoch << LOW_BITS) | low
}

fn split(position: u64) -> (u64, u64) {
    (position >> LOW_BITS, position & LOW_MAX)
}

/// What all partitions of a rollup depend on, as a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Basis(u64);

impl Basis {
    /// The SQL comes with its columns, which are others where it is `select *` and the source has grown. `identity` tells
    /// the source from another table of its name; `lookups` are digests of their contents.
    pub fn new<'a>(
        (sql, columns): (&str, &Schema),
        (source, identity): (&TableName, &str),
        lookups: impl Iterator<Item = (&'a str, impl Display)>,
    ) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&SCHEME.to_le_bytes());
        // With their lengths, so that no two lists of texts are one.
        let mut text = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        [sql, source.as_str(), identity].into_iter().for_each(&mut text);
        for field in columns.fields() {
            text(field.name());
            text(&field.data_type().to_string());
        }
        for (name, digest) in lookups {
            text(name);
            text(&digest.to_string());
        }
        Self(hash.digest() & LOW_MAX)
    }
}

/// What the partitions of a rollup should be made of.
pub(super) struct Wanted {
    epoch: u64,
    basis: Basis,
    changed: BTreeMap<Key, u64>,
}

impl Wanted {
    /// Looks at the source, at the rollup's own partitions, and at its positions.
    pub fn look(
        shape: &Shape,
        basis: Basis,
        (source, own): (&[Partition], &[Partition]),
        positions: &BTreeMap<SourceId, u64>,
    ) -> Self {
        let mut changed: BTreeMap<Key, u64> = BTreeMap::new();
        for partition in source {
            let newest = changed.entry(shape.target((partition.day, partition.hour))).or_default();
            *newest = (*newest).max(partition.changed.min(LOW_MAX));
        }
        // One whose source is gone becomes empty.
        for partition in own.iter().filter(|partition| partition.files > 0) {
            changed.entry((partition.day, partition.hour)).or_default();
        }
        if shape.scope == RollupScope::Whole {
            // A query over no rows may have some.
            changed.entry((None, None)).or_default();
        }
        let mut epoch = match positions.get(&SourceId::new(BASIS)).copied().map(split) {
            None => 1,
            Some((epoch, hash)) if hash == basis.0 => epoch,
            Some((epoch, _)) => epoch + 1,
        };
        // A source that counts less than it did was set back by somebody: all is computed again.
        let went_back = changed.iter().any(|(key, changed)| {
            let stored = positions.get(&position(*key)).copied().map(split);
            stored.is_some_and(|(of, stored)| of == epoch && stored > *changed)
        });
        epoch += u64::from(went_back);
        Self { epoch, basis, changed }
    }

    /// Returns the partitions that were made of something else, and what they should be made of, the newest first.
    pub fn stale(&self, positions: &BTreeMap<SourceId, u64>) -> Vec<(Key, u64)> {
        let wanted = self.changed.iter().rev().map(|(key, changed)| (*key, join(self.epoch, *changed)));
        wanted.filter(|(key, wanted)| positions.get(&position(*key)) != Some(wanted)).collect()
    }

    /// Returns the positions to commit with the rows of a partition; none if there is no such partition.
    pub fn positions_of(&self, key: Key) -> Option<[(SourceId, u64); 2]> {
        let changed = self.changed.get(&key)?;
        let basis = (SourceId::new(BASIS), join(self.epoch, self.basis.0));
        Some([basis, (position(key), join(self.epoch, *changed))])
    }
}

#[cfg(test)]
mod tests {
    use weir_types::Timestamp;

    use super::*;

    fn partition(day: Option<i32>, hour: Option<u8>, changed: u64) -> Partition {
        let modified = Timestamp(0);
        Partition { day, hour, files: 1, small_files: 1, rows: Some(1), bytes: 9, changed, modified }
    }

    fn shape(by: PartitionBy) -> Shape {
        let scope = RollupScope::Partition(weir_function::rollup::Derivation::default());
        Shape { scope, by }
    }

    fn basis(sql: &str) -> Basis {
        Basis::new((sql, &Schema::empty()), (&"clicks".parse().unwrap(), "identity"), [("airlines", 7)].into_iter())
    }

    /// A rollup's positions, as computing leaves them.
    #[derive(Default)]
    struct Log(BTreeMap<SourceId, u64>);

    impl Log {
        fn stale(&self, basis: Basis, source: &[Partition], own: &[Partition]) -> Vec<Key> {
            let shape = shape(PartitionBy::Day("at".into()));
            let wanted = Wanted::look(&shape, basis, (source, own), &self.0);
            wanted.stale(&self.0).into_iter().map(|(key, _)| key).collect()
        }

        /// Computes the first so many stale partitions.
        fn compute(&mut self, basis: Basis, source: &[Partition], most: usize) {
            for key in self.stale(basis, source, &[]).into_iter().take(most) {
                let shape = shape(PartitionBy::Day("at".into()));
                let wanted = Wanted::look(&shape, basis, (source, &[]), &self.0);
                for (source, position) in wanted.positions_of(key).unwrap() {
                    assert!(self.0.get(&source).is_none_or(|had| *had <= position), "{source} went back");
                    self.0.insert(source, position);
                }
            }
        }
    }

    #[test]
    fn hours_feed_their_day_and_times_that_are_none_feed_null() {
        let day = shape(PartitionBy::Day("at".into()));
        assert_eq!(day.target((Some(15_706), Some(23))), (Some(15_706), None));
        assert_eq!(day.target((None, None)), (None, None));
        let hour = shape(PartitionBy::Hour("at".into()));
        assert_eq!(hour.target((Some(-1), Some(23))), (Some(-1), Some(23)));
        assert_eq!(name((Some(-1), Some(23))), "1969-12-31T23");
        assert_eq!(position((None, None)).as_str(), "rollup/null");
    }

    #[test]
    fn only_what_a_changed_partition_feeds_is_stale() {
        let mut source: Vec<Partition> =
            (0..1000).flat_map(|day| [3, 4].map(|hour| partition(Some(day), Some(hour), 5))).collect();
        source.push(partition(None, None, 1));
        let mut log = Log::default();
        assert_eq!(log.stale(basis("q"), &source, &[]).len(), 1001);
        log.compute(basis("q"), &source, usize::MAX);
        assert!(log.stale(basis("q"), &source, &[]).is_empty());
        source[1401].changed = 6;
        assert_eq!(log.stale(basis("q"), &source, &[]), [(Some(700), None)]);
        log.compute(basis("q"), &source, usize::MAX);
        source[1400].changed = 7;
        assert_eq!(log.stale(basis("q"), &source, &[]), [(Some(700), None)]);
    }

    #[test]
    fn another_basis_makes_all_stale_and_a_crash_within_it_resumes() {
        let source: Vec<Partition> = (0..100).map(|day| partition(Some(day), None, 9)).collect();
        let clicks = "clicks".parse().unwrap();
        for other in [
            basis("p"),
            Basis::new(("q", &Schema::empty()), (&clicks, "another"), [("airlines", 7)].into_iter()),
            Basis::new(("q", &Schema::empty()), (&clicks, "identity"), [("airlines", 8)].into_iter()),
            Basis::new(("q", &Schema::empty()), (&"views".parse().unwrap(), "identity"), [("airlines", 7)].into_iter()),
        ] {
            let mut log = Log::default();
            log.compute(basis("q"), &source, usize::MAX);
            assert_eq!(log.stale(other, &source, &[]).len(), 100);
            log.compute(other, &source, 30);
            assert_eq!(log.stale(other, &source, &[]).len(), 70);
            // Back to the first: what was computed by the other is told from what was not, or all of it is stale.
            assert_eq!(log.stale(basis("q"), &source, &[]).len(), 100);
            log.compute(basis("q"), &source, usize::MAX);
            assert!(log.stale(basis("q"), &source, &[]).is_empty());
        }
    }

    #[test]
    fn a_partition_whose_source_is_gone_is_stale_until_it_is_empty() {
        let source = [partition(Some(1), Some(1), 5), partition(Some(2), Some(2), 6)];
        let own = [partition(Some(1), None, 1), partition(Some(2), None, 1)];
        let mut log = Log::default();
        log.compute(basis("q"), &source, usize::MAX);
        // Another table in its place, without the second day.
        let other =
            Basis::new(("q", &Schema::empty()), (&"clicks".parse().unwrap(), "another"), [("airlines", 7)].into_iter());
        let source = [partition(Some(1), Some(1), 1)];
        assert_eq!(log.stale(other, &source, &own), [(Some(2), None), (Some(1), None)]);
        assert_eq!(Log::default().stale(other, &[], &[]), []);
    }

    #[test]
    fn a_source_that_was_set_back_makes_all_stale() {
        let mut source: Vec<Partition> = (0..3).map(|day| partition(Some(day), None, 9)).collect();
        let mut log = Log::default();
        log.compute(basis("q"), &source, usize::MAX);
        source[1].changed = 4;
        assert_eq!(log.stale(basis("q"), &source, &[]).len(), 3);
        log.compute(basis("q"), &source, usize::MAX);
        assert!(log.stale(basis("q"), &source, &[]).is_empty());
    }
}
