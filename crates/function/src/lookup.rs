//! Lookups: snapshots of reference data that functions join with. Where they are read from is not known here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use weir_types::LookupName;

/// The lookups' contents at one moment. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lookups {
    rows: BTreeMap<LookupName, Arc<Vec<RecordBatch>>>,
}

impl Lookups {
    /// Replaces a lookup's rows. All batches must have one schema.
    pub fn insert(&mut self, name: LookupName, rows: Arc<Vec<RecordBatch>>) {
        self.rows.insert(name, rows);
    }

    /// Returns a lookup's rows.
    pub fn get(&self, name: &LookupName) -> Option<&Arc<Vec<RecordBatch>>> {
        self.rows.get(name)
    }

    /// Returns each lookup and its rows, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&LookupName, &Arc<Vec<RecordBatch>>)> {
        self.rows.iter()
    }
}
