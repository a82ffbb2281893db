//! Both protocols against a node's queues, without a socket: golden requests and answers, and every error.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has nothing better to do")]

mod batches;
mod golden;
mod messages;
mod moves;
mod node;
mod queues;
