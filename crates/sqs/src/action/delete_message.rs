//! `DeleteMessage` and `DeleteMessageBatch`.

use serde::{Deserialize, Serialize};
use weir_queue::{ReceiptError, ReceiptHandle};

use crate::action::Context;
use crate::action::cause::{delete_refused, invalid_receipt};
use crate::batch::{self, Entry, Outcome, Success};
use crate::error::Failure;
use crate::wire::Xml;

/// Deletes one message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteMessage {
    queue_url: Option<String>,
    receipt_handle: Option<String>,
}

/// Deletes up to ten messages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteMessageBatch {
    queue_url: Option<String>,
    entries: Option<Vec<DeleteEntry>>,
}

/// One message of a batch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteEntry {
    id: Option<String>,
    receipt_handle: Option<String>,
}

impl Entry for DeleteEntry {
    const NAME: &'static str = "DeleteMessageBatchRequestEntry";
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

/// An entry whose message is deleted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Deleted {
    id: String,
}

impl Success for Deleted {
    const NAME: &'static str = "DeleteMessageBatchResultEntry";
    fn xml(&self, xml: &mut Xml) {
        xml.text("Id", &self.id);
    }
}

/// Deletes a message by the receipt of its last receive. A receipt that a later receive replaced changes nothing, and is no
/// error.
///
/// # Errors
/// `QueueDoesNotExist`, `MissingParameter`, `ReceiptHandleIsInvalid`.
pub async fn delete_message(context: &Context<'_>, request: DeleteMessage) -> Result<(), Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let handle = handle(request.receipt_handle.as_deref())?;
    let deleted = queue.delete(vec![handle]).await;
    let mut results = deleted.map_err(|error| context.queue_failed("deleting", queue.name(), &error))?;
    outcome(request.receipt_handle.as_deref(), results.pop().unwrap_or(Ok(())))
}

/// Deletes a batch of messages, in one durable append.
///
/// # Errors
/// What concerns the batch as a whole.
pub async fn delete_message_batch(
    context: &Context<'_>,
    request: DeleteMessageBatch,
) -> Result<Outcome<Deleted>, Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let entries = batch::check(request.entries)?;
    batch::act(
        &entries,
        |entry| handle(entry.receipt_handle.as_deref()),
        async |handles| {
            let deleted = queue.delete(handles).await;
            deleted.map_err(|error| context.queue_failed("deleting", queue.name(), &error))
        },
        |entry, done| {
            outcome(entry.receipt_handle.as_deref(), done)?;
            Ok(Deleted { id: entry.id.clone().unwrap_or_default() })
        },
    )
    .await
}

fn outcome(receipt: Option<&str>, done: Result<(), ReceiptError>) -> Result<(), Failure> {
    match done.err().and_then(|error| delete_refused(receipt, error)) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Reads a receipt handle.
///
/// # Errors
/// `MissingParameter`, `ReceiptHandleIsInvalid`.
pub fn handle(text: Option<&str>) -> Result<ReceiptHandle, Failure> {
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| Failure::missing("ReceiptHandle"))?;
    text.parse().map_err(|_| invalid_receipt(Some(text)))
}
