//! Deterministic state machines over a log.

mod machine;

pub use machine::{At, Machine, RestoreError};
