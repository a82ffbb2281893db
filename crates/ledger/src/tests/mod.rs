//! Books over crashes, rollbacks and faults.

mod crashes;
mod faults;
mod world;
