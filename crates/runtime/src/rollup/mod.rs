//! Rollups: tables that are kept equal to a query over another table, partition by partition.
//!
//! ```text
//!   source commits --wake--> stale? --[query over the files of these partitions]--> replace the partition, one
//!        ^                     |                                                    transaction --> wakes the next link
//!     lookups' new contents ---+--- nothing: wait
//! ```
//!
//! Invariants: a partition's rows and what they were made of are committed together, so that a crash resumes where it was
//! and nothing else says how far a rollup is. A partition is the query over one state of the source. Compaction makes
//! nothing stale. What fails is tried again, told in the status, and keeps no other partition waiting for long.

mod compute;
mod open;
mod refresh;
mod run;
mod stale;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::ObjectStore;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use weir_config::RollupPlan;
use weir_env::Env;
use weir_function::Rollup;
use weir_table::Table;
use weir_types::TableName;

pub(crate) use self::open::{Around, open, sources};
pub use self::refresh::RefreshError;
use self::run::Settled;
use self::stale::Shape;
use crate::lookups::LookupSet;

/// Partitions of all rollups that are computed at once: each takes all processors for its query.
pub(crate) const AT_ONCE: usize = 2;

/// A table that others are made of.
#[derive(Clone)]
pub(crate) struct Source {
    pub name: TableName,
    pub table: Arc<Table>,
    pub store: Arc<dyn ObjectStore>,
}

/// What a rollup is made of.
struct Parts {
    name: TableName,
    plan: RollupPlan,
    planned: Rollup,
    shape: Shape,
    env: Env,
    source: Source,
    table: Arc<Table>,
    store: Arc<dyn ObjectStore>,
    lookups: Arc<LookupSet>,
    queries: weir_query::Engine,
    /// Held while a partition is computed.
    turns: Arc<Semaphore>,
    freshness: Duration,
    progress: Progress,
    /// Counts requests to compute what is stale now.
    asked: watch::Sender<u64>,
    /// What was computed last.
    settled: watch::Sender<Settled>,
}

/// How far a rollup is.
#[derive(Default)]
struct Progress {
    stale: AtomicU64,
    computed: AtomicU64,
    failures: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Progress {
    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, what: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

/// The state of a rollup. Counts of what was done are since the node was started.
#[derive(Debug, Clone, Serialize)]
pub struct RollupStatus {
    /// The table that it is made of.
    pub source: String,
    /// Partitions that are not what the query would give now, as of the last look.
    pub stale: u64,
    /// Partitions that were computed.
    pub computed: u64,
    /// Partitions that could not be computed.
    pub failures: u64,
}

/// A rollup that is kept up.
pub(crate) struct OpenRollup {
    parts: Arc<Parts>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl OpenRollup {
    fn start(parts: Parts) -> Self {
        let parts = Arc::new(parts);
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(run::run(parts.clone(), stopping));
        Self { parts, stop, task: Mutex::new(Some(task)) }
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.parts.table
    }

    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.parts.store
    }

    /// Returns the name of the table that it is made of.
    pub fn source(&self) -> &TableName {
        &self.parts.source.name
    }

    pub fn status(&self) -> RollupStatus {
        let progress = &self.parts.progress;
        RollupStatus {
            source: self.source().to_string(),
            stale: progress.stale.load(Ordering::Relaxed),
            computed: progress.computed.load(Ordering::Relaxed),
            failures: progress.failures.load(Ordering::Relaxed),
        }
    }

    /// Returns why a partition can't be computed, if one can't.
    pub fn trouble(&self) -> Option<String> {
        self.parts.progress.trouble()
    }

    /// Ends what runs; a partition that is being computed will be computed again.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A task that panicked has said so, and its work is redone at the next start.
            let _ = task.await;
        }
    }
}
