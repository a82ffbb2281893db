//! Hands messages from one queue to another, each exactly once.
//!
//! ```text
//! source: the message gets a number, durably      rising; the same after a restart
//!    --> target: adopts it, stamped with the number     the target remembers the producer's last number
//!    --> source: forgets it
//! ```
//!
//! A crash after any step repeats that step alone: what the target's last stamp covers is forgotten and not sent again.
//! Invariant: one task alone hands over under a producer's name, in the order of the numbers.

use std::time::Duration;

use weir_types::{QueueName, Timestamp, limits};

use crate::error::SendError;
use crate::message::{AttributeValue, Message, Stamp};
use crate::queue::Queue;
use crate::transfer::{Adopted, Transfer};

/// Messages that are handed over together, at most.
pub(crate) const BATCH_MAX: usize = 256;
/// Their bytes, at most, unless one alone has more: one append must hold them with all that belongs to them.
const BATCH_BYTES_MAX: usize = limits::APPEND_BYTES_MAX / 2;
/// What a message needs in the log beside its texts, at most.
const MESSAGE_OVERHEAD_BYTES: usize = 512;

/// What the target remembers of where a message came from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// The queue that gave it up.
    DeadLetter(QueueName),
    /// None: it is a message as if it were sent now, as SQS has it, and lives as long as a new one.
    Moved,
    /// As before: it comes back to where it was, since it could not be moved.
    Returned,
}

/// Sends to `target` what it does not have yet of the first of `transfers`, which are in the order of their numbers, in one
/// append. Returns how many of the first the target has now: at least one, unless there are none.
pub(crate) async fn hand_over(
    target: &Queue,
    producer: &str,
    transfers: &[Transfer],
    origin: &Origin,
    now: Timestamp,
) -> Result<usize, SendError> {
    let first = &transfers[..batch(transfers)];
    let last = target.last_stamp(producer);
    let new: Vec<&Transfer> = first.iter().filter(|transfer| last.is_none_or(|last| transfer.number > last)).collect();
    if let Some(newest) = new.last() {
        let stamp = Stamp { producer: producer.to_owned(), number: newest.number };
        let messages = new.iter().map(|transfer| adopted(transfer, origin, now)).collect();
        target.adopt(stamp, messages).await?;
    }
    Ok(first.len())
}

/// Returns how many of the first transfers fit into one append: at least one.
fn batch(transfers: &[Transfer]) -> usize {
    let mut bytes = 0;
    let fits = transfers.iter().take(BATCH_MAX).take_while(|transfer| {
        bytes += size(&transfer.message);
        bytes <= BATCH_BYTES_MAX
    });
    fits.count().max(1).min(transfers.len())
}

fn size(message: &Message) -> usize {
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let attributes = message.attributes.iter().map(|attribute| {
        let value = match &attribute.value {
            AttributeValue::Text(text) => text.len(),
            AttributeValue::Binary(bytes) => bytes.len(),
        };
        attribute.name.len() + attribute.data_type.len() + value
    });
    message.body.len() + headers + attributes.sum::<usize>() + MESSAGE_OVERHEAD_BYTES
}

fn adopted(transfer: &Transfer, origin: &Origin, now: Timestamp) -> Adopted {
    // It has waited long enough, whatever delay it was sent with.
    let message = Message { delay: Some(Duration::ZERO), ..transfer.message.clone() };
    let (sent_at, source) = match origin {
        Origin::DeadLetter(source) => (transfer.sent_at, Some(source.clone())),
        Origin::Moved => (now, None),
        Origin::Returned => (transfer.sent_at, transfer.source.clone()),
    };
    Adopted { message, id: transfer.id, sent_at, source }
}
