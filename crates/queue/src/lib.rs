//! Queues: messages that are leased, retried, dead-lettered and redriven, over a log.
//!
//! ```text
//! send --> ready --receive--> hidden --delete--> gone
//!   |        ^                  |
//!   +-delay->+----- expiry -----+--- received too often --> dead-letter queue, or exhausted
//! ```
//!
//! Payloads stay in the log `queue/NAME`; memory holds an index of about 90 bytes for each message. Invariants: what is
//! acknowledged is durable; a message has one live lease at most; nothing is delivered after its delete was acknowledged;
//! the state is what the log says, whoever replays it, and the queue's own clock decides expiry, never the consumer's.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use object_store::{memory::InMemory, path::Path};
//! use weir_env::Env;
//! use weir_log::MemoryEngine;
//! use weir_machine::Snapshots;
//! use weir_queue::{Message, Queues, Receive, Settings};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let env = Env::system();
//! let snapshots = Snapshots::new(Arc::new(InMemory::new()), Path::from("snapshots"));
//! let queues = Queues::open(Arc::new(MemoryEngine::new(env.clone())), snapshots, env).await.unwrap();
//! let orders = queues.ensure("orders".parse().unwrap(), Settings::default()).await.unwrap();
//! orders.send(vec![Message::new("one order")]).await.unwrap();
//! let (hidden_for, wait) = (Duration::from_secs(30), Duration::from_secs(20));
//! let received = orders.receive(Receive { max: 10, hidden_for, wait, attempt: None }).await.unwrap();
//! assert_eq!(&received[0].body[..], b"one order");
//! let deleted = orders.delete(vec![received[0].receipt.clone()]).await.unwrap();
//! assert_eq!(deleted, [Ok(())]);
//! # });
//! ```

mod codec;
mod command;
mod entry;
mod error;
mod groups;
mod id;
pub mod limits;
mod message;
mod outgoing;
mod owner;
mod payloads;
mod queue;
mod queues;
mod read;
mod record;
mod replay;
mod settings;
mod shared;
mod slab;
mod snapshot;
mod state;
mod transfer;
mod tuning;
mod turn;
mod upkeep;

pub use error::{
    ChangeError, CreateError, DeleteQueueError, MoveError, OpenError, QueueError, ReceiptError, ReceiveError, SendError,
};
pub use id::{MessageId, MoveId, ReceiptHandle};
pub use message::{Attribute, AttributeValue, Message, Receive, Received, Sent, SentOnce, Stamp};
pub use queue::{Depth, Queue, Stats};
pub use queues::{Move, MoveFilter, MoveStatus, Queues};
pub use settings::{
    DeadLetter, DeadLetterTo, DeduplicationScope, Fifo, RedriveAllow, Settings, SettingsError, ThroughputLimit,
};
pub use transfer::Adopted;
pub use tuning::Tuning;
