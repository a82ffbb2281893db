//! What an estimate says, and in how many seeded runs it is right.

mod simulation;
