//! Other writers' versions: what they did to rows, read from the Delta log's files.
//!
//! A version is ours if its commit says that weir made it; a second weir is told apart by the count of commits (see
//! [`crate::transact`]). Of all others, the files that they add or remove with `dataChange` say which partitions they
//! changed. Of ours, only a change of columns that fills in values is like that. A version whose file is gone, or too large to look through, may have changed anything.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use futures::{FutureExt, TryFutureExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Deserialize;
use weir_types::TableName;

use crate::error::{CommitError, OpenError};
use crate::log::{ENGINE_NAME, RESHAPE};
use crate::partition;
use crate::place::{Layout, Place};
use crate::table::Table;

/// The largest file of a version that is looked through.
const VERSION_BYTES_MAX: u64 = 256 << 20;
/// Versions' files that are read at once.
const READS_AT_ONCE: usize = 16;
/// Versions that are looked through at most: more may have changed anything.
pub(crate) const VERSIONS_MAX: u64 = 10_000;

/// What other writers did in some versions.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    /// The partitions whose rows they changed, as far as they say.
    partitions: BTreeSet<partition::Key>,
    /// Whether they may have changed any.
    any: bool,
    /// Each version, in order.
    pub(crate) versions: Vec<ForeignVersion>,
}

/// A version that another writer made, and that changes rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ForeignVersion {
    pub(crate) version: u64,
    pub(crate) writer: String,
    pub(crate) operation: String,
    pub(crate) files_added: u64,
    pub(crate) rows_added: u64,
    pub(crate) files_removed: u64,
}

impl Foreign {
    /// Logs what was found.
    pub(crate) fn warn(&self, table: &TableName) {
        for found in &self.versions {
            let ForeignVersion { version, writer, operation, files_added, files_removed, .. } = found;
            tracing::warn!(%table, version, %writer, %operation, files_added, files_removed, "another writer changed rows");
        }
    }

    /// Returns the partitions that may have changed, given what the table holds now.
    pub(crate) fn partitions_of(
        self,
        known: &BTreeMap<partition::Key, u64>,
        places: impl Iterator<Item = Place>,
    ) -> BTreeSet<partition::Key> {
        let mut partitions = self.partitions;
        if self.any {
            partitions.extend(known.keys());
            partitions.extend(places.map(Place::partition));
        }
        partitions
    }
}

/// One line of a version's file, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "commitInfo")]
    commit_info: Option<CommitInfo>,
    add: Option<FileAction>,
    remove: Option<FileAction>,
}

#[derive(Deserialize)]
struct CommitInfo {
    #[serde(rename = "engineInfo")]
    engine_info: Option<String>,
    operation: Option<String>,
}

#[derive(Deserialize)]
struct FileAction {
    path: String,
    #[serde(rename = "partitionValues")]
    partition_values: Option<std::collections::HashMap<String, Option<String>>>,
    #[serde(rename = "dataChange", default = "yes")]
    data_change: bool,
    stats: Option<String>,
}

fn yes() -> bool {
    true
}

/// What one version did.
enum Read {
    /// It is ours, and said itself which partitions it changed.
    Ours,
    /// Another writer's; or ours, without a version, if it changed partitions and did not say so.
    Other { version: Option<ForeignVersion>, partitions: BTreeSet<partition::Key>, any: bool },
}

/// Reads a version's file.
fn read(version: u64, bytes: &[u8], layout: Layout) -> Read {
    let mut found = ForeignVersion { version, writer: "an unknown writer".to_owned(), ..ForeignVersion::default() };
    let (mut partitions, mut any, mut is_ours) = (BTreeSet::new(), false, false);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        // What can't be read may be anything.
        let Ok(line) = serde_json::from_slice::<Line>(line) else {
            any = true;
            continue;
        };
        if let Some(info) = line.commit_info {
            found.operation = info.operation.unwrap_or_default();
            if let Some(engine) = info.engine_info {
                is_ours = engine.starts_with(ENGINE_NAME);
                if is_ours && found.operation != RESHAPE {
                    return Read::Ours;
                }
                found.writer = engine;
            }
        }
        if let Some(add) = line.add.filter(|add| add.data_change) {
            found.files_added += 1;
            let rows = add.stats.as_deref().and_then(|stats| crate::statistics::parse(stats, None).0);
            found.rows_added += rows.unwrap_or(0);
            any |= !note(&add, layout, &mut partitions);
        }
        if let Some(remove) = line.remove.filter(|remove| remove.data_change) {
            found.files_removed += 1;
            any |= !note(&remove, layout, &mut partitions);
        }
    }
    let changes_rows = found.files_added + found.files_removed > 0;
    Read::Other { version: (changes_rows && !is_ours).then_some(found), partitions, any }
}

