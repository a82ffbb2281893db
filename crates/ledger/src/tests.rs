//! Books over crashes, rollbacks and faults.
