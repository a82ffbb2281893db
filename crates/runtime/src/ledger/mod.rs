//! The books that a node keeps: who books what, and when.
//!
//! ```text
//! pipeline: page read --> [covered] --> row fates --> witness: entry N --> ledger, then Delta commit N
//!     \--> [shards] heads of blocks --+
//! outbox: done --> its own append ----+--every few seconds--> ledger
//! door: counters ---------------------+
//! ```
//!
//! Invariants: a commit of a table is booked before it is made; what is trimmed has been booked; booking holds nobody up but
//! the commit that it is about.

mod archives;
mod check;
mod covered;
mod letters;
mod naming;
mod report;
mod round;
mod shards;
#[cfg(test)]
mod tests;
mod upkeep;
mod verify;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use weir_env::Env;
use weir_ledger::{Booked, Changes, Command, DoorCounts, Ledger, Opened, PlaceKey};
use weir_machine::{Owner, SubmitError};
use weir_table::{AuditError, Place, Table};
use weir_types::Tally;

pub use self::check::LedgerError;
pub(crate) use self::covered::{Covered, CoveredPage};
pub use self::report::{Checked, Depth, LedgerReport};
pub(crate) use self::round::{Count, keep_books};
pub(crate) use self::shards::Shards;
pub(crate) use self::witness::Bookkeeper;

/// The books of a node.
pub(crate) struct Books {
    /// Whether books are kept.
    keeping: Keeping,
    env: Env,
    owner: Owner<Ledger>,
    pub shards: Shards,
    /// What is booked of each door's counters.
    doors: Mutex<BTreeMap<String, DoorCounts>>,
    /// Commits of tables that are known to be made, as they were last booked.
    made: Mutex<BTreeMap<String, u64>>,
    /// Why nothing can be booked, if nothing can.
    trouble: Mutex<Option<String>>,
    /// What the last checks came to.
    checks: Mutex<check::Checks>,
    /// One round at a time.
    rounds: tokio::sync::Mutex<()>,
}

/// Whether a node keeps books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeping {
    /// It does.
    #[default]
    On,
    /// It does not, so that what books cost can be measured. Nothing is proved then.
    Off,
}

/// Why a table's book could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// What the table holds could not be counted.
    #[error("count what the table holds")]
    Audit(#[from] AuditError),
    /// The ledger did not take it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl Books {
    pub fn new(env: Env, owner: Owner<Ledger>, keeping: Keeping) -> Arc<Self> {
        let shards = Shards::new(&owner);
        let (doors, made, trouble) = (Mutex::default(), Mutex::default(), Mutex::default());
        let checks = Mutex::new(check::Checks::begin(env.elapsed()));
        Arc::new(Self {
            keeping,
            env,
            owner,
            shards,
            doors,
            made,
            trouble,
            checks,
            rounds: tokio::sync::Mutex::default(),
        })
    }

    /// Tells whether books are kept.
    pub fn are_kept(&self) -> bool {
        self.keeping == Keeping::On
    }

    /// Reads the books.
    pub fn read<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        self.owner.read(look)
    }

    pub async fn submit(&self, command: Command) -> Result<Booked, SubmitError> {
        self.owner.submit(command).await
    }

    /// Brings a table's book in step with the table, before anything is read into it. A table that has rows and no book is
    /// counted first.
    pub async fn open_table(&self, table: &Table) -> Result<(), BookError> {
        if !self.are_kept() {
            return Ok(());
        }
        let name = table.spec().name.to_string();
        let commits = table.commits();
        let known = self.read(|ledger| ledger.tables.get(&name).map(|book| book.stock_known));
        let stock = match known {
            Some(true) => None,
            // What was lost sight of stays so until somebody has looked: see `accept`.
            Some(false) => None,
            None if commits == 0 && table.stats().files == 0 => None,
            None => Some(places_of(table).await?),
        };
        let positions = table.positions().into_iter();
        let positions = positions.filter(|(source, _)| is_records(source.as_str()));
        let positions = positions.map(|(source, next)| (source.as_str().to_owned(), next)).collect();
        let opened = Opened { table: name.clone(), commits, positions, stock };
        self.submit(Command::Opened(opened)).await?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(name, commits);
        Ok(())
    }

    /// Closes the books of tables that are not in the plan any more.
    pub async fn close_others(&self, tables: &BTreeSet<String>) -> Result<(), SubmitError> {
        let gone: Vec<String> =
            self.read(|ledger| ledger.tables.keys().filter(|table| !tables.contains(*table)).cloned().collect());
        if !gone.is_empty() {
            self.submit(Command::Closed { tables: gone }).await?;
        }
        Ok(())
    }

    /// Returns how often each partition's rows were changed, by table, day and hour: the most of its buckets.
    pub fn changes(&self) -> BTreeMap<(String, Option<i32>, Option<u8>), Changes> {
        let mut changes: BTreeMap<(String, Option<i32>, Option<u8>), Changes> = BTreeMap::new();
        let commits = |table: &str| self.made.lock().unwrap_or_else(PoisonError::into_inner).get(table).copied();
        let tables: Vec<String> = self.read(|ledger| ledger.tables.keys().cloned().collect());
        for table in tables {
            let made = commits(&table).unwrap_or(0);
            let stock = self.read(|ledger| {
                let book = ledger.tables.get(&table)?;
                book.stock(book.booked(made.max(book.commits)))
            });
            for (place, stock) in stock.unwrap_or_default() {
                let (day, hour) = place.partition();
                let of = changes.entry((table.clone(), day, hour)).or_default();
                if stock.changes.total() > of.total() {
                    *of = stock.changes;
                }
            }
        }
        changes
    }

    /// Returns the last number that is booked of an outbox.
    pub fn taken_of(&self, outbox: &str) -> u64 {
        self.read(|ledger| ledger.functions.get(outbox).map_or(0, |book| book.number))
    }

    /// Says why nothing can be booked, if nothing can.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, what: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

/// Counts the ids in a table's files, by place.
pub(crate) async fn places_of(table: &Table) -> Result<Vec<(PlaceKey, Tally)>, AuditError> {
    let audit = table.audit(None).await?;
    Ok(audit.places.into_iter().map(|(place, tally)| (key_of(place), tally)).collect())
}

pub(crate) fn key_of(place: Place) -> PlaceKey {
    PlaceKey(place.day, place.hour, place.bucket)
}

/// Tells whether positions of a source are places of records that are booked there: a rollup's are not, and those of runs that
/// were taken over are booked where they were gathered.
fn is_records(source: &str) -> bool {
    !source.starts_with("rollup/") && !source.starts_with("run/")
}
