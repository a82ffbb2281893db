//! The audit: what somebody did to the table behind weir's back.
//!
//! Compares what the Delta log names with what the store has, what the files' footers say with what the log says, and
//! all with what was known at the last audit. Changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use delta_kernel::KernelError;
use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::ObjectStore;
use siphasher::sip::SipHasher13;
use weir_types::Tally;

use crate::error::{AuditError, CommitError, FileError};
use crate::file::DataFile;
use crate::foreign::{ForeignVersion, VERSIONS_MAX};
use crate::log::Contents;
use crate::place::Place;
use crate::table::Table;
use crate::vacuum::{LOG_FOLDER, version_of};

/// Findings that one audit lists. More are counted.
pub const FINDINGS_MAX: usize = 1000;
/// Attempts to load a log that is shortened meanwhile.
const LOADS_MAX: u32 = 4;
/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 32;

/// What the table was like at an audit: give it to the next one. Nothing is known of a table that wasn't audited yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// The version.
    pub version: u64,
    /// How many commits of rows there had been.
    pub commits: u64,
    /// A hash of the version's file in the Delta log; none if it was not there any more.
    pub mark: Option<u64>,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Audit {
    /// What to give to the next audit.
    pub known: Known,
    /// What the files of each place hold, going by their footers.
    pub places: BTreeMap<Place, Tally>,
    /// What is not as it should be, at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many findings are not listed.
    pub more: u64,
}

/// Something that weir did not do, or that is not as it left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A file of the current version is not in the store.
    Missing {
        /// The file, relative to the table's folder.
        path: String,
        /// Where its rows belong.
        place: Place,
        /// How many it had, if the log says.
        rows: Option<u64>,
        /// Its size.
        bytes: u64,
    },
    /// A file of the current version has another size than the log says.
    Resized {
        /// The file.
        path: String,
        /// Where its rows belong.
        place: Place,
        /// The size that the log has.
        bytes: u64,
        /// The size that it has.
        found: u64,
    },
    /// A file can't be read, or its footer says something else than the log.
    Damaged {
        /// The file.
        path: String,
        /// Where its rows belong.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// A file of the current version was not written by weir.
    Foreign {
        /// The file.
        path: String,
        /// Where its rows belong.
        place: Place,
        /// How many it has.
        rows: u64,
    },
    /// Another writer made a version that adds or removes rows.
    ForeignVersion {
        /// The version.
        version: u64,
        /// What made it, as it says.
        writer: String,
        /// What it did, as it says, such as `WRITE` or `RESTORE`.
        operation: String,
        /// Files that it added.
        files_added: u64,
        /// Their rows, as far as the log says.
        rows_added: u64,
        /// Files that it removed.
        files_removed: u64,
    },
    /// The table has fewer versions than it had.
    VersionWentBack {
        /// The version at the last audit.
        known: u64,
        /// The version now.
        found: u64,
    },
    /// The table counts fewer commits of rows than it did.
    CommitsWentBack {
        /// How many at the last audit.
        known: u64,
        /// How many now.
        found: u64,
    },
    /// The version of the last audit has another content now.
    VersionRewritten {
        /// The version.
        version: u64,
    },
    /// A version's file is missing in the Delta log, between others.
    VersionMissing {
        /// The version.
        version: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path, rows: Some(rows), .. } => {
                write!(f, "data file `{path}` with {rows} rows is missing")
            }
            Self::Missing { path, rows: None, .. } => write!(f, "data file `{path}` is missing"),
            Self::Resized { path, bytes, found, .. } => {
                write!(f, "data file `{path}` has {found} bytes instead of {bytes}")
            }
            Self::Damaged { path, reason, .. } => write!(f, "data file `{path}` is damaged: {reason}"),
            Self::Foreign { path, rows, .. } => {
                write!(f, "data file `{path}` with {rows} rows was not written by weir")
            }
            Self::ForeignVersion { version, writer, operation, files_added, rows_added, files_removed } => write!(
                f,
                "version {version} was made by {writer} ({operation}): it added {files_added} files with {rows_added} \
                 rows and removed {files_removed} files"
            ),
            Self::VersionWentBack { known, found } => {
                write!(f, "the table went back from version {known} to {found}")
            }
            Self::CommitsWentBack { known, found } => {
                write!(f, "the table went back from {known} commits to {found}")
            }
            Self::VersionRewritten { version } => write!(f, "version {version} is not what it was"),
            Self::VersionMissing { version } => write!(f, "version {version} is missing in the Delta log"),
        }
    }
}

