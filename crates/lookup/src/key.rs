//! A key that must be in one row alone: a join over it gives each record one row at most.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::util::display::array_value_to_string;
use xxhash_rust::xxh3::xxh3_128;

use crate::digest::each_row;
use crate::error::LoadError;

/// Characters of a value that an error shows.
const SHOWN_CHARS_MAX: usize = 64;

/// Refuses rows that share a key. 128 bits of hash stand for each: 16 bytes a row while it runs.
pub(crate) fn check(place: &str, key: &[String], batches: &[RecordBatch]) -> Result<(), LoadError> {
    if key.is_empty() {
        return Ok(());
    }
    let built = |source| LoadError::Build { place: place.to_owned(), source };
    let keys = batches.iter().map(|batch| projected(place, key, batch)).collect::<Result<Vec<_>, _>>()?;
    let columns = keys.first().map_or_else(|| Schema::empty().into(), RecordBatch::schema);
    let mut hashes = Vec::with_capacity(keys.iter().map(RecordBatch::num_rows).sum());
    each_row(&columns, &keys, |row| {
        hashes.push(xxh3_128(row));
        true
    })
    .map_err(built)?;
    let in_order = {
        let mut sorted = hashes.clone();
        sorted.sort_unstable();
        sorted
    };
    let Some(repeated) = in_order.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]) else {
        return Ok(());
    };
    let at = hashes.iter().position(|hash| *hash == repeated).unwrap_or_default();
    Err(LoadError::RepeatedKey { place: place.to_owned(), key: shown(&keys, at) })
}

fn projected(place: &str, key: &[String], batch: &RecordBatch) -> Result<RecordBatch, LoadError> {
    let mut places = Vec::new();
    for column in key {
        let index = batch.schema().index_of(column);
        places.push(index.map_err(|_| LoadError::NoColumn { place: place.to_owned(), column: column.clone() })?);
    }
    batch.project(&places).map_err(|source| LoadError::Build { place: place.to_owned(), source })
}

/// Names the columns and values of a row.
fn shown(keys: &[RecordBatch], mut row: usize) -> String {
    for batch in keys {
        if row < batch.num_rows() {
            let schema = batch.schema();
            let values = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
                let value = array_value_to_string(column, row).unwrap_or_default();
                let value: String = value.chars().take(SHOWN_CHARS_MAX).collect();
                format!("{} `{value}`", field.name())
            });
            return values.collect::<Vec<_>>().join(", ");
        }
        row -= batch.num_rows();
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_csv;

    fn checked(key: &[&str], texts: &[&str]) -> Result<(), String> {
        let batches: Vec<RecordBatch> = texts.iter().map(|text| read_csv(text.as_bytes(), None).unwrap()).collect();
        let key: Vec<String> = key.iter().map(|&column| column.to_owned()).collect();
        check("test", &key, &batches).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_in_two_rows_is_named() {
        assert_eq!(checked(&["a"], &["a,b\n1,x\n2,x\n", "a,b\n3,x\n"]), Ok(()));
        let error = checked(&["a"], &["a,b\n1,x\n2,x\n", "a,b\n3,x\n2,y\n"]).unwrap_err();
        assert_eq!(error, "`test` has the key a `2` in more than one row");
        let error = checked(&["b", "a"], &["a,b\n1,x\n2,x\n1,x\n"]).unwrap_err();
        assert_eq!(error, "`test` has the key b `x`, a `1` in more than one row");
        assert!(checked(&["c"], &["a,b\n1,x\n"]).unwrap_err().contains("no column `c`"));
    }
}
