//! The books: one kind per hop.

mod counts;
mod door;
mod entry;
mod function;
mod place;
pub(crate) mod ranges;
mod shard;
mod table;

pub use counts::Counts;
pub use door::DoorCounts;
pub use entry::{Entry, PLACES_PER_PART, PlaceEntry, SourceEntry, Why};
pub use function::{FunctionBook, FunctionCounts, FunctionHours, Reached};
pub use place::PlaceKey;
pub use shard::{ShardBook, ShardHour};
pub(crate) use table::Met;
pub use table::{Changes, SourceBook, Stock, TableBook};
