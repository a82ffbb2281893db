//! Event times of decoded records.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMillisecondType};
use arrow::error::ArrowError;
use weir_types::Timestamp;

use super::machine::Window;

/// Returns the values of a column as times; null where there is none, and for a column that holds no times.
pub(super) fn of(batch: &RecordBatch, column: &str) -> Result<Vec<Option<Timestamp>>, ArrowError> {
    let Some(array) = batch.column_by_name(column) else { return Ok(vec![None; batch.num_rows()]) };
    let millis: Vec<Option<i64>> = match array.data_type() {
        // Milliseconds since 1970, as everywhere in weir.
        DataType::Int64 => array.as_primitive::<Int64Type>().iter().collect(),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            let millis = cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
            millis.as_primitive::<TimestampMillisecondType>().iter().collect()
        }
        _ => vec![None; array.len()],
    };
    Ok(millis.into_iter().map(|millis| millis.map(Timestamp)).collect())
}

/// Tells which rows are within a window of event times. A row without one is in none that has a bound.
pub(super) fn within(window: &Window, times: &[Option<Timestamp>]) -> Vec<bool> {
    let meets = |time: &Option<Timestamp>| match time {
        Some(time) => window.since.is_none_or(|since| *time >= since) && window.until.is_none_or(|until| *time < until),
        None => window.since.is_none() && window.until.is_none(),
    };
    times.iter().map(meets).collect()
}

/// Keeps the rows, and what stands beside them, that a window of event times has.
pub(super) fn keep<T>(
    window: &Window,
    column: &str,
    batch: RecordBatch,
    beside: Vec<T>,
) -> Result<(RecordBatch, Vec<T>), ArrowError> {
    let kept = within(window, &of(&batch, column)?);
    if kept.iter().all(|kept| *kept) {
        return Ok((batch, beside));
    }
    let beside = beside.into_iter().zip(&kept).filter_map(|(one, kept)| kept.then_some(one)).collect();
    Ok((filter_record_batch(&batch, &BooleanArray::from(kept))?, beside))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn times_of_all_types_are_compared_and_rows_without_one_are_in_no_window() {
        let batch = RecordBatch::try_from_iter([
            ("long", Arc::new(Int64Array::from(vec![Some(5), None, Some(86_400_000)])) as _),
            ("micros", Arc::new(TimestampMicrosecondArray::from(vec![Some(5_999), None, Some(86_400_000_000)])) as _),
            ("date", Arc::new(Date32Array::from(vec![Some(0), None, Some(1)])) as _),
            ("text", Arc::new(StringArray::from(vec!["1", "2", "3"])) as _),
        ])
        .unwrap();
        let window = |since, until| Window { since, until, event_time: true };
        for column in ["long", "micros", "date"] {
            let times = of(&batch, column).unwrap();
            assert_eq!(within(&window(None, Some(Timestamp(86_400_000))), &times), [true, false, false], "{column}");
            assert_eq!(within(&window(Some(Timestamp(6)), None), &times), [false, false, true], "{column}");
            assert_eq!(within(&window(None, None), &times), [true; 3]);
        }
        assert_eq!(of(&batch, "text").unwrap(), [None; 3]);
        let (kept, beside) = keep(&window(Some(Timestamp(6)), None), "long", batch, vec!['a', 'b', 'c']).unwrap();
        assert_eq!((kept.num_rows(), beside), (1, vec!['c']));
    }
}
