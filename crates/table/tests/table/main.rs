//! Tables from outside: what is exact, what survives a crash, what is bounded.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod aside;
mod audit;
mod compact;
mod crash;
mod layout;
mod maintenance;
mod partition;
mod replacing;
mod reshape;
mod schema;
mod support;
mod unique;
mod view;
