//! The order of rows in compacted files, and keys that compare as it says.
//!
//! A key is 128 bits and, where those don't decide, bytes:
//!
//! ```text
//!   | not null | 64 bits of the first column, or of the row's encoding | ordinal: 63 bits |
//! ```
//!
//! One column that fits in 64 bits (a time, a date, an integer) is in the key whole, so that comparing keys is all there
//! is. Else the 64 bits are the beginning of the row's encoding (`arrow-row`: bytes that compare as the columns do), which
//! is compared whole where they are equal. Ordinals count rows in the order of their arrival; they make every order total,
//! and so every compaction's outcome a matter of its inputs alone. Nulls come first; text compares by its bytes.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

const ORDINAL_BITS: u32 = 63;
const NOT_NULL: u128 = 1 << 127;
const SIGN: u64 = 1 << 63;
const ORDINALS: u128 = (1 << ORDINAL_BITS) - 1;

/// The order of rows.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    columns: Vec<String>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// By arrival alone.
    Arrival,
    /// By one column that is in the key whole.
    One,
    /// By encoded rows.
    Encoded(Vec<SortField>),
}

/// The keys of a batch's rows.
pub(crate) struct Keys {
    pub(crate) heads: Vec<u128>,
    rows: Option<Rows>,
}

/// One row's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) head: u128,
    row: Option<Box<[u8]>>,
}

impl Order {
    /// The order by some columns of a table.
    pub(crate) fn by(columns: Vec<String>, schema: &Schema) -> Result<Self, ArrowError> {
        let types = columns.iter().map(|name| Ok(schema.field_with_name(name)?.data_type().clone()));
        let types = types.collect::<Result<Vec<_>, ArrowError>>()?;
        let kind = match types.as_slice() {
            [] => Kind::Arrival,
            [one] if fits(one) => Kind::One,
            _ => Kind::Encoded(types.into_iter().map(SortField::new).collect()),
        };
        Ok(Self { columns, kind })
    }

    /// Returns the columns.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether statistics of the first column bound keys.
    pub(crate) fn is_bounded_by_statistics(&self) -> bool {
        matches!(self.kind, Kind::One)
    }

    /// Returns the keys of a batch whose rows have these ordinals.
    pub(crate) fn keys(&self, batch: &RecordBatch, ordinals: impl Iterator<Item = u64>) -> Result<Keys, ArrowError> {
        let columns = self.columns.iter().map(|name| Ok(batch.column(batch.schema_ref().index_of(name)?).clone()));
        let columns = columns.collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
        Ok(match &self.kind {
            Kind::Arrival => Keys { heads: ordinals.map(u128::from).collect(), rows: None },
            Kind::One => {
                let values = as_int(&columns[0])?;
                let heads = match values.nulls() {
                    None => values.values().iter().zip(ordinals).map(|(value, at)| head(Some(*value), at)).collect(),
                    Some(_) => values.iter().zip(ordinals).map(|(value, at)| head(value, at)).collect(),
                };
                Keys { heads, rows: None }
            }
            Kind::Encoded(fields) => {
                let rows = RowConverter::new(fields.clone())?.convert_columns(&columns)?;
                let heads = rows.iter().zip(ordinals).map(|(row, at)| begin(row.data(), at)).collect();
                Keys { heads, rows: Some(rows) }
            }
        })
    }
}

impl Keys {
    /// Compares a row with one of these or of other keys of the same order.
    pub(crate) fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        let (a, b) = (self.heads[row], other.heads[other_row]);
        match (&self.rows, &other.rows) {
            (Some(rows), Some(others)) => (a >> ORDINAL_BITS)
                .cmp(&(b >> ORDINAL_BITS))
                .then_with(|| rows.row(row).data().cmp(others.row(other_row).data()))
                .then_with(|| a.cmp(&b)),
            _ => a.cmp(&b),
        }
    }

    /// Compares a row with a key.
    pub(crate) fn compare_key(&self, row: usize, key: &Key) -> Ordering {
        let (a, b) = (self.heads[row], key.head);
        match (&self.rows, &key.row) {
            (Some(rows), Some(other)) => (a >> ORDINAL_BITS)
                .cmp(&(b >> ORDINAL_BITS))
                .then_with(|| rows.row(row).data().cmp(other))
                .then_with(|| a.cmp(&b)),
            _ => a.cmp(&b),
        }
    }

    /// Returns one row's key by itself.
    pub(crate) fn key(&self, row: usize) -> Key {
        Key { head: self.heads[row], row: self.rows.as_ref().map(|rows| rows.row(row).data().into()) }
    }

    /// Whether heads alone compare as the keys do.
    pub(crate) fn are_heads(&self) -> bool {
        self.rows.is_none()
    }

    /// Returns the bytes that they take.
    pub(crate) fn memory(&self) -> usize {
        self.heads.len() * size_of::<u128>() + self.rows.as_ref().map_or(0, Rows::size)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.head >> ORDINAL_BITS)
            .cmp(&(other.head >> ORDINAL_BITS))
            .then_with(|| self.row.cmp(&other.row))
            .then_with(|| self.head.cmp(&other.head))
    }
}

