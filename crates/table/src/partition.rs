//! Partitions: what each holds, and when it last changed.
//!
//! Every commit of rows notes its number for each partition whose rows it changed, as the Delta application transaction
//! `weir:changed/PARTITION`. So the number is as durable as the rows, and merging, which changes no rows, leaves it
//! alone. When other writers changed rows, a commit of ours notes that they did before anything else is done.

use std::collections::BTreeMap;

use arrow::datatypes::Date32Type;
use weir_types::Timestamp;

use crate::place::Place;
use crate::table::Table;

/// Files smaller than this share of the target size count as small.
const SMALL_SHARE: u64 = 2;

/// The values of the partition columns but for the bucket.
pub(crate) type Key = (Option<i32>, Option<u8>);

/// What a partition without a day is called.
const NULL_NAME: &str = "null";

/// Returns a partition's name: `2013-01-01`, `2013-01-01/05`, or `null`.
pub(crate) fn name((day, hour): Key) -> String {
    let Some(day) = day else { return NULL_NAME.to_owned() };
    // Days beyond the calendar make no partitions; their number is a name as well.
    let day = Date32Type::to_naive_date_opt(day).map_or_else(|| day.to_string(), |day| day.to_string());
    hour.map_or(day.clone(), |hour| format!("{day}/{hour:02}"))
}

/// Reads what [`name`] wrote.
pub(crate) fn parse(name: &str) -> Option<Key> {
    if name == NULL_NAME {
        return Some((None, None));
    }
    let (day, hour) = name.split_once('/').map_or((name, None), |(day, hour)| (day, Some(hour)));
    let hour = hour.map(str::parse).transpose().ok()?;
    let day = day.parse().map(Date32Type::from_naive_date).or_else(|_| day.parse()).ok()?;
    Some((Some(day), hour))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_read_back_from_their_names() {
        for key in [(None, None), (Some(15_706), None), (Some(15_706), Some(5)), (Some(-25_567), Some(23))] {
            assert_eq!(parse(&name(key)), Some(key));
        }
        assert_eq!(name((Some(15_706), Some(5))), "2013-01-01/05");
        assert_eq!(parse("yesterday"), None);
    }
}
