//! The last good readings, kept as objects: `lookups/NAME/VERSION-CHECKSUM.parquet`, each whole or not there.
//!
//! The footer says what the rows are: definition, digest, time. Invariant: what is given back is what was kept, under the
//! definition that it was kept under; a damaged one is told, and the one before it taken. The last two are kept.
//! `confirmed.json` beside them says when the source last had the newest one's rows; without it, that was when it was kept.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use weir_types::{LookupName, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use crate::digest::Digest;
use crate::error::LoadError;
use crate::load::{Loaded, blocking};
use crate::rows::bytes_of;
use crate::source::Spec;

/// How many snapshots of a lookup stay.
const KEPT: usize = 2;
const ENDING: &str = ".parquet";
const CONFIRMED: &str = "confirmed.json";

const DEFINITION_KEY: &str = "weir.lookup.definition";
const DIGEST_KEY: &str = "weir.lookup.digest";
const LOADED_KEY: &str = "weir.lookup.loaded_at";

/// Which content a lookup has. The number grows by one with each other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Counted from 1.
    pub number: u64,
    /// Of the rows.
    pub digest: Digest,
}

/// A reading that was kept.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Which it is.
    pub version: Version,
    /// When it was read from the source first.
    pub loaded_at: Timestamp,
    /// When the source had the same rows last.
    pub confirmed_at: Timestamp,
    /// The columns.
    pub columns: SchemaRef,
    /// The rows: one batch at least.
    pub batches: Arc<Vec<RecordBatch>>,
    /// How many rows there are.
    pub rows: u64,
    /// What they take in memory.
    pub bytes: u64,
}

/// A snapshot that could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The object store failed.
    #[error("{action} `{path}`")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The object.
        path: Path,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
    /// The rows can't be written as Parquet.
    #[error("write the snapshot `{path}`")]
    Write {
        /// The object.
        path: Path,
        /// The cause.
        #[source]
        source: ::parquet::errors::ParquetError,
    },
    /// The writing itself broke down.
    #[error("the writing of the snapshot `{path}` was cut off")]
    CutOff {
        /// The object.
        path: Path,
    },
}

#[derive(Serialize, Deserialize)]
struct Confirmed {
    number: u64,
    at: Timestamp,
}

/// A snapshot's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    number: u64,
    /// Of the object's bytes: what is damaged does not get as far as the decoder.
    checksum: u64,
}

impl Named {
    fn read(name: &str) -> Option<Self> {
        let (number, checksum) = name.strip_suffix(ENDING)?.split_once('-')?;
        Some(Self { number: number.parse().ok()?, checksum: u64::from_str_radix(checksum, 16).ok()? })
    }
}

/// Where snapshots are kept.
#[derive(Debug, Clone)]
pub struct Snapshots {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

impl Snapshots {
    /// Keeps snapshots in `lookups/` of `store`, which must make objects durable, and whole, before `put` returns.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, root: Path::from("lookups") }
    }

    /// The snapshots in a folder, to be read; `None` if there is no such folder. Who keeps some needs a store that makes
    /// them durable.
    pub fn in_folder(path: &std::path::Path) -> Option<Self> {
        let store = object_store::local::LocalFileSystem::new_with_prefix(path).ok()?;
        Some(Self::new(Arc::new(store)))
    }

    /// Keeps a reading as the next version, and forgets all but the last few. Rows that the newest version has already
    /// should be confirmed instead.
    ///
    /// # Errors
    /// See [`KeepError`]; earlier snapshots are untouched then.
    pub async fn keep(&self, spec: &Spec, loaded: &Loaded, now: Timestamp) -> Result<Version, KeepError> {
        let mut names = self.names(&spec.name).await?;
        let number = names.first().map_or(1, |newest| newest.number + 1);
        let folder = self.folder(&spec.name);
        let (definition, loaded) = (spec.definition(), loaded.clone());
        let digest = loaded.digest;
        let encoded = tokio::task::spawn_blocking(move || encode(&loaded, definition, now)).await;
        let object = encoded
            .map_err(|_| KeepError::CutOff { path: folder.clone() })?
            .map_err(|source| KeepError::Write { path: folder, source })?;
        let named = Named { number, checksum: xxh3_64(&object) };
        let path = self.path(&spec.name, named);
        let put = self.store.put(&path, PutPayload::from(object)).await;
        put.map_err(|source| KeepError::Store { action: "write", path, source })?;
        names.insert(0, named);
        for old in names.split_off(KEPT.min(names.len())) {
            let path = self.path(&spec.name, old);
            // A leftover costs space, no more: the next one tries again.
            if let Err(error) = self.store.delete(&path).await {
                tracing::warn!(snapshot = %path, %error, "an old snapshot of a lookup could not be deleted");
            }
        }
        Ok(Version { number, digest })
    }

    /// Notes that the source still has a version's rows.
    ///
    /// # Errors
    /// [`KeepError::Store`].
    pub async fn confirm(&self, name: &LookupName, version: Version, now: Timestamp) -> Result<(), KeepError> {
        let path = self.folder(name).join(CONFIRMED);
        let note = Confirmed { number: version.number, at: now };
        let text = serde_json::to_vec(&note).expect("numbers are always JSON");
        let put = self.store.put(&path, PutPayload::from(text)).await;
        put.map(|_| ()).map_err(|source| KeepError::Store { action: "write", path, source })
    }

