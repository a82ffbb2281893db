//! Ids of rows: 128-bit keyed hashes of the columns that make a row unique.
//!
//! Two rows have one id if their hashes are equal; docs/decisions/0005 has the odds. The key is random, made with the
//! table, and stored in its Delta configuration, so that nobody who writes rows can choose colliding ones, and so that
//! a bucket, which is taken from the hash, stays where it is.
//!
//! The encoding that is hashed is part of the table's format and can't change: per column one byte of kind (0 for null)
//! and the value, integers as 8 bytes whatever their width, text and bytes behind their length. Columns are encoded as
//! the table stores them.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use arrow::error::ArrowError;
use siphasher::sip128::SipHasher24;

/// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012) under a table's key.
#[derive(Clone)]
pub(crate) struct Hasher {
    sip: SipHasher24,
}

impl Hasher {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { sip: SipHasher24::new_with_key(&key) }
    }

    /// Returns the id of each row of the columns, which are in the order of `unique_by`.
    pub(crate) fn ids(&self, columns: &[ArrayRef]) -> Result<Vec<u128>, ArrowError> {
        let values = columns.iter().map(Values::of).collect::<Result<Vec<_>, _>>()?;
        let rows = columns.first().map_or(0, |column| column.len());
        let mut ids = Vec::with_capacity(rows);
        let mut encoded = Vec::with_capacity(256);
        for row in 0..rows {
            encoded.clear();
            for values in &values {
                values.encode(row, &mut encoded);
            }
            ids.push(u128::from(self.sip.hash(&encoded)));
        }
        Ok(ids)
    }
}

/// Returns the bucket of an id: the multiply-shift range of its upper half, so that any number of buckets is filled
/// evenly.
pub(crate) fn bucket(id: u128, buckets: u32) -> u32 {
    let upper = id >> 64;
    u32::try_from((upper * u128::from(buckets)) >> 64).unwrap_or(0)
}

enum Values {
    Bool(BooleanArray),
    Int(Int64Array, u8),
    Float(Float64Array),
    Text(StringArray),
    Bytes(BinaryArray),
    Decimal(Decimal128Array),
}

const NULL: u8 = 0;
const BOOL: u8 = 1;
const INT: u8 = 2;
const FLOAT: u8 = 3;
const TEXT: u8 = 4;
const BYTES: u8 = 5;
const DATE: u8 = 6;
const TIMESTAMP: u8 = 7;
const DECIMAL: u8 = 8;

impl Values {
    fn of(array: &ArrayRef) -> Result<Self, ArrowError> {
        let unfit = || ArrowError::SchemaError(format!("{} can't be part of an id", array.data_type()));
        let int = |kind| Ok(Self::Int(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(), kind));
        match array.data_type() {
            DataType::Boolean => Ok(Self::Bool(array.as_boolean().clone())),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => int(INT),
            DataType::Date32 => {
                let days = cast(array, &DataType::Int32)?;
                Ok(Self::Int(cast(&days, &DataType::Int64)?.as_primitive::<Int64Type>().clone(), DATE))
            }
            DataType::Timestamp(..) => int(TIMESTAMP),
            DataType::Float32 | DataType::Float64 => {
                Ok(Self::Float(cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone()))
            }
            DataType::Utf8 => Ok(Self::Text(array.as_string().clone())),
            DataType::Binary => Ok(Self::Bytes(array.as_binary().clone())),
            DataType::Decimal128(..) => Ok(Self::Decimal(array.as_primitive::<Decimal128Type>().clone())),
            _ => Err(unfit()),
        }
    }

    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        let null = match self {
            Self::Bool(array) => array.is_null(row),
            Self::Int(array, _) => array.is_null(row),
            Self::Float(array) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Decimal(array) => array.is_null(row),
        };
        if null {
            out.push(NULL);
            return;
        }
        match self {
            Self::Bool(array) => out.extend_from_slice(&[BOOL, u8::from(array.value(row))]),
            Self::Int(array, kind) => {
                out.push(*kind);
                out.extend_from_slice(&array.value(row).to_le_bytes());
            }
            Self::Float(array) => {
                out.push(FLOAT);
                out.extend_from_slice(&canonical(array.value(row)).to_le_bytes());
            }
            Self::Text(array) => with_length(TEXT, array.value(row).as_bytes(), out),
            Self::Bytes(array) => with_length(BYTES, array.value(row), out),
            Self::Decimal(array) => {
                out.push(DECIMAL);
                out.extend_from_slice(&array.value(row).to_le_bytes());
            }
        }
    }
}

/// Whether values of two types have one id if they are equal.
pub(crate) fn same_kind(a: &DataType, b: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64};
    let is_int = |of: &DataType| matches!(of, Int8 | Int16 | Int32 | Int64);
    match (a, b) {
        (Float32 | Float64, Float32 | Float64) => true,
        (Decimal128(_, a), Decimal128(_, b)) => a == b,
        (a, b) => a == b || is_int(a) && is_int(b),
    }
}

fn with_length(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Returns the bits of a float, the same for all that are equal: one zero, one NaN.
fn canonical(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, TimestampMicrosecondArray};

    use super::*;

    fn ids(columns: &[ArrayRef]) -> Vec<u128> {
        Hasher::new(*b"0123456789abcdef").ids(columns).unwrap()
    }

    #[test]
    fn the_hash_of_a_row_is_what_it_was_when_the_format_was_made() {
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("UA"), None]));
        let int: ArrayRef = Arc::new(Int32Array::from(vec![1545, 0]));
        let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_357_016_400_000_000, 0]));
        let hashes: Vec<String> = ids(&[text, int, time]).iter().map(|id| format!("{id:032x}")).collect();
        assert_eq!(hashes, FIXED);
    }

    const FIXED: [&str; 2] = ["6c4d7db92d864bfd965ff9ca5e969e6c", "7c11bd2b7a9f60a034c31c7cfd744895"];

    #[test]
    fn the_width_of_an_integer_does_not_matter() {
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7, -7]));
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![7, -7]));
        assert_eq!(ids(&[narrow]), ids(&[wide]));
    }

    #[test]
    fn neighbouring_texts_are_told_apart() {
        let a: [ArrayRef; 2] = [Arc::new(StringArray::from(vec!["ab"])), Arc::new(StringArray::from(vec!["c"]))];
        let b: [ArrayRef; 2] = [Arc::new(StringArray::from(vec!["a"])), Arc::new(StringArray::from(vec!["bc"]))];
        assert_ne!(ids(&a), ids(&b));
    }

    #[test]
    fn equal_floats_have_one_id() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
        let ids = ids(&[column]);
        assert_eq!(ids[0], ids[1]);
        assert_eq!(ids[2], ids[3]);
    }

    #[test]
    fn buckets_are_filled_evenly() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..30_000));
        let mut counts = [0u32; 3];
        for id in ids(&[column]) {
            counts[bucket(id, 3) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    }
}
