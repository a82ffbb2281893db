//! Compacting the node's tables, beside everything else.
//!
//! ```text
//!   merges of small files   one after the other, the most urgent of all tables first
//!   rebuilds of partitions  a few at once, likewise; those may take minutes, and must not hold merges up
//! ```
//!
//! What fails is told once in the status, and left alone for a while that doubles: a full disk is not asked every ten
//! seconds. A compaction that is under way when the node stops is given up; its files are nobody's, and a vacuum's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use weir_env::Env;
use weir_table::{Due, Place, Table, Work};
use weir_types::TableName;

use crate::node::Node;
use crate::pipeline::chain;

/// How often what is due is looked for.
const ROUND: Duration = Duration::from_secs(10);
/// How long a place is left alone after a failure, at first and at most.
const REST: Duration = Duration::from_secs(30);
const REST_MAX: Duration = Duration::from_secs(3600);
/// Rebuilds at once at most: each takes two threads, the memory of `compact_bytes`, and a row group or two.
const REBUILDS_MAX: usize = 4;

/// What failed lately.
#[derive(Debug, Default)]
pub(crate) struct Compactions {
    failed: Mutex<HashMap<(TableName, Place), Failure>>,
}

#[derive(Debug, Clone)]
struct Failure {
    what: String,
    rest: Duration,
    until: Duration,
}

impl Compactions {
    /// Says why a table's files are not compacted, if they are not.
    pub fn trouble(&self, table: &str) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.iter().find(|((name, _), _)| name.as_str() == table).map(|(_, failure)| failure.what.clone())
    }

    fn rests(&self, table: &TableName, place: Place, now: Duration) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get(&(table.clone(), place)).is_some_and(|failure| now < failure.until)
    }

    fn ended(&self, table: &TableName, place: Place, failed: Option<String>, env: &Env) {
        let mut all = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (table.clone(), place);
        match failed {
            None => drop(all.remove(&key)),
            Some(what) => {
                let rest = all.get(&key).map_or(REST, |before| (before.rest * 2).min(REST_MAX));
                all.insert(key, Failure { what, rest, until: env.elapsed() + env.jitter(rest) });
            }
        }
    }
}

impl Node {
    /// Starts compacting.
    pub(crate) fn start_compacting(self: &std::sync::Arc<Self>) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let rebuilds = (cores / 2).clamp(1, REBUILDS_MAX);
        for (work, at_once) in [(Work::Merge, 1), (Work::Rebuild, rebuilds)] {
            // Weak, so that a node that is dropped ends.
            self.keep_task(tokio::spawn(compact(std::sync::Arc::downgrade(self), work, at_once)));
        }
    }

    /// Returns the work of one kind that is due over all tables, the most urgent first.
    fn due(&self, work: Work) -> Vec<(TableName, Due)> {
        let now = self.env().elapsed();
        let due = self.compacted().filter(|(_, _, works)| works.contains(&work)).flat_map(|(name, table, _)| {
            let due = table.due().into_iter().filter(|due| due.work == work);
            due.filter(|due| !self.compactions().rests(name, due.place, now)).map(|due| (name.clone(), due))
        });
        let mut due: Vec<_> = due.collect();
        due.sort_by(|(_, a), (_, b)| b.urgency.total_cmp(&a.urgency));
        due
    }

    /// Returns the tables whose files are compacted, and by which work: what is gathered for another table is merged, so that
    /// it does not become too many files, and rebuilt where it ends up.
    fn compacted(&self) -> impl Iterator<Item = (&TableName, &Arc<Table>, &[Work])> {
        let all = self.tables().map(|(name, table)| (name, table, &[Work::Merge, Work::Rebuild][..]));
        let aside = self.pipelines().values().filter_map(|pipeline| Some(&pipeline.aside()?.table));
        all.chain(aside.map(|table| (&table.spec().name, table, &[Work::Merge][..])))
    }

    /// Does one compaction, and says whether it changed anything.
    async fn compact_one(&self, name: TableName, due: Due) -> bool {
        let Some((_, table, _)) = self.compacted().find(|(known, ..)| **known == name) else { return false };
        let place = due.place;
        let compacted = table.compact(due).await;
        let changed = compacted.as_ref().is_ok_and(|done| done.files_in > 0);
        let failed = match compacted {
            Ok(done) if done.files_in > 0 => {
                tracing::info!(
                    table = %name, files_in = done.files_in, files_out = done.files_out, rows = done.rows,
                    removed = done.removed, bytes_in = done.bytes_in, bytes_out = done.bytes_out, "files were compacted"
                );
                None
            }
            Ok(_) => None,
            Err(error) => {
                let what = chain(&error);
                tracing::warn!(table = %name, error = what, "files could not be compacted");
                Some(what)
            }
        };
        self.compactions().ended(&name, place, failed, self.env());
        changed
    }
}

/// Does one kind of work until nothing is due, again and again.
async fn compact(node: Weak<Node>, work: Work, at_once: usize) {
    let Some(env) = node.upgrade().map(|node| node.env().clone()) else { return };
    loop {
        env.sleep(env.jitter(ROUND)).await;
        loop {
            let Some(node) = node.upgrade() else { return };
            // What is due is looked for again when something changed: merges make larger files that are due themselves.
            let due = stream::iter(node.due(work)).map(|(name, due)| node.compact_one(name, due).boxed());
            let changed = due.buffer_unordered(at_once).fold(false, |any, one| std::future::ready(any | one)).await;
            if !changed {
                break;
            }
        }
    }
}
