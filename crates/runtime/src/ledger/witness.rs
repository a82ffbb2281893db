//! The witness of a table: books each commit before it is made.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use weir_ledger::{Booked, Command, Entry, PlaceEntry, SourceEntry, Why};
use weir_table::{Prepared, SourceId, Witness, WitnessError};

use super::{Books, Covered, is_records, key_of};

/// How long a commit waits for the pages that it covers to be noted: they follow their rows at once.
const PAGES_PATIENCE: Duration = Duration::from_secs(10);

/// Books the commits of one table.
pub(crate) struct Bookkeeper {
    table: String,
    books: Arc<Books>,
    covered: Arc<Covered>,
}

/// Why a commit could not be booked.
#[derive(Debug, thiserror::Error)]
enum Unbooked {
    #[error("what the commit covers of `{source_id}` up to {to} was not noted within 10 seconds")]
    Pages { source_id: SourceId, to: u64 },
    #[error(
        "the ledger has commit {number} of table `{table}` already: the table has gone back while it was open; restart weir"
    )]
    Stale { table: String, number: u64 },
}

impl Bookkeeper {
    pub fn new(table: String, books: Arc<Books>, covered: Arc<Covered>) -> Self {
        Self { table, books, covered }
    }

    async fn book(&self, commit: &Prepared) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let records = || commit.positions.iter().filter(|(source, _)| is_records(source.as_str()));
        let env = &self.books.env;
        for (source, (_, to)) in records() {
            let noted = env.within(PAGES_PATIENCE, self.covered.wait_for(source.as_str(), *to)).await;
            if noted.is_none() {
                return Err(Unbooked::Pages { source_id: source.clone(), to: *to }.into());
            }
        }
        let sources: Vec<SourceEntry> =
            records().map(|(source, (from, to))| self.covered.entry(source.as_str(), *from, *to)).collect();
        let places = commit.places.iter().map(|change| PlaceEntry {
            place: key_of(change.place),
            added: change.added,
            removed: change.removed,
            late: change.late,
            replaced: change.replaced,
        });
        let entry = Entry {
            table: self.table.clone(),
            number: commit.number,
            why: why(commit),
            part: 1,
            parts: 1,
            sources,
            places: places.collect(),
        };
        for part in entry.into_parts() {
            if self.books.submit(Command::Prepared(part)).await? == Booked::Stale {
                return Err(Unbooked::Stale { table: self.table.clone(), number: commit.number }.into());
            }
        }
        Ok(())
    }
}

/// Says why a commit changes rows, going by what it reads.
fn why(commit: &Prepared) -> Why {
    let begins = |start: &str| commit.positions.keys().any(|source| source.as_str().starts_with(start));
    if begins("rollup/") {
        Why::Rollup
    } else if begins("replay/") {
        Why::Replay
    } else if begins("stream/_redrive") {
        Why::Redrive
    } else if begins("run/") {
        Why::Run
    } else if commit.positions.is_empty() {
        Why::Compaction
    } else {
        Why::Append
    }
}

#[async_trait]
impl Witness for Bookkeeper {
    async fn prepare(&self, commit: &Prepared) -> Result<(), WitnessError> {
        if !self.books.are_kept() {
            return Ok(());
        }
        let booked = self.book(commit).await;
        self.books.set_trouble(booked.as_ref().err().map(|error| crate::pipeline::chain(&**error)));
        booked.map_err(WitnessError)
    }
}
