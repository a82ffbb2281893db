//! The name of a place of a table: a bucket of a partition.

use std::fmt;

use serde::{Deserialize, Serialize};
use weir_types::civil::civil_from_days;

/// One bucket of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct PlaceKey(
    /// Days since 1970-01-01; none for rows without a usable event time, and in tables of one partition.
    pub Option<i32>,
    /// The hour of the day; none in tables that are not partitioned by hour.
    pub Option<u8>,
    /// The bucket.
    pub u32,
);

impl PlaceKey {
    /// Returns the partition that the place is a bucket of.
    pub fn partition(self) -> (Option<i32>, Option<u8>) {
        (self.0, self.1)
    }
}

/// Prints `2013-01-01`, `2013-01-01T05`, with a bucket `2013-01-01T05#3`, and `none` without a day.
impl fmt::Display for PlaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(days) => {
                let (year, month, day) = civil_from_days(i64::from(days));
                write!(f, "{year:04}-{month:02}-{day:02}")?;
            }
            None => f.write_str("none")?,
        }
        if let Some(hour) = self.1 {
            write!(f, "T{hour:02}")?;
        }
        if self.2 > 0 {
            write!(f, "#{}", self.2)?;
        }
        Ok(())
    }
}
