//! Runs of crawls: asked for, under way, over. A machine of its own.
//!
//! ```text
//!            +--> waiting --+                +--> complete
//! start -----+              v                |
//!            +--> running <--> paused -------+--> failed
//!                    |           |           |
//!                    +-----------+--> cancelling --> cancelled
//! ```
//!
//! Invariants: of each crawl one run at most is active (running, paused, cancelling), and one at most waits, only behind an
//! active one; numbers rise per crawl and are never used again; a run that is over never changes; a schedule's time starts
//! one run at most; cursors come from complete runs only.

mod command;
mod machine;
mod run;
#[cfg(test)]
mod tests;

pub use command::{Change, Command, Outcome, Overlap, Start};
pub use machine::{CrawlRuns, Runs};
pub use run::{By, Cursors, Run, State};

/// Runs that are over, and kept, per crawl.
pub const HISTORY_MAX: usize = 100;
/// Tenants that a start may name.
pub const TENANTS_NAMED_MAX: usize = 10_000;
/// Bytes of a start's parameters, names and values together.
pub const PARAMS_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a reason that is kept.
pub const REASON_BYTES_MAX: usize = 4096;
/// Cursors that are kept per crawl, over all resources and tenants. A tenant beyond them begins where the first run did, each time.
pub const CURSORS_MAX: usize = 20_000;
/// Bytes of one cursor's value as JSON; a larger one is not kept.
pub const CURSOR_BYTES_MAX: usize = 1024;
