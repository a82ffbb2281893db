//! Partitions: what each holds, and when it last changed.
//!
//! Every commit of rows notes its number for each partition whose rows it changed, as the Delta application transaction
//! `weir:changed/PARTITION`. So the number is as durable as the rows, and merging, which changes no rows, leaves it
//! alone. When other writers changed rows, a commit of ours notes that they did before anything else is done.

use std::collections::BTreeMap;

use weir_types::Timestamp;

use crate::place::Place;
use crate::table::Table;

/// Files smaller than this share of the target size count as small.
const SMALL_SHARE: u64 = 2;

/// The values of the partition columns but for the bucket.
pub(crate) type Key = (Option<i32>, Option<u8>);

impl Place {
    /// Returns the partition that the place is a bucket of.
    pub(crate) fn partition(self) -> Key {
        (self.day, self.hour)
    }
}

/// A partition: all buckets of a day, or of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Days since 1970-01-01; none in tables of one partition, and for rows without a usable event time.
    pub day: Option<i32>,
    /// The hour of the day; none likewise, and in tables that are partitioned by day.
    pub hour: Option<u8>,
    /// Its committed files. 0 if it had rows once.
    pub files: u64,
    /// Those that are smaller than half of [`Spec::target_file_bytes`](crate::Spec::target_file_bytes).
    pub small_files: u64,
    /// Its committed rows; none if another writer's files don't say.
    pub rows: Option<u64>,
    /// The bytes of its files.
    pub bytes: u64,
    /// The number of the last commit of rows that changed its rows, by whomever; 0 if that was before such were noted.
    pub changed: u64,
    /// When the newest of its files was written; 0 without files.
    pub modified: Timestamp,
}

impl Table {
    /// Returns the partitions that have committed rows, or had, in their order: the one of null first.
    pub fn partitions(&self) -> Vec<Partition> {
        let (files, changed) = {
            let state = self.state();
            (state.files.list().clone(), state.changed.clone())
        };
        let mut partitions: BTreeMap<Key, Partition> =
            changed.iter().map(|(key, changed)| (*key, Partition::new(*key, *changed))).collect();
        let small = self.spec().target_file_bytes / SMALL_SHARE;
        for file in files.iter() {
            let key = file.place.partition();
            let partition = partitions.entry(key).or_insert_with(|| Partition::new(key, 0));
            partition.files += 1;
            partition.small_files += u64::from(file.size < small);
            partition.rows = partition.rows.zip(file.rows).map(|(all, rows)| all + rows);
            partition.bytes += file.size;
            partition.modified = partition.modified.max(file.modified);
        }
        partitions.into_values().collect()
    }

    /// Returns how many commits of rows the table has had in its whole life. Each raised it by one.
    pub fn commits(&self) -> u64 {
        self.state().commits
    }
}

impl Partition {
    fn new((day, hour): Key, changed: u64) -> Self {
        let modified = Timestamp::default();
        Self { day, hour, files: 0, small_files: 0, rows: Some(0), bytes: 0, changed, modified }
    }
}
