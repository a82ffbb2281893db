//! Hosts unmodified AWS Lambda handlers: the Runtime API, environments, confinement, events.

pub mod event;
