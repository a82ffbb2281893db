//! The light check: books against books, and against the Delta log; by request, and every minute.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use weir_ledger::{Balance, Booked, Choice, Command, Live, LiveTable, balance};
use weir_machine::SubmitError;
use weir_table::{AuditError, Table};

use super::places_of;
use super::report::{Checked, Depth, LedgerReport};
use super::round::Count;
use crate::node::Node;
use crate::pipeline::chain;

/// How often the books are compared.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// How often files are read.
const VERIFY_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How often a table is looked at that commits meanwhile.
const LOOKS_MAX: u32 = 4;
/// Counts of a table that commits meanwhile.
const RECOUNTS_MAX: u32 = 5;

/// What the last checks came to, and when the next ones are due.
#[derive(Debug)]
pub(super) struct Checks {
    books: Option<Checked>,
    files: Option<Checked>,
    check_at: Duration,
    verify_at: Duration,
}

impl Checks {
    pub fn begin(now: Duration) -> Self {
        Self { books: None, files: None, check_at: now + CHECK_EVERY, verify_at: now + VERIFY_EVERY }
    }
}

/// Why something could not be accepted.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// There is no such incident.
    #[error("the ledger has no incident {number}")]
    NoIncident {
        /// As asked for.
        number: u64,
    },
    /// There is no such table.
    #[error("there is no table `{table}`")]
    NoTable {
        /// As asked for.
        table: String,
    },
    /// The table commits faster than it can be counted.
    #[error("table `{table}` was written to each time that it was counted; try again when less comes in")]
    Busy {
        /// The table.
        table: String,
    },
    /// What the table holds could not be counted.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The ledger did not take it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl Node {
    /// Compares the books of the hours and hops that are chosen with each other and with what is there.
    pub async fn ledger(&self, choice: &Choice, depth: Depth) -> LedgerReport {
        let mut unchecked = Vec::new();
        // Before the tails: what is in a table then is in the streams' books.
        let mut live = self.live();
        if let Err(error) = self.book(Count::All).await {
            unchecked.push(format!("what came last could not be booked: {}", chain(&error)));
        }
        live.tails = self.tails();
        let mut beyond = Balance::default();
        if depth == Depth::Files {
            beyond = self.verify(choice, &mut live, &mut unchecked).await;
        }
        let mut balance = self.books().read(|ledger| {
            for (name, table) in self.all_tables() {
                if let Some(live) = live.tables.get_mut(name) {
                    live.commits_now = table.commits();
                }
            }
            balance(ledger, &live, choice)
        });
        balance.findings.extend(beyond.findings);
        balance.lines.extend(beyond.lines);
        if depth == Depth::Files {
            self.name_all(&mut balance, &mut unchecked).await;
        }
        let report = LedgerReport::new(self.env().now(), depth, balance, unchecked);
        if *choice == Choice::default() {
            let mut checks = self.books().checks.lock().unwrap_or_else(PoisonError::into_inner);
            let checked = Some(Checked::of(&report));
            match depth {
                Depth::Books => checks.books = checked,
                Depth::Files => {
                    checks.books.clone_from(&checked);
                    checks.files = checked;
                }
            }
        }
        report
    }

    /// Returns what the last checks came to: of the books, and of the files.
    pub fn ledger_checks(&self) -> (Option<Checked>, Option<Checked>) {
        let checks = self.books().checks.lock().unwrap_or_else(PoisonError::into_inner);
        (checks.books.clone(), checks.files.clone())
    }

    /// Returns why nothing can be booked, if nothing can.
    pub fn ledger_trouble(&self) -> Option<String> {
        self.books().trouble()
    }

    /// Takes note that somebody has looked at an incident.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn accept_incident(&self, number: u64, note: String) -> Result<(), LedgerError> {
        match self.books().submit(Command::Accepted { incident: number, note }).await? {
            Booked::Taken => Ok(()),
            Booked::Stale => Err(LedgerError::NoIncident { number }),
        }
    }

    /// Takes what a table holds for what it should hold from here on: somebody has looked at it. What was passed over is
    /// accepted too.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn accept_table(&self, table: &str, note: &str) -> Result<(), LedgerError> {
        let found = self.all_tables().into_iter().find(|(name, _)| *name == table);
        let (_, known) = found.ok_or_else(|| LedgerError::NoTable { table: table.to_owned() })?;
        for _ in 0..RECOUNTS_MAX {
            let commits = known.commits();
            let places = places_of(known).await?;
            if known.commits() != commits {
                continue;
            }
            let recounted = Command::Recounted { table: table.to_owned(), commits, places, note: note.to_owned() };
            if self.books().submit(recounted).await? == Booked::Taken {
                return Ok(());
            }
        }
        Err(LedgerError::Busy { table: table.to_owned() })
    }

    fn tails(&self) -> BTreeMap<weir_types::LogName, u64> {
        let streams = self.all_streams();
        let shards = streams.iter().flat_map(|stream| stream.shards());
        shards.map(|shard| (shard.log().name().clone(), shard.bounds().tail.0)).collect()
    }

    /// Returns all tables: those that records feed, and rollups.
    pub(super) fn all_tables(&self) -> Vec<(&str, &Arc<Table>)> {
        let fed = self.pipelines().iter().map(|(name, pipeline)| (name.as_str(), pipeline.table()));
        let aside = self.pipelines().values().filter_map(|pipeline| Some(&pipeline.aside()?.table));
        let aside = aside.map(|table| (table.spec().name.as_str(), table));
        fed.chain(aside).chain(self.rollups().iter().map(|(name, rollup)| (name.as_str(), rollup.table()))).collect()
    }

    fn live(&self) -> Live {
        let mut live = Live::default();
        for (name, table) in self.all_tables() {
            live.tables.insert(name.to_owned(), live_table(table));
        }
        for (name, pipeline) in self.pipelines() {
            if let Some(table) = live.tables.get_mut(name.as_str()) {
                table.makes_rows = pipeline.parts().function.is_some();
            }
            let aside = pipeline.aside().and_then(|aside| live.tables.get_mut(aside.table.spec().name.as_str()));
            if let Some(aside) = aside {
                aside.makes_rows = false;
            }
        }
        live
    }

    /// Compares the books, and now and then the files, if that is due.
    pub(super) async fn check_if_due(&self) {
        let now = self.env().elapsed();
        let depth = {
            let mut checks = self.books().checks.lock().unwrap_or_else(PoisonError::into_inner);
            if now >= checks.verify_at {
                (checks.check_at, checks.verify_at) = (now + CHECK_EVERY, now + VERIFY_EVERY);
                Depth::Files
            } else if now >= checks.check_at {
                checks.check_at = now + CHECK_EVERY;
                Depth::Books
            } else {
                return;
            }
        };
        let report = self.ledger(&Choice::default(), depth).await;
        for finding in &report.findings {
            tracing::error!(hop = finding.hop.as_str(), name = finding.name, next = finding.next, "{}", finding.what);
        }
    }
}

/// Reads what the Delta log says of a table, at one number of commits.
fn live_table(table: &Table) -> LiveTable {
    let mut live = LiveTable { commits: table.commits(), makes_rows: true, ..LiveTable::default() };
    for _ in 0..LOOKS_MAX {
        let partitions = table.partitions();
        let commits = table.commits();
        if commits == live.commits {
            let rows = partitions.iter().map(|partition| Some(((partition.day, partition.hour), partition.rows?)));
            live.partitions = rows.collect();
            return live;
        }
        live.commits = commits;
    }
    live
}