/// Returns the ordinal of a key's row.
pub(crate) fn ordinal(head: u128) -> u64 {
    (head & ORDINALS) as u64
}

/// Returns the least key of a value; of null for none.
pub(crate) fn head(value: Option<i64>, ordinal: u64) -> u128 {
    let value = match value {
        None => 0,
        Some(value) => NOT_NULL | u128::from(value.cast_unsigned() ^ SIGN) << ORDINAL_BITS,
    };
    value | u128::from(ordinal)
}

fn begin(row: &[u8], ordinal: u64) -> u128 {
    let mut first = [0; 8];
    let length = row.len().min(first.len());
    first[..length].copy_from_slice(&row[..length]);
    u128::from(u64::from_be_bytes(first)) << ORDINAL_BITS | u128::from(ordinal)
}

fn fits(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(..)
    )
}

fn as_int(array: &ArrayRef) -> Result<Int64Array, ArrowError> {
    let array = match array.data_type() {
        DataType::Int64 => array.clone(),
        DataType::Date32 => cast(&cast(array, &DataType::Int32)?, &DataType::Int64)?,
        _ => cast(array, &DataType::Int64)?,
    };
    Ok(array.as_primitive::<Int64Type>().clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
    }

    fn sorted(order: &[&str], batch: &RecordBatch) -> Vec<usize> {
        let order = Order::by(order.iter().map(|name| (*name).to_owned()).collect(), batch.schema_ref()).unwrap();
        let keys = order.keys(batch, 0..batch.num_rows() as u64).unwrap();
        let mut rows: Vec<usize> = (0..batch.num_rows()).collect();
        rows.sort_by(|a, b| keys.compare(*a, &keys, *b));
        let mut by_key = rows.clone();
        by_key.sort_by_key(|row| keys.key(*row));
        assert_eq!(rows, by_key);
        for pair in rows.windows(2) {
            assert_eq!(keys.compare_key(pair[0], &keys.key(pair[1])), Ordering::Less);
        }
        rows
    }

    #[test]
    fn nulls_come_first_then_values_and_equal_rows_as_they_arrived() {
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(3), None, Some(-7), Some(3), Some(i32::MIN), None]));
        assert_eq!(sorted(&["n"], &batch(vec![("n", ints)])), [1, 5, 4, 2, 0, 3]);
    }

    #[test]
    fn an_order_without_columns_is_that_of_arrival() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![3, 2, 1]));
        assert_eq!(sorted(&[], &batch(vec![("n", ints)])), [0, 1, 2]);
    }

    #[test]
    fn several_columns_compare_one_after_the_other_and_long_texts_to_their_ends() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            Some("the same beginning b"),
            Some("the same beginning a"),
            None,
            Some("the same beginning a"),
            Some(""),
            Some("the same"),
        ]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 0.0, -1.0, 0.0, 0.0]));
        assert_eq!(sorted(&["t", "f"], &batch(vec![("t", texts), ("f", floats)])), [2, 4, 5, 3, 1, 0]);
    }

    #[test]
    fn extremes_of_integers_keep_their_order() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 0, i64::MIN, -1, 1]));
        assert_eq!(sorted(&["n"], &batch(vec![("n", ints)])), [2, 3, 1, 4, 0]);
        assert_eq!(ordinal(head(Some(i64::MIN), (1 << 63) - 1)), (1 << 63) - 1);
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        assert!(Order::by(vec!["x".to_owned()], &schema).is_err());
    }
}
