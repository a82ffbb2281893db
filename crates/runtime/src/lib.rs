//! Takes a plan and runs it.
