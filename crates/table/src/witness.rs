//! The witness of commits: who keeps books beside the table hears of every commit of rows before it becomes durable.
//!
//! ```text
//!   rows written, unnamed --> prepare(number N) --ok--> Delta transaction of number N --> durable
//!                                  \--error--> nothing happened; tried again later, number N again
//! ```
//!
//! Between `prepare` and the transaction anything may happen. Afterwards, [`Table::commits`](crate::Table::commits)
//! says what became of it: of all that was prepared under one number, the last was committed if the table has counted
//! that far, and none of it if not. Other writers' rows are not told, neither when they come nor when they are replaced
//! or removed as repeats: books and files differ by just these. (Once they were merged into a file of ours, nobody can
//! tell them from ours: count them anew.) A number is never prepared anew once it was committed. If another process took the
//! table over, `prepare` was its own, and this one is fenced.

use std::collections::BTreeMap;
use std::error::Error;

use async_trait::async_trait;
use weir_types::Tally;

use crate::outcome::SourceId;
use crate::place::Place;

/// Is told of every commit of rows before it becomes durable.
#[async_trait]
pub trait Witness: Send + Sync {
    /// Notes what a commit is about to do. Called again with the same number if the commit failed, perhaps with other
    /// contents: the last call counts. It must be durable when it returns, and must not call the table.
    ///
    /// # Errors
    /// An error fails the commit, which is tried again later.
    async fn prepare(&self, commit: &Prepared) -> Result<(), WitnessError>;
}

/// Why a witness could not note a commit.
#[derive(Debug, thiserror::Error)]
#[error("note the commit in the books")]
pub struct WitnessError(#[source] pub Box<dyn Error + Send + Sync>);

/// A commit that is about to happen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// The number of commits of rows, this one included, over the table's whole life.
    pub number: u64,
    /// What it changes, in the order of places, each once.
    pub places: Vec<PlaceChange>,
    /// Which sources it moves: from and to which next sequence number. A source that is new comes from 0.
    pub positions: BTreeMap<SourceId, (u64, u64)>,
}

/// What a commit changes in one place. The place's tally afterwards is that of before, and `added`, less `removed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceChange {
    /// The place.
    pub place: Place,
    /// Rows that the place had not. Rows that take the place of older ones with their ids are not among them.
    pub added: Tally,
    /// Rows that the place has no more.
    pub removed: Tally,
    /// How many of the new rows came late.
    pub late: u64,
    /// Rows that took the place of an older one with the same id.
    pub replaced: u64,
}