    /// Returns the newest snapshot that was kept under the spec's definition. Damaged ones are reported in the log, and
    /// passed over.
    ///
    /// # Errors
    /// If the object store fails.
    pub async fn last(&self, spec: &Spec) -> Result<Option<Snapshot>, KeepError> {
        for named in self.names(&spec.name).await? {
            let (path, number) = (self.path(&spec.name, named), named.number);
            let read = async { self.store.get(&path).await?.bytes().await };
            let object =
                read.await.map_err(|source| KeepError::Store { action: "read", path: path.clone(), source })?;
            let decoded = tokio::task::spawn_blocking(move || match xxh3_64(&object) == named.checksum {
                true => decode(object, number),
                false => Err("its checksum does not match".to_owned()),
            });
            let decoded = decoded.await;
            match decoded.map_err(|_| KeepError::CutOff { path: path.clone() })? {
                Ok((definition, _)) if definition != spec.definition() => return Ok(None),
                Ok((_, mut snapshot)) => {
                    if let Some(confirmed) = self.confirmed(&spec.name).await.filter(|note| note.number == number) {
                        snapshot.confirmed_at = confirmed.at.max(snapshot.confirmed_at);
                    }
                    return Ok(Some(snapshot));
                }
                Err(reason) => {
                    tracing::error!(snapshot = %path, reason, "a lookup's snapshot is damaged; using the one before");
                }
            }
        }
        Ok(None)
    }

    /// Returns the newest version's number, whatever its definition; 0: there is none.
    ///
    /// # Errors
    /// If the object store fails.
    pub async fn newest(&self, name: &LookupName) -> Result<u64, KeepError> {
        Ok(self.names(name).await?.first().map_or(0, |newest| newest.number))
    }

    /// Like [`Snapshots::last`], for callers that are not async.
    ///
    /// # Errors
    /// As there.
    pub fn last_blocking(&self, spec: &Spec) -> Result<Option<Snapshot>, LoadError> {
        blocking(spec, || async {
            self.last(spec).await.map_err(|error| {
                let source = std::io::Error::other(error.to_string());
                LoadError::Read { place: format!("the snapshot of lookup {}", spec.name), source }
            })
        })
    }

    /// An age that can't be told is told as too old.
    async fn confirmed(&self, name: &LookupName) -> Option<Confirmed> {
        let path = self.folder(name).join(CONFIRMED);
        let bytes = self.store.get(&path).await.ok()?.bytes().await.ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Lists what is there, newest first.
    async fn names(&self, name: &LookupName) -> Result<Vec<Named>, KeepError> {
        let folder = self.folder(name);
        let objects: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|source| KeepError::Store { action: "list", path: folder, source })?;
        let mut names: Vec<Named> =
            objects.iter().filter_map(|object| Named::read(object.location.filename()?)).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }

    fn folder(&self, name: &LookupName) -> Path {
        self.root.clone().join(name.as_str())
    }

    fn path(&self, name: &LookupName, named: Named) -> Path {
        self.folder(name).join(format!("{:020}-{:016x}{ENDING}", named.number, named.checksum))
    }
}

fn encode(loaded: &Loaded, definition: Digest, now: Timestamp) -> Result<Vec<u8>, ::parquet::errors::ParquetError> {
    let entry = |key: &str, value: String| KeyValue { key: key.to_owned(), value: Some(value) };
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_key_value_metadata(Some(vec![
            entry(DEFINITION_KEY, definition.to_string()),
            entry(DIGEST_KEY, loaded.digest.to_string()),
            entry(LOADED_KEY, now.0.to_string()),
        ]))
        .build();
    let mut object = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut object, loaded.columns.clone(), Some(properties))?;
    for batch in loaded.batches.iter() {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(object)
}

/// Returns a snapshot and the definition that it was kept under, or what is wrong with it.
fn decode(object: Bytes, number: u64) -> Result<(Digest, Snapshot), String> {
    let told = |error: &dyn std::error::Error| error.to_string();
    let builder = ParquetRecordBatchReaderBuilder::try_new(object).map_err(|error| told(&error))?;
    let entries = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let entry = |key: &str| entries.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.clone());
    let digest = |key: &str| entry(key).and_then(|text| text.parse::<Digest>().ok());
    let (Some(definition), Some(digest), Some(at)) =
        (digest(DEFINITION_KEY), digest(DIGEST_KEY), entry(LOADED_KEY).and_then(|text| text.parse().ok()))
    else {
        return Err("its footer is not a snapshot's".to_owned());
    };
    let columns = SchemaRef::new(builder.schema().as_ref().clone().with_metadata(Default::default()));
    let mut batches = Vec::new();
    for batch in builder.with_batch_size(65_536).build().map_err(|error| told(&error))? {
        let batch = batch.and_then(|batch| batch.with_schema(columns.clone()));
        batches.push(batch.map_err(|error| told(&error))?);
    }
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(columns.clone()));
    }
    let loaded_at = Timestamp(at);
    let (rows, bytes) = (batches.iter().map(|batch| batch.num_rows() as u64).sum(), bytes_of(&batches));
    let version = Version { number, digest };
    let batches = Arc::new(batches);
    Ok((definition, Snapshot { version, loaded_at, confirmed_at: loaded_at, columns, batches, rows, bytes }))
}

#[cfg(test)]
mod tests;
