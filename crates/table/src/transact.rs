//! Transactions: one change to the Delta log at a time, and what becomes of those whose end is not known.
//!
//! ```text
//!   change --> transaction --committed--> applied to what readers see
//!                 |   \--conflict--> adopt the new version --nobody else's rows--> again, at most 10 times
//!                 |                        \--another writer's rows--> fenced, for good
//!                 \--failed, or its caller is gone--> in flight --> the next one looks whether it happened
//! ```

use std::collections::HashSet;

use delta_kernel::{KernelError, SnapshotRef};

use crate::committer::{AttemptSlot, Found};
use crate::error::CommitError;
use crate::log::{Change, Log, Outcome, Shape};
use crate::table::{Counters, Files, InFlight, Table, Writing};

/// Versions that other writers may take before a transaction gives up.
const CONFLICTS_MAX: u32 = 10;

impl Table {
    fn failed(&self, source: KernelError) -> CommitError {
        CommitError::Log { table: self.spec.name.clone(), source }
    }

    fn shape(&self) -> Shape {
        Shape { columns: self.columns(), layout: self.layout, event_time: self.event_time() }
    }

    /// Makes one change, on top of whatever other writers did meanwhile that concerns nobody's rows. `change` is given
    /// the number of commits of rows so far, and is asked again after each conflict.
    pub(crate) async fn transact(
        &self,
        writing: &mut Writing,
        change: impl Fn(u64) -> Option<Change>,
    ) -> Result<bool, CommitError> {
        self.resolve(writing).await?;
        for _ in 0..CONFLICTS_MAX {
            let Some(change) = change(writing.commits) else { return Ok(false) };
            let is_of_rows = matches!(change, Change::Rows { .. });
            let attempt = AttemptSlot::default();
            // Noted before it begins: if this future is dropped, the next transaction knows what to look for.
            writing.in_flight = Some(InFlight { attempt: attempt.clone(), is_of_rows });
            match self.log.commit(writing.snapshot.clone(), change.clone(), self.shape(), attempt).await {
                Outcome::Committed { snapshot, since_checkpoint } => {
                    self.apply(writing, change, snapshot)?;
                    writing.since_checkpoint = since_checkpoint;
                    return Ok(true);
                }
                Outcome::Conflict => {
                    writing.in_flight = None;
                    self.adopt(writing, Own::Nothing).await?;
                }
                // It was tried often enough; but it may have happened.
                Outcome::Failed(error) => match self.resolve(writing).await {
                    Ok(true) => return Ok(true),
                    Err(fenced @ CommitError::Fenced { .. }) => return Err(fenced),
                    Ok(false) | Err(_) => return Err(self.failed(error)),
                },
            }
        }
        Err(CommitError::Contended { table: self.spec.name.clone(), attempts: CONFLICTS_MAX })
    }

    /// Finds out whether the transaction in flight happened, if there is one. Says whether it did.
    pub(crate) async fn resolve(&self, writing: &mut Writing) -> Result<bool, CommitError> {
        self.check_fence()?;
        let Some(InFlight { attempt, is_of_rows }) = &writing.in_flight else { return Ok(false) };
        let is_of_rows = *is_of_rows;
        let found = self.log.find(attempt).await.map_err(|error| self.failed(error))?;
        if found == Found::Ours {
            self.adopt(writing, if is_of_rows { Own::Rows } else { Own::Nothing }).await?;
        }
        writing.in_flight = None;
        Ok(found == Found::Ours)
    }

    fn check_fence(&self) -> Result<(), CommitError> {
        match self.state().fenced {
            None => Ok(()),
            Some(version) => Err(CommitError::Fenced { table: self.spec.name.clone(), version }),
        }
    }

    /// Shows readers what a transaction of ours did. Doesn't wait: it is all done, or nothing.
    fn apply(&self, writing: &mut Writing, change: Change, snapshot: SnapshotRef) -> Result<(), CommitError> {
        let mut state = self.state();
        match change {
            Change::Rows { adds, .. } => {
                let files = state.files.changed(|_| false, adds.iter().map(|add| add.file.clone()));
                state.files = files;
                self.release(writing, &mut state);
            }
            Change::Replace { adds, removes } => {
                state.files =
                    state.files.changed(|file| removes.contains(&file.path), adds.iter().map(|add| add.file.clone()));
                self.forget(&removes);
            }
            Change::Columns(_) => state.columns = Log::columns(&snapshot).map_err(|error| self.failed(error))?,
        }
        state.version = snapshot.version();
        writing.snapshot = snapshot;
        writing.in_flight = None;
        Ok(())
    }

    /// Lets go of the sealed buffer, whose rows are in files now.
    fn release(&self, writing: &mut Writing, state: &mut crate::table::State) {
        if let Some(sealed) = state.sealed.take() {
            state.committed = sealed.positions.clone();
        }
        writing.commits += 1;
        state.commits = writing.commits;
        writing.written = None;
        Counters::add(&self.counters.commits, 1);
    }

    fn forget(&self, paths: &HashSet<String>) {
        for path in paths {
            self.filters.remove(path);
            self.ids.remove(path);
        }
    }

    /// Takes over the last version, unless another writer's rows are in it.
    async fn adopt(&self, writing: &mut Writing, own: Own) -> Result<(), CommitError> {
        let failed = |error| self.failed(error);
        let snapshot = self.log.refresh(writing.snapshot.clone()).await.map_err(failed)?;
        let contents = self.log.contents(snapshot.clone(), self.layout, self.event_time()).await.map_err(failed)?;
        let mut state = self.state();
        let (commits, positions) = match (own, &state.sealed) {
            (Own::Rows, Some(sealed)) => (writing.commits + 1, &sealed.positions),
            _ => (writing.commits, &state.committed),
        };
        if contents.commits != commits || contents.positions != *positions {
            let version = writing.snapshot.version() + 1;
            state.fenced = Some(version);
            return Err(CommitError::Fenced { table: self.spec.name.clone(), version });
        }
        if own == Own::Rows {
            self.release(writing, &mut state);
        }
        state.files = Files::new(contents.files);
        state.columns = contents.columns;
        state.version = contents.version;
        writing.snapshot = snapshot;
        Ok(())
    }
}

/// What of ours is in a version that is adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Nothing,
    Rows,
}