/// Notes the partition of a file; false if it can't be told. Removals may come without partition values: then the
/// folder's name says, in the tables of those writers that name folders so.
fn note(action: &FileAction, layout: Layout, partitions: &mut BTreeSet<partition::Key>) -> bool {
    let place = match &action.partition_values {
        Some(values) => layout.parse(|name| values.get(name)?.as_deref().filter(|value| !value.is_empty())),
        None => layout.parse(|name| {
            let (_, value) =
                action.path.split('/').filter_map(|part| part.split_once('=')).find(|(key, _)| *key == name)?;
            Some(value)
        }),
    };
    // Without values, and without folders, a day would read as null.
    let is_known = action.partition_values.is_some() || !layout.day || action.path.contains('=');
    let place = place.filter(|_| is_known);
    partitions.extend(place.map(Place::partition));
    place.is_some()
}

impl Table {
    /// Looks what other writers did to rows in the versions after one, up to another.
    pub(crate) async fn foreign_between(&self, after: u64, up_to: u64) -> Result<Foreign, CommitError> {
        let mut foreign = Foreign::default();
        if up_to.saturating_sub(after) > VERSIONS_MAX {
            foreign.any = true;
            return Ok(foreign);
        }
        let read = |version| {
            let file = self.version_file(version);
            file.map_ok(move |file| file.map(|bytes| read(version, &bytes, self.layout))).boxed()
        };
        let mut reads = stream::iter((after + 1..=up_to).map(read)).buffered(READS_AT_ONCE);
        while let Some(read) = reads.try_next().await.map_err(|error| self.failed(error.into()))? {
            match read {
                // It is gone.
                None => foreign.any = true,
                Some(Read::Ours) => {}
                Some(Read::Other { version, partitions, any }) => {
                    foreign.versions.extend(version);
                    foreign.partitions.extend(partitions);
                    foreign.any |= any;
                }
            }
        }
        Ok(foreign)
    }

    /// Returns where a version's file is.
    pub(crate) fn version_path(&self, version: u64) -> Path {
        self.folder.clone().join("_delta_log").join(format!("{version:020}.json"))
    }

    /// Reads a version's file; none if it is gone or too large.
    pub(crate) async fn version_file(&self, version: u64) -> Result<Option<Bytes>, object_store::Error> {
        match self.store.get(&self.version_path(version)).await {
            Ok(found) if found.meta.size > VERSION_BYTES_MAX => Ok(None),
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes what other writers did after the version that the last commit of rows made, before the table is used.
    pub(crate) async fn note_foreign_since(&self, seen: Option<u64>) -> Result<(), CommitError> {
        // A table without commits of rows, or an older weir's: there is nothing that it could be compared with.
        let Some(seen) = seen else { return Ok(()) };
        let mut writing = self.writing.lock().await;
        let version = writing.snapshot.version();
        if version <= seen {
            return Ok(());
        }
        let foreign = self.foreign_between(seen, version).await?;
        foreign.warn(&self.spec.name);
        let partitions = {
            let state = self.state();
            foreign.partitions_of(&state.changed, state.files.list().iter().map(|file| file.place))
        };
        writing.foreign.extend(partitions);
        self.note_foreign(&mut writing).await
    }

    /// Takes over what other writers did meanwhile, and notes it: a table without traffic of its own learns it here.
    /// Says whether there is a new version.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn refresh(&self) -> Result<bool, CommitError> {
        let mut writing = self.writing.lock().await;
        self.resolve(&mut writing).await?;
        let before = writing.snapshot.version();
        let newest = self.log.refresh(writing.snapshot.clone()).await.map_err(|error| self.failed(error))?;
        if newest.version() == before {
            return Ok(false);
        }
        self.adopt(&mut writing, None).await?;
        self.note_foreign(&mut writing).await?;
        Ok(true)
    }

    /// Says why the table did not open.
    pub(crate) fn not_open(&self, error: CommitError) -> OpenError {
        OpenError::Note { table: self.spec.name.clone(), source: Box::new(error) }
    }
}
