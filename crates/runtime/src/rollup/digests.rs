//! Digests of lookups' contents, so that new contents are told from a refresh that brought the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayData, RecordBatch};
use weir_function::Lookups;
use weir_types::LookupName;
use xxhash_rust::xxh3::Xxh3;

type Rows = Arc<Vec<RecordBatch>>;

/// The digests of the contents that were seen last.
#[derive(Default)]
pub(super) struct Digests(Mutex<BTreeMap<LookupName, (Rows, u128)>>);

impl Digests {
    /// Returns the digest of each of some lookups. One that is not loaded has none.
    pub fn of<'a>(&self, lookups: &Lookups, names: &'a [LookupName]) -> Vec<(&'a str, u128)> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let digests = names.iter().filter_map(|name| {
            let rows = lookups.get(name)?;
            let digest = match known.get(name) {
                Some((same, digest)) if Arc::ptr_eq(same, rows) => *digest,
                _ => {
                    let digest = digest(rows);
                    known.insert(name.clone(), (rows.clone(), digest));
                    digest
                }
            };
            Some((name.as_str(), digest))
        });
        digests.collect()
    }
}

fn digest(rows: &[RecordBatch]) -> u128 {
    let mut hash = Xxh3::new();
    for batch in rows {
        hash.update(&(batch.num_rows() as u64).to_le_bytes());
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            hash.update(field.name().as_bytes());
            hash.update(field.data_type().to_string().as_bytes());
            update(&mut hash, &column.to_data());
        }
    }
    hash.digest128()
}

/// Equal buffers are equal values. Other buffers may be, too: then a rollup is computed once more.
fn update(hash: &mut Xxh3, data: &ArrayData) {
    hash.update(&(data.len() as u64).to_le_bytes());
    hash.update(&(data.offset() as u64).to_le_bytes());
    if let Some(nulls) = data.nulls() {
        nulls.iter().for_each(|valid| hash.update(&[u8::from(valid)]));
    }
    for buffer in data.buffers() {
        hash.update(&(buffer.len() as u64).to_le_bytes());
        hash.update(buffer.as_slice());
    }
    data.child_data().iter().for_each(|child| update(hash, child));
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn lookups(values: &[Option<&str>]) -> Lookups {
        let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(values.to_vec()))]).unwrap();
        let mut lookups = Lookups::default();
        lookups.insert("airlines".parse().unwrap(), Arc::new(vec![batch]));
        lookups
    }

    #[test]
    fn equal_contents_have_equal_digests_and_others_have_not() {
        let names = ["airlines".parse().unwrap(), "missing".parse().unwrap()];
        let digests = Digests::default();
        let first = digests.of(&lookups(&[Some("a"), None]), &names);
        assert_eq!(first.len(), 1);
        assert_eq!(digests.of(&lookups(&[Some("a"), None]), &names), first);
        for other in [&[Some("a")][..], &[Some("a"), Some("")], &[Some("b"), None], &[None, Some("a")]] {
            assert_ne!(digests.of(&lookups(other), &names), first);
        }
    }
}
