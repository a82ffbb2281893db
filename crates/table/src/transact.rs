//! Transactions: one change to the Delta log at a time, and what becomes of those whose end is not known.
//!
//! ```text
//!   change --> witness --> transaction --committed--> applied to what readers see
//!                            |   \--conflict--> adopt the new version --nobody else's rows--> again, at most 10 times
//!                            |                        \--another weir's rows--> fenced, for good
//!                            \--failed, or its caller is gone--> in flight --> the next one looks whether it happened
//! ```
//!
//! Rows that other writers (no weir) added or removed don't fence: the next commit of rows notes which partitions they
//! changed, and nothing else happens before it.

use std::collections::HashSet;

use delta_kernel::{KernelError, SnapshotRef};

use crate::columns;
use crate::committer::{AttemptSlot, Found};
use crate::error::CommitError;
use crate::evolve::Plan;
use crate::log::{Change, Log, Outcome, Rows, Shape};
use crate::table::{Counters, Files, InFlight, Own, State, Table, Writing};
use crate::witness::Prepared;

/// Versions that other writers may take before a transaction gives up.
const CONFLICTS_MAX: u32 = 10;

impl Table {
    pub(crate) fn failed(&self, source: KernelError) -> CommitError {
        CommitError::Log { table: self.spec.name.clone(), source }
    }

    fn shape(&self) -> Shape {
        Shape { columns: self.columns(), layout: self.layout, event_time: self.event_time() }
    }

    /// Makes one change, on top of whatever other writers did meanwhile that concerns nobody's rows. `change` is given
    /// the number of commits of rows so far, and is asked again after each conflict. False if it had nothing to change.
    pub(crate) async fn transact(
        &self,
        writing: &mut Writing,
        change: impl Fn(u64) -> Option<Change>,
    ) -> Result<bool, CommitError> {
        self.resolve(writing).await?;
        for _ in 0..CONFLICTS_MAX {
            let Some(wanted) = change(writing.commits) else { return Ok(false) };
            let (change, is_wanted) = match wanted {
                Change::Rows(mut rows) => {
                    rows.changed.extend(&writing.foreign);
                    (Change::Rows(rows), true)
                }
                _ if !writing.foreign.is_empty() => (Change::Rows(note_of(writing)), false),
                other => (other, true),
            };
            let rows = match &change {
                Change::Rows(rows) => {
                    self.tell_witness(rows).await?;
                    Some(Own { positions: rows.positions.clone(), is_buffer: rows.is_buffer })
                }
                _ => None,
            };
            let attempt = AttemptSlot::default();
            // Noted before it begins: if this future is dropped, the next transaction knows what to look for.
            writing.in_flight = Some(InFlight { attempt: attempt.clone(), rows });
            match self.log.commit(writing.snapshot.clone(), change.clone(), self.shape(), attempt).await {
                Outcome::Committed { snapshot, since_checkpoint } => {
                    self.apply(writing, change, snapshot)?;
                    self.announce();
                    writing.since_checkpoint = since_checkpoint;
                    if is_wanted {
                        return Ok(true);
                    }
                }
                Outcome::Conflict => {
                    writing.in_flight = None;
                    self.adopt(writing, None).await?;
                }
                // It was tried often enough; but it may have happened.
                Outcome::Failed(error) => match self.resolve(writing).await {
                    Ok(true) if is_wanted => return Ok(true),
                    Ok(true) => {}
                    Err(fenced @ CommitError::Fenced { .. }) => return Err(fenced),
                    Ok(false) | Err(_) => return Err(self.failed(error)),
                },
            }
        }
        Err(CommitError::Contended { table: self.spec.name.clone(), attempts: CONFLICTS_MAX })
    }

    async fn tell_witness(&self, rows: &Rows) -> Result<(), CommitError> {
        let Some(witness) = &self.witness else { return Ok(()) };
        let positions = {
            let state = self.state();
            let from = |source| state.committed.get(source).copied().unwrap_or(0);
            rows.positions.iter().map(|(source, to)| (source.clone(), (from(source), *to))).collect()
        };
        let prepared = Prepared { number: rows.commits, places: rows.places.to_vec(), positions };
        let told = witness.prepare(&prepared).await;
        told.map_err(|source| CommitError::Witness { table: self.spec.name.clone(), source })
    }

