//! The Lambda Runtime API, version 2018-06-01: what a runtime and its host say to each other.
//!
//! ```text
//! runtime                                              host
//!   GET  runtime/invocation/next  ------------------>  waits until there is an event
//!                                 <------------------  200, the event, Lambda-Runtime-* headers
//!   POST runtime/invocation/ID/response  ----------->  202   (or /error)
//!   POST runtime/init/error  ----------------------->  202   instead of the first `next`
//! ```
//!
//! One listener on the loopback interface per environment: the port says who calls, since nothing in the protocol does.
//! [`Exchange`] holds whose turn it is; [`serve`] speaks HTTP. Source: AWS's "Lambda runtime API" page, and for
//! the shapes of refusals its runtime interface emulator.

mod answer;
mod exchange;
mod report;
mod serve;
#[cfg(test)]
mod tests;

pub(crate) use exchange::{Exchange, Init, Next, Reported, StateError, Work};
pub(crate) use report::RuntimeError;
pub(crate) use serve::serve;
