//! Values of rows: whether a row that comes again is the same one, or another with the same id.
//!
//! Rows are compared by a 64-bit keyed hash of all their columns, in Arrow's row form. Two different rows are taken for
//! equal with odds of 2^-64; the key is made with the process and never stored, so nobody can aim at it. Hashes of rows
//! in files are made per row group and kept in a cache, next to the ids.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use futures::TryStreamExt;
use siphasher::sip::SipHasher13;

use crate::error::FileError;
use crate::file::DataFile;
use crate::reader::Reader;
use crate::table::{Counters, Table};

/// What a row of a file takes in the cache: its id and its hash.
const ROW_BYTES: u64 = 24;

/// Hashes rows of one schema.
pub(crate) struct Values {
    converter: RowConverter,
    sip: SipHasher13,
}

impl Values {
    pub(crate) fn new(columns: &Schema, key: [u8; 16]) -> Result<Self, ArrowError> {
        let fields = columns.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        Ok(Self { converter: RowConverter::new(fields.collect())?, sip: SipHasher13::new_with_key(&key) })
    }

    /// Returns the hash of each row.
    pub(crate) fn hashes(&self, batch: &RecordBatch) -> Result<Vec<u64>, ArrowError> {
        let rows = self.converter.convert_columns(batch.columns())?;
        Ok(rows.iter().map(|row| self.sip.hash(row.as_ref())).collect())
    }
}

/// The rows of a row group: ids in order, and the hash of each.
pub(crate) struct Held {
    ids: Box<[u128]>,
    hashes: Box<[u64]>,
}

impl Held {
    fn of(mut rows: Vec<(u128, u64)>) -> Self {
        rows.sort_unstable();
        Self { ids: rows.iter().map(|(id, _)| *id).collect(), hashes: rows.into_iter().map(|(_, hash)| hash).collect() }
    }

    fn get(&self, id: u128) -> Option<u64> {
        self.ids.binary_search(&id).ok().map(|at| self.hashes[at])
    }
}

impl Table {
    pub(crate) fn values(&self, columns: &Schema) -> Result<Values, ArrowError> {
        Values::new(columns, self.values_key)
    }

    /// Finds rows in a file by id and event time (or [`NO_TIME`](crate::route::NO_TIME)), and returns the hashes of
    /// those that are there.
    pub(crate) async fn hashes_in(
        &self,
        file: &Arc<DataFile>,
        columns: &SchemaRef,
        wanted: &HashMap<u128, i64>,
    ) -> Result<HashMap<u128, u64>, FileError> {
        let footer = self.footer_of(file).await?;
        let mut found = HashMap::new();
        for (group, about) in footer.groups.iter().enumerate() {
            let may_hold = |time: i64| {
                time == crate::route::NO_TIME || about.times.is_none_or(|(least, most)| (least..=most).contains(&time))
            };
            let here = || wanted.iter().filter(|(id, time)| may_hold(**time) && !found.contains_key(*id));
            let here: Vec<u128> = here().map(|(id, _)| *id).collect();
            if !here.is_empty() {
                self.hashes_in_group(file, group, about.rows, columns, here, &mut found).await?;
            }
        }
        Ok(found)
    }

    /// Looks in one row group. Its rows are kept if they are few enough; else they are only passed by.
    async fn hashes_in_group(
        &self,
        file: &Arc<DataFile>,
        group: usize,
        rows: u64,
        columns: &SchemaRef,
        wanted: Vec<u128>,
        found: &mut HashMap<u128, u64>,
    ) -> Result<(), FileError> {
        // Columns that were added change what a row's values are.
        let mut schema = DefaultHasher::new();
        columns.hash(&mut schema);
        let name = format!("{}#{group}#{:x}", file.path, schema.finish());
        if let Some(held) = self.held.get(&name) {
            found.extend(wanted.into_iter().filter_map(|id| Some((id, held.get(id)?))));
            return Ok(());
        }
        Counters::add(&self.counters.id_reads, 1);
        let failed =
            |source: ArrowError| FileError { verb: "read", path: file.location.clone(), source: source.into() };
        let values = self.values(columns).map_err(failed)?;
        let keep = rows.saturating_mul(ROW_BYTES) <= self.held.bytes_max() / 2;
        let mut wanted: HashSet<u128> = wanted.into_iter().collect();
        let mut held = Vec::new();
        let reader = Reader::open(self.store.clone(), file.clone()).await?;
        let mut batches = reader.group_as(group, &self.spec.name, columns)?;
        while let Some(batch) = batches.try_next().await? {
            let ids = crate::route::ids(&self.spec, &self.hasher, &batch).map_err(failed)?;
            let hashes = values.hashes(&batch).map_err(failed)?;
            for (id, hash) in ids.into_iter().zip(hashes) {
                if wanted.remove(&id) {
                    found.insert(id, hash);
                }
                if keep {
                    held.push((id, hash));
                }
            }
            if !keep && wanted.is_empty() {
                break;
            }
        }
        if keep {
            let bytes = held.len() as u64 * ROW_BYTES;
            self.held.insert(&name, Arc::new(Held::of(held)), bytes);
        }
        Ok(())
    }
}
