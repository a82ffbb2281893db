//! A vendor of machine telemetry, made up: an API without a bulk endpoint, with a limit, and with bad days.
//!
//! ```text
//! groups (pages by number) -> devices (by cursor) -> data groups (by offset) -> readings (by Link header)
//! alerts (by a URL in the body)      lots (as many items as their name says)
//! ```
//!
//! Nothing is held but a log of calls: who belongs to whom, and what is read, follows from ids and a seed ([`Shape`]).
//! So a crawl of any size has an answer that is known beforehand, and two vendors with one seed are the same.
//!
//! Invariant: every call is in the [`Journal`] with its time of arrival, before it is answered or refused. What was allowed
//! is decided by a [`Bucket`] alone, and whether a client kept to any limit is decided by the same bucket over the journal.
//!
//! ```
//! let shape = weir_vendor::Shape::of_calls(7, 400);
//! assert_eq!(shape.census().calls(), 402);
//! ```

mod answer;
mod bucket;
mod control;
mod fault;
mod journal;
mod respond;
mod serve;
mod settings;
mod shape;
mod token;
mod vendor;

pub use answer::{Page, targets};
pub use bucket::{Bucket, Level};
pub use fault::{Fault, Faults};
pub use journal::{Call, Journal, Stats};
pub use serve::{Listening, ServeError};
pub use settings::{Change, Headers, OutageKind, RetryAfter, Settings};
pub use shape::{Census, Shape};
pub use vendor::Vendor;
