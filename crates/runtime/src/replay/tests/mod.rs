//! Replays of whole nodes, over crashes.

mod from_archive;
mod into_function;
mod into_table;
mod refused;
mod world;
