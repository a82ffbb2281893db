//! How far runs are: a fold over what the appends of a crawl say they did.
//!
//! ```text
//! append: items, next tasks, letters, [Event] --> apply(place, event) --> made - ended = open; zero: complete
//!                                                      |
//!                                                 snapshot, with its place
//! ```
//!
//! Invariants: an event counts once, by its place; totals by resource, and with them [`Progress::open_tasks`], are exact; memory
//! is bounded: of each run [`TENANTS_KEPT_MAX`] tenants are kept apart and the rest is summed, of the runs that are over the
//! newest [`RUNS_KEPT`] are kept.

mod counts;
mod cursor;
mod delivered;
mod event;
mod fan;
mod fold;
mod rate;
mod snapshot;

#[cfg(test)]
mod tests;

pub use counts::{Counts, PAGE_CLASSES, Pages, Totals, page_class};
pub use delivered::{Delivered, Pace};
pub use event::{Brought, Cell, Counted, End, Event, EventError, Further, Step};
pub use fan::Fan;
pub use fold::{Progress, RunProgress, StepProgress, TenantProgress};
pub use rate::Recent;
pub use snapshot::SnapshotError;

/// Tenants of a run that are kept apart, those that came first; all others are summed.
pub const TENANTS_KEPT_MAX: usize = 20_000;
/// Runs that are over, and whose progress is kept until the machine has it.
pub const RUNS_KEPT: usize = 4;
