//! Vacuum: deleting what no recent version names.
//!
//! ```text
//!   list the folder --> less what the current version, or a commit under way, names
//!                   --> less what was removed within `keep` (older versions may still be read)
//!                   --> less what is younger than `keep` (another process's commit may be under way)
//!                   --> delete
//! ```
//!
//! The log itself is shortened up to the newest checkpoint that is older than `keep`: every version that may still be
//! read can be built.

use std::collections::HashSet;
use std::path::{Path as FsPath, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::aside::ASIDE_FOLDER;
use crate::error::VacuumError;
use crate::local;
use crate::outcome::Vacuumed;
use crate::table::{Role, Table, Writing, Written};

/// The longest time for which replaced files can be kept: the Delta log forgets removed files after a week.
pub const KEEP_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The folder of the Delta log.
pub(crate) const LOG_FOLDER: &str = "_delta_log";
/// Commits without a checkpoint that make a vacuum write one.
const CHECKPOINT_COMMITS: u64 = 10;

impl Table {
    /// Deletes files that no version younger than `keep` names, old files of the Delta log, and what crashed commits
    /// left, all only if older than `keep`. Never a file of the current version, or of a commit of this table that is
    /// under way.
    ///
    /// It looks after the [table aside](Self::open_aside) too, if that is open; if it is not, its folder is left alone. Of a
    /// table aside itself, it does nothing.
    ///
    /// Ages are those that the store and the log tell, compared with this machine's clock. Views that are older than
    /// `keep` may find their files gone.
    ///
    /// # Errors
    /// See [`VacuumError`]. What was deleted until then was dead.
    pub async fn vacuum(&self, keep: Duration) -> Result<Vacuumed, VacuumError> {
        if keep > KEEP_MAX {
            return Err(VacuumError::Keep { table: self.spec.name.clone(), keep });
        }
        if self.role == Role::Aside {
            // Its files may be the other table's: that one looks after both.
            return Ok(Vacuumed::default());
        }
        let _shared = self.merging.read().await;
        let cutoff = self.env.now().before(keep).0;
        let failed = |source| VacuumError::Store { table: self.spec.name.clone(), source };
        let log_failed = |source| VacuumError::Log { table: self.spec.name.clone(), source };
        let listed: Vec<ObjectMeta> = self.store.list(Some(&self.folder)).try_collect().await.map_err(failed)?;
        let (aside, own) = listed.into_iter().partition::<Vec<_>, _>(|object| self.is_aside(&object.location));
        let (mut data, log) = own.into_iter().partition::<Vec<_>, _>(|object| !self.is_of_log(&object.location));

        let mut vacuumed = Vacuumed::default();
        // Files go from the table aside to this one, never back: what is in neither when both are looked at in this order
        // is in none.
        let mut live = HashSet::new();
        let mut outdated_aside = Vec::new();
        match self.aside() {
            Some(table) => {
                let (files, log) =
                    aside.into_iter().partition::<Vec<_>, _>(|object| !table.is_of_log(&object.location));
                data.extend(files);
                live = table.live_aside().await?;
                outdated_aside = outdated(&log, cutoff);
            }
            // Nobody here knows what of it is somebody's.
            None => live.extend(aside.into_iter().map(|object| object.location)),
        }
        let staged;
        let snapshot = {
            // While this is held no commit is between writing its files and naming them. What is written later was not
            // listed.
            let mut writing = self.writing.lock().await;
            self.resolve(&mut writing).await.map_err(|source| self.unresolved(source))?;
            vacuumed.checkpoint = self.renew_snapshot(&mut writing).await?;
            live.extend(self.named(&writing));
            staged = self.staged(cutoff, &live).await;
            writing.snapshot.clone()
        };
        let removed = self.log.removed_since(snapshot, cutoff).await;
        let removed = removed.map_err(log_failed)?;

        let is_dead = |object: &ObjectMeta| {
            let path = &object.location;
            is_old(object, cutoff)
                && path.as_ref().ends_with(".parquet")
                && !live.contains(path)
                && !removed.contains(path)
        };
        let dead: Vec<ObjectMeta> = data.into_iter().filter(is_dead).collect();
        vacuumed.files = dead.len() as u64;
        vacuumed.bytes = dead.iter().map(|object| object.size).sum();
        self.delete(dead).await?;
        vacuumed.files += delete_staged(staged).await;
        let outdated = outdated(&log, cutoff).into_iter().chain(outdated_aside).collect::<Vec<_>>();
        vacuumed.log_files = outdated.len() as u64;
        self.delete(outdated).await?;
        Ok(vacuumed)
    }

    /// Returns what the log of the table aside names, or may be about to, and sees to it that the log can be shortened.
    async fn live_aside(&self) -> Result<HashSet<Path>, VacuumError> {
        let mut writing = self.writing.lock().await;
        self.resolve(&mut writing).await.map_err(|source| self.unresolved(source))?;
        self.renew_snapshot(&mut writing).await?;
        Ok(self.named(&writing))
    }

    /// Writes a checkpoint if there was none for a while, and sees to it that the snapshot does not need what lies before
    /// the newest one: another process may have written that. Returns the version of the one that was written.
    async fn renew_snapshot(&self, writing: &mut Writing) -> Result<Option<u64>, VacuumError> {
        let failed = |source| VacuumError::Log { table: self.spec.name.clone(), source };
        let mut written = None;
        if writing.since_checkpoint >= CHECKPOINT_COMMITS {
            writing.snapshot = self.log.checkpoint(writing.snapshot.clone()).await.map_err(failed)?;
            writing.since_checkpoint = 0;
            written = Some(writing.snapshot.version());
        }
        if let Some(fresh) = self.log.load().await.map_err(failed)?
            && fresh.version() == writing.snapshot.version()
        {
            writing.snapshot = fresh;
        }
        Ok(written)
    }

    /// Returns the files that the log names, or may be about to.
    fn named(&self, writing: &Writing) -> HashSet<Path> {
        let mut named: HashSet<Path> = self.state().files.list().iter().map(|file| file.location.clone()).collect();
        named.extend(writing.written.iter().flat_map(Written::all).map(|add| add.file.location.clone()));
        named.extend(self.uploads.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        named
    }

    /// Returns what writes to a local folder have left that were killed: files under names that listings leave out. No
    /// transaction is under way; other files of this process that are not whole yet are among those in progress.
    async fn staged(&self, cutoff: i64, live: &HashSet<Path>) -> Vec<PathBuf> {
        let Some(folder) = self.log.local_folder() else { return Vec::new() };
        let path_of = |path: &Path| url::Url::parse(&format!("file:///{path}")).ok()?.to_file_path().ok();
        let live: HashSet<PathBuf> = live.iter().filter_map(path_of).collect();
        let found = tokio::task::spawn_blocking(move || {
            let mut staged = Vec::new();
            local::find_staged(&folder, &mut |path, base| {
                let is_old = std::fs::metadata(path).and_then(|found| found.modified()).is_ok_and(|at| {
                    let age = at.duration_since(std::time::UNIX_EPOCH).map(|age| age.as_millis());
                    age.is_ok_and(|age| i64::try_from(age).is_ok_and(|age| age <= cutoff))
                });
                if is_old && !live.contains(FsPath::new(base)) {
                    staged.push(path.to_owned());
                }
            });
            staged
        });
        found.await.unwrap_or_default()
    }

    fn is_aside(&self, path: &Path) -> bool {
        path.prefix_match(&self.folder)
            .and_then(|mut parts| parts.next())
            .is_some_and(|part| part.as_ref() == ASIDE_FOLDER)
    }

    fn is_of_log(&self, path: &Path) -> bool {
        path.prefix_match(&self.folder)
            .and_then(|mut parts| parts.next())
            .is_some_and(|part| part.as_ref() == LOG_FOLDER)
    }

    async fn delete(&self, objects: Vec<ObjectMeta>) -> Result<(), VacuumError> {
        let locations = stream::iter(objects.into_iter().map(|object| Ok(object.location))).boxed();
        let mut deleted = self.store.delete_stream(locations);
        while let Some(deleted) = deleted.next().await {
            match deleted {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(VacuumError::Store { table: self.spec.name.clone(), source }),
            }
        }
        Ok(())
    }

    fn unresolved(&self, source: crate::CommitError) -> VacuumError {
        match source {
            crate::CommitError::Log { table, source } => VacuumError::Log { table, source },
            other => VacuumError::Commit(other),
        }
    }
}

/// Deletes what was staged, and says how many there were.
async fn delete_staged(staged: Vec<PathBuf>) -> u64 {
    if staged.is_empty() {
        return 0;
    }
    let deleted = tokio::task::spawn_blocking(move || {
        let gone = staged.into_iter().filter(|path| match std::fs::remove_file(path) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what a killed write has left could not be deleted");
                false
            }
        });
        gone.count() as u64
    });
    deleted.await.unwrap_or(0)
}

