//! Merging: many small files of a place become one, with the same rows.
//!
//! Files are sorted into tiers by size, each four times the last. Eight files of one tier and place are merged, so that
//! a row is rewritten about once per tier however fast files come; where nothing was written for an hour, all small
//! files are. Files are read row group by row group and written as they are read; the log swaps them in one version
//! that says that no data changed. The replaced files stay until a vacuum.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::WriteMultipart;
use object_store::path::Path;
use weir_types::Timestamp;

use crate::error::{FileError, MergeError};
use crate::file::DataFile;
use crate::log::{Add, Change};
use crate::outcome::Merged;
use crate::place::Place;
use crate::reader::Reader;
use crate::table::Table;
use crate::writer::{Finished, Writer};

/// The first tier: files smaller than this.
const TIER_BYTES: u64 = 64 << 10;
/// How many files of one tier are merged.
const TIER_FILES: usize = 8;
/// Files of one merge at most.
const FILES_MAX: usize = 256;
/// How long a place must have been left alone until all its small files are merged.
const COLD_AFTER: Duration = Duration::from_secs(3600);
/// Small files that make a cold place worth it.
const COLD_FILES: usize = 2;
/// Bytes of one part of an upload: what object stores take at least, but for the last.
const PART_BYTES: usize = 8 << 20;
/// Parts in flight at once.
const PARTS_AT_ONCE: usize = 4;

impl Table {
    /// Merges small files of one place, if there are any worth it. One call does one merge of at most
    /// [`Spec::target_file_bytes`](crate::Spec::target_file_bytes); see [`Merged::more`]. Appends, commits and views go
    /// on meanwhile.
    ///
    /// # Errors
    /// See [`MergeError`].
    pub async fn merge(&self) -> Result<Merged, MergeError> {
        let _one = self.merging.lock().await;
        // They are all rewritten soon, and may lack columns of the id until then.
        if self.reshaping().is_some() {
            return Ok(Merged::default());
        }
        let Some((place, files, more)) = self.choose() else { return Ok(Merged::default()) };
        let columns = self.columns();
        let add = self.rewrite(place, &columns, &files).await?;
        let merged = Merged {
            files_in: files.len() as u64,
            files_out: 1,
            rows: add.file.rows.unwrap_or(0),
            bytes_in: files.iter().map(|file| file.size).sum(),
            bytes_out: add.file.size,
            more,
        };
        let removes: HashSet<String> = files.iter().map(|file| file.path.clone()).collect();
        let adds = Arc::new(vec![add]);
        let mut writing = self.writing.lock().await;
        let swapped = self.transact(&mut writing, |_| {
            let state = self.state();
            let held = state.files.at(place).iter().filter(|file| removes.contains(&file.path)).count();
            (held == removes.len()).then(|| Change::Replace { adds: adds.clone(), removes: removes.clone() })
        });
        let swapped = swapped.await?;
        self.checkpoint_if_due(&mut writing).await;
        // Another writer has replaced some of them; ours is an orphan, and the next call looks again.
        Ok(if swapped { merged } else { Merged { more: true, ..Merged::default() } })
    }

    /// Chooses the files of one merge, and whether there is another.
    fn choose(&self) -> Option<(Place, Vec<Arc<DataFile>>, bool)> {
        let cold_before = self.env.now().before(COLD_AFTER);
        let state = self.state();
        let mut choices = state.files.places().filter_map(|(place, files)| {
            let chosen = choose_at(files, self.spec.target_file_bytes, cold_before);
            (!chosen.is_empty()).then_some((*place, chosen))
        });
        let (place, files) = choices.next()?;
        let more = choices.next().is_some() || files.len() == FILES_MAX;
        Some((place, files, more))
    }

    async fn rewrite(&self, place: Place, columns: &SchemaRef, files: &[Arc<DataFile>]) -> Result<Add, FileError> {
        let (path, location) = self.name_file(place);
        let failed = |source: object_store::Error| wrap(&location, source);
        let upload = self.store.put_multipart(&location).await.map_err(failed)?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let (finished, written) = match self.copy(columns, files, &mut parts, &location).await {
            Ok(copied) => copied,
            Err(error) => {
                // What was uploaded has no name yet; if it can't be taken back either, a vacuum will.
                if let Err(error) = parts.abort().await {
                    tracing::warn!(table = %self.spec.name, path = %location, %error, "an upload was not taken back");
                }
                return Err(error);
            }
        };
        parts.finish().await.map_err(failed)?;
        let Finished { rows, statistics, filter, .. } = finished;
        self.remember(&path, filter);
        let times = self.spec.partition_by.column().and_then(|column| statistics.times(columns, column));
        let file = DataFile { location, path, size: written, rows: Some(rows), place, times, modified: self.env.now() };
        Ok(Add { file, statistics })
    }

