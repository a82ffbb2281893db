//! Read-only SQL over tables, joined with what is in the log behind their last commit.
