//! Where a row lies: its partition and its bucket.
//!
//! Partition columns are plain ones that any Delta reader prunes by: `_day` (a date), `_hour` (0 to 23) behind it, and
//! `_bucket`. Rows without a usable event time have a null `_day` and `_hour`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int32Array};
use arrow::datatypes::{DataType, Date32Type, Field};

use crate::spec::PartitionBy;

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

const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// Which partition columns a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) day: bool,
    pub(crate) hour: bool,
    pub(crate) bucket: bool,
}

impl Layout {
    pub(crate) fn of(partition_by: &PartitionBy, buckets: u32) -> Self {
        Self {
            day: !matches!(partition_by, PartitionBy::None),
            hour: matches!(partition_by, PartitionBy::Hour(_)),
            bucket: buckets > 1,
        }
    }

    /// Returns the partition columns in their order.
    pub(crate) fn fields(self) -> Vec<Field> {
        let mut fields = Vec::with_capacity(3);
        if self.day {
            fields.push(Field::new(DAY_COLUMN, DataType::Date32, true));
        }
        if self.hour {
            fields.push(Field::new(HOUR_COLUMN, DataType::Int32, true));
        }
        if self.bucket {
            fields.push(Field::new(BUCKET_COLUMN, DataType::Int32, true));
        }
        fields
    }

    /// Returns a place's values as Delta writes them, in the order of [`fields`](Self::fields).
    pub(crate) fn values(self, place: Place) -> Vec<(&'static str, Option<String>)> {
        let mut values = Vec::with_capacity(3);
        if self.day {
            values.push((DAY_COLUMN, place.day.and_then(Date32Type::to_naive_date_opt).map(|day| day.to_string())));
        }
        if self.hour {
            values.push((HOUR_COLUMN, place.hour.map(|hour| hour.to_string())));
        }
        if self.bucket {
            values.push((BUCKET_COLUMN, Some(place.bucket.to_string())));
        }
        values
    }

    /// Reads what [`values`](Self::values) wrote; none if it is no place of this layout.
    pub(crate) fn parse<'a>(self, value_of: impl Fn(&str) -> Option<&'a str>) -> Option<Place> {
        let mut place = Place::default();
        if self.day
            && let Some(day) = value_of(DAY_COLUMN)
        {
            place.day = Some(Date32Type::from_naive_date(day.parse().ok()?));
        }
        if self.hour
            && let Some(hour) = value_of(HOUR_COLUMN)
        {
            place.hour = Some(hour.parse().ok().filter(|hour| *hour < 24)?);
        }
        if self.bucket {
            place.bucket = value_of(BUCKET_COLUMN)?.parse().ok()?;
        }
        Some(place)
    }

    /// Returns the folder of a place below the table's, with a slash behind, or nothing.
    pub(crate) fn folder(self, place: Place) -> String {
        let mut folder = String::new();
        for (name, value) in self.values(place) {
            folder.push_str(name);
            folder.push('=');
            folder.push_str(value.as_deref().unwrap_or(NULL_FOLDER));
            folder.push('/');
        }
        folder
    }

    /// Returns the partition columns of rows at these places.
    pub(crate) fn columns(self, places: impl Iterator<Item = Place> + Clone) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(3);
        if self.day {
            columns.push(Arc::new(places.clone().map(|place| place.day).collect::<Date32Array>()));
        }
        if self.hour {
            columns.push(Arc::new(places.clone().map(|place| place.hour.map(i32::from)).collect::<Int32Array>()));
        }
        if self.bucket {
            let buckets = places.map(|place| i32::try_from(place.bucket).ok());
            columns.push(Arc::new(buckets.collect::<Int32Array>()));
        }
        columns
    }
}

impl Place {
    /// Makes an id's key over the whole table: ids are compared within one place alone. An odd multiplier keeps
    /// distinct places distinct.
    pub(crate) fn key(self, id: u128) -> u128 {
        let day = self.day.map_or(0, |day| u128::from(day.cast_unsigned()) + 1);
        let hour = self.hour.map_or(0, |hour| u128::from(hour) + 1);
        id ^ ((day << 40) | (hour << 32) | u128::from(self.bucket))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_from_their_values() {
        let layout = Layout { day: true, hour: true, bucket: true };
        for place in [
            Place { day: Some(15_706), hour: Some(5), bucket: 3 },
            Place { day: Some(-1), hour: Some(0), bucket: 0 },
            Place { day: None, hour: None, bucket: 1 },
        ] {
            let values = layout.values(place);
            let value_of =
                |name: &str| values.iter().find(|(key, _)| *key == name).and_then(|(_, value)| value.as_deref());
            assert_eq!(layout.parse(value_of), Some(place));
        }
        let place = Place { day: Some(15_706), hour: Some(5), bucket: 3 };
        assert_eq!(layout.folder(place), "_day=2013-01-01/_hour=5/_bucket=3/");
        assert_eq!(
            layout.folder(Place { bucket: 1, ..Place::default() }),
            format!("_day={NULL_FOLDER}/_hour={NULL_FOLDER}/_bucket=1/")
        );
    }
}