    async fn copy(
        &self,
        columns: &SchemaRef,
        files: &[Arc<DataFile>],
        parts: &mut WriteMultipart,
        location: &Path,
    ) -> Result<(Finished, u64), FileError> {
        let mut readers = Vec::with_capacity(files.len());
        for file in files {
            readers.push(Reader::open(self.store.clone(), file.clone()).await?);
        }
        let total = readers.iter().map(Reader::rows).sum();
        let start = |sample: &RecordBatch| {
            let writer = Writer::new(columns.clone(), sample).map_err(|source| wrap(location, source))?;
            Ok(if self.spec.unique_by.is_empty() { writer } else { writer.with_filter(total, &self.scheme) })
        };
        let mut writer: Option<Writer> = None;
        let mut written = 0;
        for reader in readers {
            let mut rows = reader.rows_as(&self.spec.name, columns)?;
            while let Some(batch) = rows.try_next().await? {
                let writer = match &mut writer {
                    Some(writer) => writer,
                    // The first batch stands for the rest.
                    none => none.insert(start(&batch)?),
                };
                if !self.spec.unique_by.is_empty() {
                    let ids = self.ids_of(&batch).map_err(|source| wrap(location, source))?;
                    writer.write_ids(ids);
                }
                writer.write(&batch).map_err(|source| wrap(location, source))?;
                written += send(parts, writer.take(), location).await?;
            }
        }
        let writer = match writer {
            Some(writer) => writer,
            None => start(&RecordBatch::new_empty(columns.clone()))?,
        };
        let mut finished = writer.finish().map_err(|source| wrap(location, source))?;
        written += send(parts, std::mem::take(&mut finished.bytes), location).await?;
        Ok((finished, written))
    }

    fn ids_of(&self, batch: &RecordBatch) -> Result<Vec<u128>, arrow::error::ArrowError> {
        crate::route::ids(&self.spec, &self.hasher, batch)
    }
}

async fn send(parts: &mut WriteMultipart, bytes: Vec<u8>, location: &Path) -> Result<u64, FileError> {
    let length = bytes.len() as u64;
    if length > 0 {
        parts.wait_for_capacity(PARTS_AT_ONCE).await.map_err(|source| wrap(location, source))?;
        parts.put(bytes.into());
    }
    Ok(length)
}

fn wrap(location: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FileError {
    FileError { verb: "write", path: location.clone(), source: source.into() }
}

fn tier(size: u64) -> u32 {
    (size / TIER_BYTES).checked_ilog2().map_or(0, |log| log / 2 + 1)
}

/// Chooses files of one place; none if there are too few.
fn choose_at(files: &[Arc<DataFile>], target_bytes: u64, cold_before: Timestamp) -> Vec<Arc<DataFile>> {
    let mut small: Vec<&Arc<DataFile>> = files.iter().filter(|file| file.size < target_bytes / 2).collect();
    small.sort_by_key(|file| (tier(file.size), file.modified, file.path.clone()));
    let is_cold = files.iter().all(|file| file.modified < cold_before);
    let fit = |files: &[&Arc<DataFile>]| {
        let mut bytes = 0;
        let fitting = files.iter().take(FILES_MAX).take_while(|file| {
            bytes += file.size;
            bytes <= target_bytes
        });
        fitting.map(|file| (*file).clone()).collect::<Vec<_>>()
    };
    if is_cold {
        let chosen = fit(&small);
        return if chosen.len() >= COLD_FILES { chosen } else { Vec::new() };
    }
    for tier_files in small.chunk_by(|a, b| tier(a.size) == tier(b.size)) {
        let chosen = fit(tier_files);
        if tier_files.len() >= TIER_FILES && chosen.len() > 1 {
            return chosen;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, size: u64, modified: i64) -> Arc<DataFile> {
        Arc::new(DataFile {
            location: Path::from(name),
            path: name.to_owned(),
            size,
            rows: Some(1),
            place: Place::default(),
            times: None,
            modified: Timestamp(modified),
        })
    }

    const HOT: Timestamp = Timestamp(i64::MIN);

    #[test]
    fn eight_files_of_one_tier_are_merged_and_not_with_larger_ones() {
        let mut files: Vec<_> = (0..7).map(|n| file(&format!("s{n}"), 1000, n)).collect();
        files.push(file("large", 5 << 20, 0));
        assert!(choose_at(&files, 256 << 20, HOT).is_empty());
        files.push(file("s7", 1000, 7));
        let chosen = choose_at(&files, 256 << 20, HOT);
        assert_eq!(chosen.len(), 8);
        assert!(chosen.iter().all(|file| file.size == 1000));
    }

    #[test]
    fn a_merge_is_no_larger_than_the_target_and_whole_files_are_left_alone() {
        let files: Vec<_> = (0..20).map(|n| file(&format!("s{n}"), 40 << 20, n)).collect();
        assert_eq!(choose_at(&files, 128 << 20, HOT).len(), 3);
        let files: Vec<_> = (0..20).map(|n| file(&format!("s{n}"), 64 << 20, n)).collect();
        assert!(choose_at(&files, 128 << 20, HOT).is_empty());
    }

    #[test]
    fn all_small_files_of_a_cold_place_are_merged() {
        let files = vec![file("a", 1000, 1), file("b", 3 << 20, 2), file("c", 200 << 20, 3)];
        assert_eq!(choose_at(&files, 256 << 20, Timestamp(10)).len(), 2);
        assert!(choose_at(&files[1..], 256 << 20, Timestamp(10)).is_empty());
        assert!(choose_at(&files, 256 << 20, Timestamp(3)).is_empty());
    }
}
