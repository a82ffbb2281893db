//! Tables on Delta Lake: exactly-once commits, unique rows, merging and vacuum.
