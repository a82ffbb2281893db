//! Which partitions of a rollup are stale: those whose mark is not the one in the rollup's own log.
//!
//! A mark is a hash of all that a partition's rows depend on: the SQL, the source, the lookups' contents, and when each of
//! the source's partitions behind it last changed. Invariant: a mark is taken before the rows are, so that rows may be newer
//! than their mark says, which costs one more computation, and are never older.

use std::collections::BTreeMap;

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
    pub source: TableName,
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

    /// Names the position that keeps a partition's mark.
    pub fn position(&self, key: Key) -> SourceId {
        SourceId::new(format!("rollup/{}/{}", self.source, name(key)))
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

/// What all partitions of a rollup depend on.
#[derive(Clone)]
pub(super) struct Basis(Xxh3);

impl Basis {
    /// `identity` tells the source from another table of its name; `lookups` are digests of their contents.
    pub fn new<'a>(sql: &str, identity: &str, lookups: impl Iterator<Item = (&'a str, u128)>) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&SCHEME.to_le_bytes());
        // With their lengths, so that no two lists of texts are one.
        let mut text = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        text(sql);
        text(identity);
        let lookups: Vec<_> = lookups.collect();
        lookups.iter().for_each(|(name, _)| text(name));
        lookups.iter().for_each(|(_, digest)| hash.update(&digest.to_le_bytes()));
        Self(hash)
    }

    fn mark<'a>(&self, feeding: impl Iterator<Item = &'a Partition>) -> u64 {
        let mut hash = self.0.clone();
        for partition in feeding {
            hash.update(&partition.day.map_or(i64::MIN, i64::from).to_le_bytes());
            hash.update(&[partition.hour.unwrap_or(u8::MAX)]);
            hash.update(&partition.changed.to_le_bytes());
            // One that was there before changes were counted has no number.
            if partition.changed == 0 {
                hash.update(&partition.files.to_le_bytes());
                hash.update(&partition.bytes.to_le_bytes());
            }
        }
        // Delta's versions are 63 bits; and none is what a partition has that was never computed.
        (hash.digest() & i64::MAX.unsigned_abs()).max(1)
    }
}

/// Returns every partition that the rollup has or should have, with the mark that it should have.
pub(super) fn wanted(shape: &Shape, basis: &Basis, source: &[Partition], own: &[Partition]) -> BTreeMap<Key, u64> {
    let mut feeding: BTreeMap<Key, Vec<&Partition>> = BTreeMap::new();
    for partition in source {
        feeding.entry(shape.target((partition.day, partition.hour))).or_default().push(partition);
    }
    // One whose source is gone becomes empty.
    for partition in own.iter().filter(|partition| partition.files > 0) {
        feeding.entry((partition.day, partition.hour)).or_default();
    }
    if shape.scope == RollupScope::Whole {
        // A query over no rows may have some.
        feeding.entry((None, None)).or_default();
    }
    feeding.into_iter().map(|(key, feeding)| (key, basis.mark(feeding.into_iter()))).collect()
}

/// Returns the partitions whose mark is another one, with the mark that they should have, the newest first.
pub(super) fn stale(shape: &Shape, wanted: BTreeMap<Key, u64>, positions: &BTreeMap<SourceId, u64>) -> Vec<(Key, u64)> {
    let stale = wanted.into_iter().rev().filter(|(key, mark)| positions.get(&shape.position(*key)) != Some(mark));
    stale.collect()
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
        Shape { source: "clicks".parse().unwrap(), scope, by }
    }

    fn marks(shape: &Shape, wanted: &BTreeMap<Key, u64>) -> BTreeMap<SourceId, u64> {
        wanted.iter().map(|(key, mark)| (shape.position(*key), *mark)).collect()
    }

    fn basis(sql: &str) -> Basis {
        Basis::new(sql, "table", [("airlines", 7)].into_iter())
    }

    #[test]
    fn hours_feed_their_day_and_times_that_are_none_feed_null() {
        let day = shape(PartitionBy::Day("at".into()));
        assert_eq!(day.target((Some(15_706), Some(23))), (Some(15_706), None));
        assert_eq!(day.target((None, None)), (None, None));
        let hour = shape(PartitionBy::Hour("at".into()));
        assert_eq!(hour.target((Some(-1), Some(23))), (Some(-1), Some(23)));
        assert_eq!(name((Some(-1), Some(23))), "1969-12-31T23");
        assert_eq!(hour.position((None, None)).as_str(), "rollup/clicks/null");
    }

    #[test]
    fn only_what_a_changed_partition_feeds_is_stale() {
        let shape = shape(PartitionBy::Day("at".into()));
        let mut source: Vec<Partition> = (0..1000).map(|day| partition(Some(day), Some(3), 5)).collect();
        source.push(partition(None, None, 1));
        let first = wanted(&shape, &basis("q"), &source, &[]);
        assert_eq!(stale(&shape, first.clone(), &BTreeMap::new()).len(), 1001);
        let positions = marks(&shape, &first);
        assert!(stale(&shape, first, &positions).is_empty());
        source[700].changed = 6;
        let then = stale(&shape, wanted(&shape, &basis("q"), &source, &[]), &positions);
        assert_eq!(then.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [(Some(700), None)]);
        // Another query, source or lookup concerns all.
        for basis in [
            basis("p"),
            Basis::new("q", "another", [("airlines", 7)].into_iter()),
            Basis::new("q", "table", [("airlines", 8)].into_iter()),
        ] {
            source[700].changed = 5;
            assert_eq!(stale(&shape, wanted(&shape, &basis, &source, &[]), &positions).len(), 1001);
        }
    }

    #[test]
    fn a_partition_whose_source_is_gone_is_stale_until_it_is_empty() {
        let shape = shape(PartitionBy::Day("at".into()));
        let source = [partition(Some(1), Some(1), 5), partition(Some(1), Some(2), 6)];
        let positions = marks(&shape, &wanted(&shape, &basis("q"), &source, &[]));
        let own = [partition(Some(1), None, 1)];
        assert_eq!(stale(&shape, wanted(&shape, &basis("q"), &source[..1], &own), &positions).len(), 1);
        let gone = wanted(&shape, &basis("q"), &[], &own);
        assert_eq!(stale(&shape, gone.clone(), &positions).len(), 1);
        assert!(stale(&shape, gone.clone(), &marks(&shape, &gone)).is_empty());
        assert!(wanted(&shape, &basis("q"), &[], &[]).is_empty());
    }
}
