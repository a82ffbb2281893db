//! Where a row lies: its partition and its bucket.

/// The partition column of days, a date.
pub const DAY_COLUMN: &str = "_day";
/// The partition column of hours, an integer of 0 to 23.
pub const HOUR_COLUMN: &str = "_hour";
/// The partition column of buckets, an integer counted from 0.
pub const BUCKET_COLUMN: &str = "_bucket";

/// One bucket of one partition: the unit of files, and of uniqueness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place {
    /// Days since 1970-01-01; none in tables of one partition, and for rows without a usable event time.
    pub day: Option<i32>,
    /// The hour of the day; none likewise, and in tables that are partitioned by day.
    pub hour: Option<u8>,
    /// The bucket; 0 in tables with one.
    pub bucket: u32,
}
