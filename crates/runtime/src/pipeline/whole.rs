//! Applying what belongs to whole runs: rows aside, rows between runs, and what becomes of a run at its end.

use std::future::Future;

use arrow::array::RecordBatch;
use weir_table::{Appended, CommitError, SourceId, TakeOverError};
use weir_types::SequenceNumber;

use super::apply::{Applier, Over, RETRY, RETRY_MAX, chain};
use super::aside::{self, Aside, IfEmpty, Whole};
use crate::crawl::{End, Mark, Marker};

impl Applier {
    /// Takes rows that belong to no run into the table, durably: what the table has of them by its own place was taken before,
    /// and counts as repeats.
    pub(super) async fn append_between(
        &mut self,
        aside: &Aside,
        index: usize,
        rows: &RecordBatch,
        next: SequenceNumber,
    ) -> Result<Appended, Over> {
        let parts = self.parts.clone();
        let source = &parts.sources[index];
        let place = aside::taken(source);
        let mut appended = Appended::default();
        if rows.num_rows() > 0 {
            let taken = parts.table.positions().get(&place).copied().unwrap_or(0);
            if taken >= next.0 {
                appended.repeats = rows.num_rows() as u64;
            } else {
                appended = self.append_to(&parts.table, rows, &[(place, next.0)]).await?;
                self.commit_table().await?;
            }
        }
        let nothing = RecordBatch::new_empty(parts.columns.clone());
        self.append_to(&aside.table, &nothing, &[(source.source(), next.0)]).await?;
        Ok(appended)
    }

    /// Commits the table itself.
    pub(super) async fn commit_table(&mut self) -> Result<(), Over> {
        let table = self.parts.table.clone();
        self.until_done("commit rows that belong to no run", || async {
            table.commit().await?;
            Ok(())
        })
        .await?;
        self.told_commit();
        Ok(())
    }

    /// Does what a marker says, durably.
    pub(super) async fn mark(
        &mut self,
        aside: &Aside,
        index: usize,
        marker: Marker,
        next: SequenceNumber,
    ) -> Result<(), Over> {
        self.finish_commit().await?;
        let parts = self.parts.clone();
        let (table, source) = (&parts.table, &parts.sources[index]);
        let gathered = &aside.table;
        self.until_done("commit the rows of a run", || async {
            gathered.commit().await?;
            Ok(())
        })
        .await?;
        let rows = gathered.stats().rows;
        match marker.mark {
            Mark::Started if rows > 0 => {
                tracing::warn!(table = %parts.name, run = marker.run, rows, "the run before has no end: its rows are dropped");
            }
            Mark::Started => {}
            // Of a run whose beginning was not seen, all rows are in the table.
            Mark::Ended(End::Complete) if aside.run() == Some(marker.run) => {
                self.complete(aside, marker.run, rows, (aside::taken(source), next.0)).await?;
            }
            Mark::Ended(_) => {
                tracing::info!(table = %parts.name, run = marker.run, rows, "the run was not completed: its rows are dropped");
                aside.set_note(Some(format!(
                    "run {} was not completed: its {rows} rows were dropped, and those of the run before stay",
                    marker.run
                )));
            }
        }
        let places = [(source.source(), next.0), Aside::moved_by(marker)];
        self.until_done("clear what was gathered", || async { gathered.clear(&places).await.map(drop) }).await?;
        tracing::debug!(table = %parts.name, run = marker.run, version = table.stats().version, "a marker is passed");
        self.told_commit();
        Ok(())
    }

    async fn complete(&mut self, aside: &Aside, run: u64, rows: u64, place: (SourceId, u64)) -> Result<(), Over> {
        let table = self.parts.table.clone();
        if rows == 0 {
            match aside.whole {
                Whole::Added => {
                    aside.set_note(None);
                    return Ok(());
                }
                // Whatever made the vendor answer like this, what was there is more likely to be true.
                Whole::Instead(IfEmpty::Keep) => {
                    let before = table.stats().rows;
                    let note = format!(
                        "run {run} brought no row: the {before} rows of the run before stay; say `allow_empty = true` if it may \
                         empty the table"
                    );
                    tracing::warn!(table = %self.parts.name, run, "{note}");
                    aside.set_note(Some(note));
                    return Ok(());
                }
                Whole::Instead(IfEmpty::Replace) => {}
            }
        }
        let how = aside.whole.how();
        let name = self.parts.name.clone();
        self.until_done("take over the rows of a run", || async {
            let taken = table.take_over(how, place.clone()).await?;
            tracing::info!(table = %name, run, rows = taken.rows, files = taken.files, version = taken.version, "a run is complete");
            Ok(())
        })
        .await?;
        aside.set_note(None);
        Ok(())
    }

    /// Tries something until it is done; the pipeline's end, and another owner of the table, end it too.
    async fn until_done<F>(&mut self, what: &'static str, act: impl Fn() -> F) -> Result<(), Over>
    where
        F: Future<Output = Result<(), TakeOverError>>,
    {
        let mut pause = RETRY;
        loop {
            match act().await {
                Ok(()) => {
                    self.trouble.of_applier(None);
                    return Ok(());
                }
                Err(error) => {
                    self.trouble.of_applier(Some(chain(&error)));
                    if let TakeOverError::Commit(CommitError::Fenced { .. }) = error {
                        return Err(Over::Fenced);
                    }
                    tracing::error!(table = %self.parts.name, error = chain(&error), "could not {what}, which is tried again");
                }
            }
            let mut stopping = self.stopping.clone();
            let env = self.parts.env.clone();
            tokio::select! {
                () = env.sleep(env.jitter(pause)) => {}
                // The next start meets the same records again.
                _ = stopping.wait_for(|stop| *stop) => return Err(Over::Stopped),
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}
