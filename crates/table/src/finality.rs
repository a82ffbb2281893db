//! Finality: until when a partition may change, and whether it is as compact as it gets.
//!
//! ```text
//!   |---- the partition's day or hour ----|---- lookback ----| final after
//!                 it changes               late, but expected   only what comes later than the lookback changes it
//! ```
//!
//! Derived from the files' names and the clock alone: see [`crate::generation`].

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_types::Timestamp;

use crate::file::DataFile;
use crate::generation::Generation;
use crate::place::Place;
use crate::spec::{PartitionBy, Spec};
use crate::table::Table;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What a partition is, and until when it may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifecycle {
    /// Days since 1970-01-01; none in tables of one partition, and for rows without a usable event time.
    pub day: Option<i32>,
    /// The hour of the day; none likewise, and in tables that are partitioned by day.
    pub hour: Option<u8>,
    /// Its committed files.
    pub files: u64,
    /// Those smaller than half of the target size.
    pub small_files: u64,
    /// Its committed rows; none if another writer's files don't say.
    pub rows: Option<u64>,
    /// Bytes of the files.
    pub bytes: u64,
    /// The end of the partition and of the lookback behind it; none in tables without either, and for the partition of
    /// null.
    pub final_after: Option<Timestamp>,
    /// Whether that moment has passed: only rows that are later than the lookback still change it.
    pub is_final: bool,
    /// When rows last came into it, as far as its files tell: what was compacted counts as of its compaction.
    pub changed_at: Option<Timestamp>,
    /// When any of it was last compacted.
    pub compacted_at: Option<Timestamp>,
    /// Whether each of its buckets is what one compaction made.
    pub is_compact: bool,
}

/// Returns the moment after which only late rows change a partition.
pub(crate) fn final_after(spec: &Spec, place: Place) -> Option<Timestamp> {
    let (lookback, day) = (spec.lookback?, i64::from(place.day?));
    let end = match spec.partition_by {
        PartitionBy::None => return None,
        PartitionBy::Day(_) => (day + 1) * DAY_MS,
        PartitionBy::Hour(_) => day * DAY_MS + (i64::from(place.hour?) + 1) * HOUR_MS,
    };
    Some(Timestamp(end).after(lookback))
}

/// Returns the generation that all files of a place have, if they have one.
pub(crate) fn generation_of(files: &[Arc<DataFile>]) -> Option<Generation> {
    let first = Generation::parse(&files.first()?.path)?;
    files[1..].iter().all(|file| Generation::parse(&file.path) == Some(first)).then_some(first)
}

impl Table {
    /// Returns the partitions that have files, in their order: the one of null first.
    pub fn lifecycles(&self) -> Vec<Lifecycle> {
        let now = self.env.now();
        let mut partitions: BTreeMap<(Option<i32>, Option<u8>), Lifecycle> = BTreeMap::new();
        let state = self.state();
        for (place, files) in state.files.places() {
            let final_after = final_after(&self.spec, *place);
            let partition = partitions.entry((place.day, place.hour)).or_insert(Lifecycle {
                day: place.day,
                hour: place.hour,
                files: 0,
                small_files: 0,
                rows: Some(0),
                bytes: 0,
                final_after,
                is_final: final_after.is_some_and(|after| now >= after),
                changed_at: None,
                compacted_at: None,
                is_compact: true,
            });
            partition.is_compact &= generation_of(files).is_some();
            for file in files {
                let kind = match Generation::parse(&file.path) {
                    Some(_) => &mut partition.compacted_at,
                    None => &mut partition.changed_at,
                };
                *kind = (*kind).max(Some(file.modified));
                partition.files += 1;
                partition.small_files += u64::from(file.size < self.spec.target_file_bytes / 2);
                partition.rows = partition.rows.zip(file.rows).map(|(all, rows)| all + rows);
                partition.bytes += file.size;
            }
        }
        drop(state);
        for partition in partitions.values_mut() {
            partition.changed_at = partition.changed_at.or(partition.compacted_at);
        }
        partitions.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn a_partition_is_final_after_its_end_and_the_lookback() {
        let columns = Arc::new(Schema::new(vec![Field::new("at", DataType::Int64, true)]));
        let mut spec = Spec::new("t".parse().unwrap(), columns);
        let place = Place { day: Some(1), hour: Some(3), bucket: 0 };
        spec.lookback = Some(Duration::from_secs(3600));
        assert_eq!(final_after(&spec, place), None, "a table of one partition is never final");
        spec.partition_by = PartitionBy::Day("at".into());
        assert_eq!(final_after(&spec, place), Some(Timestamp(2 * DAY_MS + HOUR_MS)));
        spec.partition_by = PartitionBy::Hour("at".into());
        assert_eq!(final_after(&spec, place), Some(Timestamp(DAY_MS + 5 * HOUR_MS)));
        assert_eq!(final_after(&spec, Place::default()), None, "rows without a time have no end");
        spec.lookback = None;
        assert_eq!(final_after(&spec, place), None);
    }
}
