//! The SQS wire API over weir's queues: AWS JSON 1.0 and the query protocol, for unmodified clients.
//!
//! ```text
//! request --> is it SQS's? --> body, bounded --> access --> action, typed --> queue
//!             Sqs::speaks                        (a seam)        |
//! answer  <-- JSON or XML, as it was asked <---------------------+
//! ```
//!
//! Invariants: what is acknowledged is durable, as the queue says; both protocols have the same actions and the same errors,
//! since an action does not learn in which it was asked; what weir doesn't do is refused, never taken in silence; weir's own
//! queues (a leading underscore) can be neither seen nor touched here.
//!
//! What differs from AWS: a queue's name is free again at once after its deletion; `SenderId` is the account, since nobody's
//! identity is verified; policies, encryption and permissions are refused. A body that is no text of XML's characters (weir's own
//! messages may be any bytes) goes out in base64, with the message attribute `weir.encoding` saying so.

mod access;
mod action;
mod address;
mod attribute;
mod batch;
mod error;
mod limits;
mod message;
mod purges;
mod seconds;
mod sqs;
mod wire;

pub use access::{Access, Anyone, Credential, Denied};
pub use error::{ErrorCode, Failure};
pub use sqs::{Options, Sqs};
