//! Tables from outside: what is exact, what survives a crash, what is bounded.

mod crash;
mod layout;
mod maintenance;
mod schema;
mod support;
mod unique;
mod view;
