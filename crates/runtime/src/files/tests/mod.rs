//! Blocks driven round by round, over a store and a log in memory.

mod faults;
mod hints;
mod once;
mod rows;
mod whole;
mod world;
