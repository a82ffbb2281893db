//! Lookups: read at start, and again when they are due. Functions see the last good rows, and wait for nobody.
//!
//! ```text
//! open.rs      the first reading, or else the last snapshot
//! refresh.rs   one reading more: new rows, the same, or a failure that changes nothing
//! keep.rs      when that is done, and how soon after a failure
//! ```
//!
//! Invariant: a lookup's columns stay as they were at start, and its rows are the whole of one reading. A version is kept as
//! a snapshot before anybody sees it, unless the data folder can't take it: that is told as a failure, and tried again.

mod keep;
mod open;
mod refresh;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arrow::datatypes::SchemaRef;
use tokio::sync::{Mutex as Turns, Semaphore};
use weir_config::LookupPlan;
use weir_env::Env;
use weir_function::Lookups;
use weir_lookup::{LoadError, Snapshots, Stamp, Version};
use weir_types::{LookupName, Timestamp};

pub use refresh::RefreshFailed;

/// A lookup that there is nothing to start from.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// Its source can't be read, and it was never read before.
    #[error("lookup `{name}` can't be read, and there is no snapshot to start from")]
    Load {
        /// The lookup.
        name: LookupName,
        /// Why it can't be read.
        #[source]
        source: LoadError,
    },
}

/// How fresh a lookup is.
#[derive(Debug, Clone)]
pub(crate) struct Freshness {
    pub rows: u64,
    pub bytes: u64,
    pub version: Version,
    /// When these rows were read first.
    pub loaded_at: Timestamp,
    /// When the source had these rows last.
    pub confirmed_at: Timestamp,
    /// When it is read again.
    pub next_at: Option<Timestamp>,
    /// Readings that failed since the node was started.
    pub failures: u64,
    /// Why the last reading failed, if it did.
    pub failing: Option<String>,
    /// Columns of the source that a restart would bring.
    pub new_columns: Vec<String>,
}

/// All lookups' rows and versions at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Current {
    pub lookups: Arc<Lookups>,
    pub versions: Arc<BTreeMap<LookupName, Version>>,
}

/// What one reading tells the next.
#[derive(Debug, Default)]
struct Turn {
    stamp: Option<Stamp>,
    /// Whether the rows that are seen are not kept as a snapshot.
    unkept: bool,
    /// When it was last noted, durably, that the source still has the rows.
    noted_at: Timestamp,
}

/// One lookup.
struct Lookup {
    plan: LookupPlan,
    /// Held while it is read.
    turn: Turns<Turn>,
    freshness: Mutex<Freshness>,
}

/// All lookups of a plan, each as of its last good reading.
pub(crate) struct LookupSet {
    env: Env,
    snapshots: Snapshots,
    lookups: BTreeMap<LookupName, Lookup>,
    columns: BTreeMap<LookupName, SchemaRef>,
    current: RwLock<Current>,
    /// Readings at a time: each holds its rows beside those that are seen.
    readings: Semaphore,
}

impl LookupSet {
    /// Returns the rows as they are now.
    pub fn current(&self) -> Arc<Lookups> {
        self.now().lookups
    }

    /// Returns the rows as they are now, and which they are: what was made of them need not be made again while their
    /// versions stay.
    pub fn now(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns each lookup's columns, which stay as they were at start.
    pub fn columns(&self) -> &BTreeMap<LookupName, SchemaRef> {
        &self.columns
    }

    /// Returns each lookup, and how fresh it is.
    pub fn freshness(&self) -> impl Iterator<Item = (&LookupPlan, Freshness)> {
        self.lookups.values().map(|lookup| (&lookup.plan, lookup.freshness()))
    }
}

impl Lookup {
    fn freshness(&self) -> Freshness {
        self.freshness.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut Freshness)) {
        change(&mut self.freshness.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
