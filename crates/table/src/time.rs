//! Event times: read from any supported column as microseconds since 1970 in UTC.

use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit, TimestampMicrosecondType};

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;
/// Microseconds of an hour.
pub(crate) const HOUR_US: i64 = 3_600_000_000;

/// 1900-01-01T00:00:00Z in microseconds. Whether a time is usable depends on it alone, never on the clock: a repeat
/// must meet its first copy in the same partition.
pub(crate) const FIRST_US: i64 = -25_567 * DAY_US;
/// 2100-01-01T00:00:00Z, the first moment beyond.
pub(crate) const BEYOND_US: i64 = 47_482 * DAY_US;

/// Whether a column of this type (as given, not as stored) can be the event time.
pub(crate) fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Int64)
}

/// The times of a stored column.
pub(crate) enum Times<'a> {
    Micros(&'a PrimitiveArray<TimestampMicrosecondType>),
    Days(&'a PrimitiveArray<Date32Type>),
    Millis(&'a PrimitiveArray<Int64Type>),
}

impl<'a> Times<'a> {
    /// Reads a column; none if its type is no stored time.
    pub(crate) fn of(array: &'a dyn Array) -> Option<Self> {
        match array.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => array.as_primitive_opt().map(Self::Micros),
            DataType::Date32 => array.as_primitive_opt().map(Self::Days),
            DataType::Int64 => array.as_primitive_opt().map(Self::Millis),
            _ => None,
        }
    }

    /// Returns a row's time in microseconds, saturated; none if it is null.
    pub(crate) fn get(&self, row: usize) -> Option<i64> {
        match self {
            Self::Micros(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Days(array) => array.is_valid(row).then(|| i64::from(array.value(row)) * DAY_US),
            Self::Millis(array) => array.is_valid(row).then(|| array.value(row).saturating_mul(1000)),
        }
    }
}

/// Whether a time can be a partition's.
pub(crate) fn is_usable(micros: i64) -> bool {
    (FIRST_US..BEYOND_US).contains(&micros)
}
