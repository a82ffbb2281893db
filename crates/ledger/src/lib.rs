//! The ledger: books of every hop, kept by different hands, that must agree.
//!
//! ```text
//! door --> stream --> function --> table --> files
//!   |        |  \        |           |         |
//! counts   blocks' sums  outbox    entry N    Delta log, footers
//!              \-> archive                     (what is there: given as [`Live`])
//!        \________ [`Ledger`], a machine over the log ________/
//!                            |
//!                    [`balance`]: lines, findings
//! ```
//!
//! Amounts are tallies: a count, and the wrapping sum of 128-bit ids. Accounts are split by the hour in which the log took a
//! record. Invariants: nothing is booked twice and nothing booked is forgotten, over any crash, since a command is taken
//! only where the book ends, and a table's entry counts if, and only if, the table has made the commit it is about; the
//! state is bounded by hours, partitions and named limits.
//!
//! It knows numbers and names alone: no files, no streams, no tables. Whoever runs them books, and says what is there.
//!
//! ```
//! use weir_ledger::{Booked, Choice, Command, Ledger, Live, ShardHour, Streamed, balance};
//! use weir_machine::{At, Machine};
//! use weir_types::{Hour, SequenceNumber, Tally, Timestamp};
//!
//! let mut ledger = Ledger::default();
//! let hours = vec![(Hour(3), ShardHour::of(0, 2, Tally { count: 2, sum: 17 }))];
//! let shard = Streamed { log: "stream/flights/0".parse().unwrap(), from: 0, to: 2, hours };
//! let at = At { sequence: SequenceNumber(0), time: Timestamp(0) };
//! let booked = ledger.apply(at, Command::Streamed(vec![shard]));
//! assert_eq!(booked, Booked::Taken);
//! let balance = balance(&ledger, &Live::default(), &Choice::default());
//! assert!(balance.findings.is_empty());
//! assert_eq!(balance.lines[0].records_in, 2);
//! ```

mod balance;
mod book;
mod command;
mod incident;
mod ledger;
mod slices;
#[cfg(test)]
mod tests;

pub use balance::{
    ArchivedHour, Balance, Choice, Fault, Finding, Hop, IDS_NAMED_MAX, Line, Live, LiveTable, NamedId, PartitionKey,
    Wrong, balance,
};
pub use book::{
    Changes, Counts, DoorCounts, Entry, FunctionBook, FunctionCounts, FunctionHours, PLACES_PER_PART, PlaceEntry,
    PlaceKey, Reached, ShardBook, ShardHour, SourceBook, SourceEntry, Stock, TableBook, Why,
};
pub use command::{Audited, Booked, Command, Opened, Streamed};
pub use incident::{INCIDENTS_MAX, Incident};
pub use ledger::Ledger;
pub use slices::{Difference, Slice, SliceFull, slices_of};
