//! What went wrong in a queue, in SQS's words.
//!
//! Invariant: a failure that passes by itself (too much to write, a full disk, a server that goes down) has a code that
//! clients retry; what is no fault of the client's is written to the log with its cause.

use std::error::Error;

use weir_log::AppendError;
use weir_queue::{ChangeError, CreateError, QueueError, ReceiptError, ReceiveError, SendError};
use weir_types::QueueName;

use crate::action::Context;
use crate::error::{ErrorCode, Failure};

impl Context<'_> {
    /// A queue itself failed.
    pub fn queue_failed(&self, what: &'static str, queue: &QueueName, error: &QueueError) -> Failure {
        // It may have been deleted while the request was under way.
        if error.is_closed() && self.queues.get(queue).is_none() { Failure::no_queue() } else { passing(what, error) }
    }

    /// A send failed.
    pub fn send_failed(&self, queue: &QueueName, error: &SendError) -> Failure {
        match error {
            SendError::Queue(error) => self.queue_failed("sending", queue, error),
            // All of this was checked before, unless the queue's settings changed in between.
            SendError::TooLarge { .. }
            | SendError::BatchTooLarge { .. }
            | SendError::NoGroup { .. }
            | SendError::NoDeduplication { .. }
            | SendError::Delay { .. } => Failure::parameter(error.to_string()),
        }
    }

    /// A receive failed.
    pub fn receive_failed(&self, queue: &QueueName, error: &ReceiveError) -> Failure {
        match error {
            ReceiveError::Queue(error) => self.queue_failed("receiving", queue, error),
            ReceiveError::OverLimit { in_flight, .. } => Failure::new(
                ErrorCode::OverLimit,
                format!(
                    "Too many messages are in flight: {in_flight}. Delete some, or let their visibility timeouts end."
                ),
            ),
        }
    }
}

/// A queue was not made.
pub fn create_failed(error: &CreateError) -> Failure {
    match error {
        CreateError::Settings(error) => Failure::new(ErrorCode::InvalidAttributeValue, error.to_string()),
        CreateError::Exists { setting, .. } => Failure::new(
            ErrorCode::QueueNameExists,
            format!("A queue already exists with the same name and a different value for attribute {setting}"),
        ),
        CreateError::DeadLetter { .. } => Failure::parameter(error.to_string()),
        CreateError::Erasing { .. } => Failure::new(ErrorCode::QueueDeletedRecently, format!("{error}.")),
        CreateError::TooManyQueues => Failure::new(ErrorCode::OverLimit, format!("{error}.")),
        CreateError::TooManyTags => Failure::parameter(format!("{error}.")),
        CreateError::Submit(_) | CreateError::Open(_) => passing("creating the queue", error),
    }
}

/// A queue was not changed, or not deleted.
pub fn change_failed(what: &'static str, error: &ChangeError) -> Failure {
    match error {
        ChangeError::NoQueue { .. } => Failure::no_queue(),
        ChangeError::Create(error) => create_failed(error),
        ChangeError::TooManyTags => Failure::parameter(format!("{error}.")),
        ChangeError::Submit(_) | ChangeError::Queue(_) => passing(what, error),
    }
}

/// A receipt did nothing. `None` where SQS says that all is well: a delete with a receipt that a later receive replaced, or of a
/// message that is gone, leaves things as they are and succeeds, so that a delete can be repeated.
pub fn delete_refused(receipt: Option<&str>, error: ReceiptError) -> Option<Failure> {
    match error {
        ReceiptError::Invalid => Some(invalid_receipt(receipt)),
        ReceiptError::NotInFlight | ReceiptError::Replaced => None,
    }
}

/// A message's time out of sight was not changed.
pub fn hide_refused(receipt: Option<&str>, error: ReceiptError) -> Failure {
    match error {
        ReceiptError::Invalid => invalid_receipt(receipt),
        ReceiptError::NotInFlight => Failure::new(
            ErrorCode::MessageNotInflight,
            "The specified message isn't in flight: its visibility timeout has ended.",
        ),
        ReceiptError::Replaced => Failure::value(
            "ReceiptHandle",
            receipt.unwrap_or_default(),
            "Message does not exist or is not available for visibility timeout change.",
        ),
    }
}

/// A receipt that no receive of this queue gave out.
pub fn invalid_receipt(receipt: Option<&str>) -> Failure {
    Failure::new(
        ErrorCode::ReceiptHandleIsInvalid,
        format!("The input receipt handle \"{}\" is not a valid receipt handle.", receipt.unwrap_or_default()),
    )
}

/// A failure that is not the client's: one that passes by itself says so, the others name the log.
pub fn passing(what: &'static str, error: &(dyn Error + 'static)) -> Failure {
    let mut next = Some(error);
    while let Some(cause) = next {
        match cause.downcast_ref::<AppendError>() {
            Some(AppendError::Busy { .. }) => {
                return Failure::new(
                    ErrorCode::RequestThrottled,
                    "Rate exceeded: more waits to be written than may. Try again.",
                );
            }
            Some(AppendError::DiskFull { .. }) => {
                tracing::error!(what, error = cause.to_string(), "the disk is full");
                return Failure::new(
                    ErrorCode::ServiceUnavailable,
                    "The server's disk is full. Try again when it has room.",
                );
            }
            Some(AppendError::Closed) => return closing(),
            _ if cause.downcast_ref::<QueueError>().is_some_and(QueueError::is_closed) => return closing(),
            _ => next = cause.source(),
        }
    }
    Failure::internal(what, error)
}

fn closing() -> Failure {
    Failure::new(ErrorCode::ServiceUnavailable, "The server is going down. Try again.")
}
