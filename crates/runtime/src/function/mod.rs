//! Functions that run: handlers, and SQL whose rows go to streams and queues.
//!
//! ```text
//! stream shards --[records]--+
//! queue         --[messages]-+--> step (handler, SQL) --> [outbox] `_function-NAME` --[forward]--> streams, queues,
//! `_function-NAME` queue ----+                                    |                                dead letters
//!   (schedules, files, asynchronous invocations)                  +--> pipelines of tables
//! ```
//!
//! Everything that a function has made and everything it has given up goes through its outbox (decision 0012). SQL from a
//! stream into a table is a [`crate::pipeline`] alone.

mod apis;
mod failure;
pub(crate) mod forward;
mod handler;
mod invoke;
mod messages;
mod open;
pub(crate) mod outbox;
mod output;
mod records;
mod said;
mod schedule;
mod sql;
mod step;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub(crate) use self::forward::consumer;
pub use self::invoke::{DeployFailed, InvokeFailed, Invoked};
pub(crate) use self::open::{Around, Functions, OpenFunction, REPLAY_SHARD, Replay, needs_outbox};
pub use self::outbox::OutboxError;
pub(crate) use self::schedule::Scheduled;

/// How a function's batches are made, and how often they are tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Records or messages of one run.
    pub size: usize,
    /// How long a batch waits to be full.
    pub window: Duration,
    /// Lanes of one shard.
    pub parallel: usize,
    /// Runs of a record by itself, the first included; none: without end.
    pub attempts: Option<u32>,
    /// How old a record may be to be run.
    pub age: Option<Duration>,
    /// Whether a failed batch is halved.
    pub bisect: bool,
}

/// Why a function stands still, if it does: each part says so, and takes back its own word alone.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    runner: Mutex<Option<String>>,
    outbox: Mutex<Option<String>>,
    forwarder: Mutex<Option<String>>,
}

impl Trouble {
    fn set(part: &Mutex<Option<String>>, what: Option<String>) {
        *part.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    pub fn of_runner(&self, what: Option<String>) {
        Self::set(&self.runner, what);
    }

    pub fn of_outbox(&self, what: Option<String>) {
        Self::set(&self.outbox, what);
    }

    pub fn of_forwarder(&self, what: Option<String>) {
        Self::set(&self.forwarder, what);
    }

    pub fn get(&self) -> Option<String> {
        let parts = [&self.outbox, &self.forwarder, &self.runner];
        parts.into_iter().find_map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What a function has done since the node was started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    runs: AtomicU64,
    items: AtomicU64,
    failures: AtomicU64,
    made: AtomicU64,
    dead_lettered: AtomicU64,
    lost: AtomicU64,
}

/// [`Counters`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub runs: u64,
    pub items: u64,
    pub failures: u64,
    pub made: u64,
    pub dead_lettered: u64,
    pub lost: u64,
}

impl Counters {
    fn ran(&self, items: usize) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.items.fetch_add(items as u64, Ordering::Relaxed);
    }

    fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn made(&self, records: usize) {
        self.made.fetch_add(records as u64, Ordering::Relaxed);
    }

    fn dead_lettered(&self, items: usize) {
        self.dead_lettered.fetch_add(items as u64, Ordering::Relaxed);
    }

    fn lost(&self, records: u64) {
        self.lost.fetch_add(records, Ordering::Relaxed);
    }

    pub fn get(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            runs: read(&self.runs),
            items: read(&self.items),
            failures: read(&self.failures),
            made: read(&self.made),
            dead_lettered: read(&self.dead_lettered),
            lost: read(&self.lost),
        }
    }
}