fn is_old(object: &ObjectMeta, cutoff: i64) -> bool {
    object.last_modified.timestamp_millis() <= cutoff
}

/// Returns the version that a file of the log is of.
pub(crate) fn version_of(path: &Path) -> Option<u64> {
    let (version, _) = path.filename()?.split_once('.')?;
    (version.len() == 20).then(|| version.parse().ok())?
}

/// Returns the files of the log that are of versions before the newest checkpoint that is old enough.
fn outdated(log: &[ObjectMeta], cutoff: i64) -> Vec<ObjectMeta> {
    let is_checkpoint = |object: &&ObjectMeta| object.location.as_ref().ends_with(".checkpoint.parquet");
    let old = || log.iter().filter(|object| is_old(object, cutoff));
    let Some(base) = old().filter(is_checkpoint).filter_map(|object| version_of(&object.location)).max() else {
        return Vec::new();
    };
    old().filter(|object| version_of(&object.location).is_some_and(|version| version < base)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, modified: i64) -> ObjectMeta {
        ObjectMeta {
            location: Path::from(format!("t/_delta_log/{name}")),
            last_modified: chrono::DateTime::from_timestamp_millis(modified).unwrap(),
            size: 1,
            e_tag: None,
            version: None,
        }
    }

    #[test]
    fn the_log_is_shortened_to_the_newest_checkpoint_that_is_old_enough() {
        let log = vec![
            object("00000000000000000000.json", 1),
            object("00000000000000000001.json", 2),
            object("00000000000000000001.checkpoint.parquet", 2),
            object("00000000000000000002.json", 3),
            object("00000000000000000003.json", 4),
            object("00000000000000000003.checkpoint.parquet", 9),
            object("_last_checkpoint", 9),
        ];
        let names = |cutoff| {
            outdated(&log, cutoff)
                .iter()
                .filter_map(|object| object.location.filename().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        assert!(names(1).is_empty());
        assert_eq!(names(5), ["00000000000000000000.json"]);
        assert_eq!(names(9).len(), 4);
    }
}