    /// Finds out whether the transaction in flight happened, if there is one. Says whether it did.
    pub(crate) async fn resolve(&self, writing: &mut Writing) -> Result<bool, CommitError> {
        self.check_fence()?;
        let Some(InFlight { attempt, rows }) = &writing.in_flight else { return Ok(false) };
        let rows = rows.clone();
        let found = self.log.find(attempt).await.map_err(|error| self.failed(error))?;
        if found == Found::Ours {
            self.adopt(writing, rows).await?;
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
            Change::Rows(rows) => {
                let adds = rows.adds.iter().map(|add| add.file.clone());
                state.files = state.files.changed(|file| rows.removes.contains(&file.path), adds);
                self.forget(&rows.removes);
                let changed = std::sync::Arc::make_mut(&mut state.changed);
                changed.extend(rows.changed.iter().map(|key| (*key, rows.commits)));
                writing.foreign.clear();
                self.counted(writing, &mut state, &Own { positions: rows.positions, is_buffer: rows.is_buffer });
            }
            Change::Replace { adds, removes } => {
                state.files =
                    state.files.changed(|file| removes.contains(&file.path), adds.iter().map(|add| add.file.clone()));
                self.forget(&removes);
            }
            Change::Reshape { adds, removes, fills, .. } => {
                if fills {
                    // Rows have other values: the next commit of rows notes it.
                    writing.foreign.extend(adds.iter().map(|add| add.file.place.partition()));
                }
                state.columns = Log::columns(&snapshot).map_err(|error| self.failed(error))?;
                state.files = Files::new(adds.iter().map(|add| add.file.clone()).collect());
                state.waiting = None;
                self.forget(&removes);
            }
            Change::Columns(_) => state.columns = Log::columns(&snapshot).map_err(|error| self.failed(error))?,
        }
        state.version = snapshot.version();
        writing.snapshot = snapshot;
        writing.in_flight = None;
        Ok(())
    }

    /// Counts a commit of rows, moves the positions, and lets go of the sealed buffer if its rows are in files now.
    fn counted(&self, writing: &mut Writing, state: &mut State, own: &Own) {
        for (source, position) in &own.positions {
            for positions in [&mut state.committed, &mut state.positions] {
                let at = positions.entry(source.clone()).or_insert(0);
                *at = (*at).max(*position);
            }
        }
        writing.commits += 1;
        state.commits = writing.commits;
        if own.is_buffer {
            state.sealed = None;
            writing.written = None;
        }
        Counters::add(&self.counters.commits, 1);
    }

    fn forget(&self, paths: &HashSet<String>) {
        for path in paths {
            self.filters.remove(path);
            self.ids.remove(path);
            self.footers.remove(path);
        }
    }

    /// Takes over the last version, unless another weir's rows are in it. `own` is a commit of rows of ours that is in
    /// it, and that was not applied yet.
    pub(crate) async fn adopt(&self, writing: &mut Writing, own: Option<Own>) -> Result<(), CommitError> {
        let failed = |error| self.failed(error);
        let before = writing.snapshot.version();
        let snapshot = self.log.refresh(writing.snapshot.clone()).await.map_err(failed)?;
        let contents = self.log.contents(snapshot.clone(), self.layout, self.event_time()).await.map_err(failed)?;
        let foreign = self.foreign_between(before, contents.version).await?;
        foreign.warn(&self.spec.name);
        let mut state = self.state();
        let mut positions = state.committed.clone();
        let own_positions = own.iter().flat_map(|own| &own.positions);
        positions.extend(own_positions.map(|(source, position)| (source.clone(), *position)));
        let commits = writing.commits + u64::from(own.is_some());
        if contents.commits != commits || contents.positions != positions {
            let version = before + 1;
            state.fenced = Some(version);
            return Err(CommitError::Fenced { table: self.spec.name.clone(), version });
        }
        if let Some(own) = own {
            writing.foreign.clear();
            self.counted(writing, &mut state, &own);
        }
        let places = contents.files.iter().map(|file| file.place);
        writing.foreign.extend(foreign.partitions_of(&contents.changed, places));
        state.files = Files::new(contents.files);
        if state.columns != contents.columns && state.waiting.is_some() {
            // Ours, whose reply was lost; or another writer's, after which the way is worked out anew.
            let wants = columns::stored_schema(&self.spec.name, &self.spec.columns).ok();
            let plan = wants
                .and_then(|wants| Plan::new(&self.spec.name, &contents.columns, &wants, &self.spec.evolution).ok());
            if plan.is_some_and(|plan| !plan.rewrites()) {
                state.waiting = None;
            }
        }
        state.columns = contents.columns;
        state.changed = contents.changed.into();
        state.version = contents.version;
        writing.snapshot = snapshot;
        drop(state);
        self.announce();
        Ok(())
    }

    /// Notes what other writers did, if they did anything to rows.
    pub(crate) async fn note_foreign(&self, writing: &mut Writing) -> Result<(), CommitError> {
        for _ in 0..CONFLICTS_MAX {
            if writing.foreign.is_empty() {
                return Ok(());
            }
            self.transact(writing, |commits| Some(Change::Rows(Rows { commits: commits + 1, ..Rows::default() })))
                .await?;
        }
        Err(CommitError::Contended { table: self.spec.name.clone(), attempts: CONFLICTS_MAX })
    }
}

/// A commit of rows that only notes what other writers changed.
fn note_of(writing: &Writing) -> Rows {
    Rows { commits: writing.commits + 1, changed: writing.foreign.clone(), ..Rows::default() }
}
