//! A digest of rows that does not depend on their order.

use std::fmt;
use std::str::FromStr;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// Rows that are turned into their byte form at a time.
const SLICE_ROWS: usize = 16 * 1024;

/// 128 bits that tell contents apart. Text: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub u128);

impl Digest {
    /// Returns the digest of rows: of their columns, and the wrapping sum over the rows' hashes. So the order of rows does
    /// not count, and a row that is there twice does.
    pub(crate) fn of_rows(columns: &Schema, batches: &[RecordBatch]) -> Result<Self, ArrowError> {
        let mut head = Xxh3::new();
        for field in columns.fields() {
            head.update(field.name().as_bytes());
            head.update(&[0]);
            head.update(field.data_type().to_string().as_bytes());
            head.update(&[0]);
        }
        let mut sum = head.digest128();
        each_row(columns, batches, |row| {
            sum = sum.wrapping_add(xxh3_128(row));
            true
        })?;
        Ok(Self(sum))
    }
}

/// Gives each row of some columns in a form in which equal rows, and no others, have equal bytes, until `give` says that
/// it has enough.
pub(crate) fn each_row(
    columns: &Schema,
    batches: &[RecordBatch],
    mut give: impl FnMut(&[u8]) -> bool,
) -> Result<(), ArrowError> {
    if columns.fields().is_empty() {
        return Ok(());
    }
    let fields = columns.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    for batch in batches {
        for from in (0..batch.num_rows()).step_by(SLICE_ROWS) {
            let slice = batch.slice(from, SLICE_ROWS.min(batch.num_rows() - from));
            let rows = converter.convert_columns(slice.columns())?;
            for row in &rows {
                if !give(row.as_ref()) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_csv;

    fn digest(text: &str) -> Digest {
        let batch = read_csv(text.as_bytes(), None).unwrap();
        Digest::of_rows(&batch.schema(), &[batch]).unwrap()
    }

    #[test]
    fn the_order_of_rows_does_not_count_and_everything_else_does() {
        let base = digest("a,b\n1,x\n2,\n");
        assert_eq!(base, digest("a,b\n2,\n1,x\n"));
        for other in ["a,c\n1,x\n2,\n", "a,b\n1,x\n", "a,b\n1,x\n2,\n2,\n", "a,b\n1,y\n2,\n", "a,b\n1.0,x\n2.0,\n"] {
            assert_ne!(base, digest(other), "{other}");
        }
        assert_eq!(base.to_string().parse::<Digest>().unwrap(), base);
    }
}