impl Table {
    /// Compares the table with what it should be. `known` is what the last audit returned.
    ///
    /// Lists the table's folder once. Footers are read once per file and process, some at a time; files without a sum
    /// of ids (an older weir's, another writer's) have their id columns read once. Commits, merges, vacuums and views go
    /// on meanwhile and are no findings. What was found before and is still so is found again.
    ///
    /// # Errors
    /// See [`AuditError`]: then nothing is known, good or bad.
    pub async fn audit(&self, known: Option<Known>) -> Result<Audit, AuditError> {
        let mut audit = Audit::default();
        let last = {
            let state = self.state();
            let known = known.unwrap_or_default();
            Last { version: known.version.max(state.version), commits: known.commits.max(state.commits) }
        };
        let versions = self.list_versions().await?;
        for version in versions.missing() {
            audit.add(Finding::VersionMissing { version });
        }
        let files = if audit.findings.is_empty() {
            self.audit_log(&mut audit, known, last, &versions).await?
        } else {
            // Such a log can't be loaded; the files are those that this process knows of.
            audit.known = Known { version: last.version, commits: last.commits, mark: None };
            self.state().files.list().to_vec()
        };
        self.audit_files(&mut audit, files).await?;
        Ok(audit)
    }

    /// Looks at versions and counts, and returns the files of the newest version.
    async fn audit_log(
        &self,
        audit: &mut Audit,
        known: Option<Known>,
        last: Last,
        versions: &Versions,
    ) -> Result<Vec<Arc<DataFile>>, AuditError> {
        let Some(contents) = self.load_contents().await? else {
            audit.add(Finding::VersionWentBack { known: last.version, found: 0 });
            return Ok(Vec::new());
        };
        if contents.version < last.version {
            audit.add(Finding::VersionWentBack { known: last.version, found: contents.version });
        }
        if contents.commits < last.commits {
            audit.add(Finding::CommitsWentBack { known: last.commits, found: contents.commits });
        }
        if let Some(Known { version, mark: Some(mark), .. }) = known
            && self.mark(version).await?.is_some_and(|found| found != mark)
        {
            audit.add(Finding::VersionRewritten { version });
        }
        let after = known.map_or(versions.first, |known| known.version);
        let after = after.max(contents.version.saturating_sub(VERSIONS_MAX));
        let foreign = self.foreign_between(after, contents.version).await.map_err(|error| match error {
            CommitError::Log { table, source } => AuditError::Log { table, source },
            other => self.log_failed(KernelError::generic(other.to_string())),
        })?;
        for version in foreign.versions {
            audit.add(version.into());
        }
        audit.known =
            Known { version: contents.version, commits: contents.commits, mark: self.mark(contents.version).await? };
        Ok(contents.files.into_iter().map(Arc::new).collect())
    }

