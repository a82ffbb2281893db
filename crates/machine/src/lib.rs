//! Deterministic state machines over a log: the form of everything durable that is not a stream of records or an object.
//!
//! ```text
//! submit(command) --> append to the log --> durable --> apply --> outcome
//!                                                         |
//! open: newest snapshot + the commands behind it ---------+
//! ```
//!
//! [`Machine`] is what a kind of state provides; [`Owner`] runs one over a [`weir_log::Log`], with snapshots in an object
//! store ([`Snapshots`]). Invariants: the state is what its log says, whoever replays it; a command's outcome is given out
//! only when the command is durable; an owner that has been replaced finds its next append refused, and steps down.

mod machine;
mod owner;
mod snapshots;
#[cfg(test)]
mod tests;

pub use machine::{At, Machine, RestoreError};
pub use owner::{OpenError, Options, Owner, SubmitError};
pub use snapshots::{SnapshotError, Snapshots};