    async fn audit_files(&self, audit: &mut Audit, files: Vec<Arc<DataFile>>) -> Result<(), AuditError> {
        let mut sizes = HashMap::with_capacity(files.len());
        let mut listed = self.store.list(Some(&self.folder));
        while let Some(object) = listed.next().await {
            let object = object.map_err(|source| self.store_failed(source))?;
            sizes.insert(object.location, object.size);
        }
        let judge = |file: &'_ Arc<DataFile>| {
            let size = sizes.get(&file.location).copied();
            self.audit_file(file.clone(), size).boxed()
        };
        let mut judged = stream::iter(files.iter().map(judge)).buffered(FOOTERS_AT_ONCE);
        let mut suspects = Vec::new();
        for file in &files {
            let Some((tally, finding)) = judged.try_next().await? else { break };
            if let Some(tally) = tally {
                audit.places.entry(file.place).or_default().merge(tally);
            }
            match finding {
                Some(finding @ Finding::Foreign { .. }) => audit.add(finding),
                Some(finding) => suspects.push((file.clone(), finding)),
                None => {}
            }
        }
        if suspects.is_empty() {
            return Ok(());
        }
        // What a merge replaced and a vacuum deleted meanwhile is gone rightly.
        let current: HashSet<String> = match self.load_contents().await {
            Ok(Some(contents)) => contents.files.into_iter().map(|file| file.path).collect(),
            Ok(None) | Err(_) => suspects.iter().map(|(file, _)| file.path.clone()).collect(),
        };
        suspects.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        for (file, finding) in suspects {
            if current.contains(&file.path) {
                audit.add(finding);
            }
        }
        Ok(())
    }

    /// Says what a file holds, and what is wrong with it. `size` is what the store has.
    async fn audit_file(
        &self,
        file: Arc<DataFile>,
        size: Option<u64>,
    ) -> Result<(Option<Tally>, Option<Finding>), AuditError> {
        let (path, place) = (|| file.path.clone(), file.place);
        let missing = || Finding::Missing { path: path(), place, rows: file.rows, bytes: file.size };
        match size {
            None => return Ok((None, Some(missing()))),
            Some(found) if found != file.size => {
                return Ok((None, Some(Finding::Resized { path: path(), place, bytes: file.size, found })));
            }
            Some(_) => {}
        }
        let read = async { Ok((self.footer_of(&file).await?, self.tally_of(&file).await?)) };
        let (footer, tally) = match read.await {
            Ok(read) => read,
            Err(error) => match store_error(&error) {
                Some(object_store::Error::NotFound { .. }) => return Ok((None, Some(missing()))),
                Some(_) => return Err(AuditError::File(error)),
                None => {
                    let reason = error.source.to_string();
                    return Ok((None, Some(Finding::Damaged { path: path(), place, reason })));
                }
            },
        };
        let finding = match file.rows {
            Some(rows) if rows != footer.rows => {
                let reason = format!("its footer says {} rows, and the log {rows}", footer.rows);
                Some(Finding::Damaged { path: path(), place, reason })
            }
            _ if !footer.is_ours => Some(Finding::Foreign { path: path(), place, rows: footer.rows }),
            _ => None,
        };
        Ok((Some(tally), finding))
    }

    /// Loads the newest version. A vacuum may shorten the log in the middle of it: then it is begun again.
    async fn load_contents(&self) -> Result<Option<Contents>, AuditError> {
        let mut loaded = self.try_contents().await;
        for _ in 1..LOADS_MAX {
            if loaded.is_ok() {
                break;
            }
            loaded = self.try_contents().await;
        }
        loaded
    }

    async fn try_contents(&self) -> Result<Option<Contents>, AuditError> {
        let Some(snapshot) = self.log.load().await.map_err(|source| self.log_failed(source))? else {
            return Ok(None);
        };
        let contents = self.log.contents(snapshot, self.layout, self.event_time()).await;
        contents.map(Some).map_err(|source| self.log_failed(source))
    }

    /// Lists the versions' files.
    async fn list_versions(&self) -> Result<Versions, AuditError> {
        let mut versions = BTreeSet::new();
        let mut checkpoint = None;
        let mut listed = self.store.list(Some(&self.folder.clone().join(LOG_FOLDER)));
        while let Some(object) = listed.next().await {
            let location = object.map_err(|source| self.store_failed(source))?.location;
            let Some(version) = version_of(&location) else { continue };
            match location.extension() {
                Some("json") if !location.as_ref().contains(".checkpoint.") => drop(versions.insert(version)),
                Some("parquet") => checkpoint = checkpoint.max(Some(version)),
                _ => {}
            }
        }
        let first = versions.first().copied().unwrap_or(0);
        Ok(Versions { versions, checkpoint, first })
    }

    /// Returns a hash of a version's file; none if it is gone.
    async fn mark(&self, version: u64) -> Result<Option<u64>, AuditError> {
        let file = self.version_file(version).await.map_err(|source| self.store_failed(source))?;
        Ok(file.map(|bytes| SipHasher13::new().hash(&bytes)))
    }

    fn store_failed(&self, source: object_store::Error) -> AuditError {
        AuditError::Store { table: self.spec.name.clone(), source }
    }

    fn log_failed(&self, source: KernelError) -> AuditError {
        AuditError::Log { table: self.spec.name.clone(), source }
    }
}

/// What the table must have reached.
#[derive(Clone, Copy)]
struct Last {
    version: u64,
    commits: u64,
}

/// The files of the Delta log.
struct Versions {
    versions: BTreeSet<u64>,
    checkpoint: Option<u64>,
    first: u64,
}

impl Versions {
    /// Returns the versions that no file is there for, after the newest checkpoint: those before may be gone rightly.
    fn missing(&self) -> Vec<u64> {
        let base = self.checkpoint.map_or(0, |checkpoint| checkpoint + 1);
        let Some(last) = self.versions.last() else { return Vec::new() };
        (base..*last).filter(|version| !self.versions.contains(version)).take(FINDINGS_MAX).collect()
    }
}

impl Audit {
    fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

impl From<ForeignVersion> for Finding {
    fn from(found: ForeignVersion) -> Self {
        let ForeignVersion { version, writer, operation, files_added, rows_added, files_removed } = found;
        Self::ForeignVersion { version, writer, operation, files_added, rows_added, files_removed }
    }
}

/// Returns the store's error that another one comes from.
fn store_error(error: &FileError) -> Option<&object_store::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<object_store::Error>() {
            return Some(error);
        }
        source = error.source();
    }
    None
}
