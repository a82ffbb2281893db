//! `ChangeMessageVisibility` and `ChangeMessageVisibilityBatch`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_queue::ReceiptHandle;

use crate::action::Context;
use crate::action::cause::hide_refused;
use crate::action::delete_message::handle;
use crate::batch::{self, Entry, Outcome, Success};
use crate::error::Failure;
use crate::limits::VISIBILITY_SECONDS_MAX;
use crate::seconds::seconds;
use crate::wire::Xml;

/// Hides a message for longer, or shows it sooner.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ChangeMessageVisibility {
    queue_url: Option<String>,
    receipt_handle: Option<String>,
    visibility_timeout: Option<i64>,
}

/// Does so with up to ten messages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ChangeMessageVisibilityBatch {
    queue_url: Option<String>,
    entries: Option<Vec<ChangeEntry>>,
}

/// One message of a batch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ChangeEntry {
    id: Option<String>,
    receipt_handle: Option<String>,
    visibility_timeout: Option<i64>,
}

impl Entry for ChangeEntry {
    const NAME: &'static str = "ChangeMessageVisibilityBatchRequestEntry";
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

/// An entry whose message is hidden anew.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Changed {
    id: String,
}

impl Success for Changed {
    const NAME: &'static str = "ChangeMessageVisibilityBatchResultEntry";
    fn xml(&self, xml: &mut Xml) {
        xml.text("Id", &self.id);
    }
}

/// Hides a message for `VisibilityTimeout` from now on; 0 shows it at once.
///
/// # Errors
/// `QueueDoesNotExist`, `MissingParameter`, `InvalidParameterValue`, `ReceiptHandleIsInvalid`, `MessageNotInflight`.
pub async fn change_message_visibility(context: &Context<'_>, request: ChangeMessageVisibility) -> Result<(), Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let change = change(request.receipt_handle.as_deref(), request.visibility_timeout)?;
    let hidden = queue.hide(vec![change]).await;
    let mut results = hidden.map_err(|error| context.queue_failed("hiding", queue.name(), &error))?;
    results.pop().unwrap_or(Ok(())).map_err(|error| hide_refused(request.receipt_handle.as_deref(), error))
}

/// Hides a batch of messages, in one durable append.
///
/// # Errors
/// What concerns the batch as a whole.
pub async fn change_message_visibility_batch(
    context: &Context<'_>,
    request: ChangeMessageVisibilityBatch,
) -> Result<Outcome<Changed>, Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let entries = batch::check(request.entries)?;
    batch::act(
        &entries,
        |entry| change(entry.receipt_handle.as_deref(), entry.visibility_timeout),
        async |changes| {
            let hidden = queue.hide(changes).await;
            hidden.map_err(|error| context.queue_failed("hiding", queue.name(), &error))
        },
        |entry, done| {
            done.map_err(|error| hide_refused(entry.receipt_handle.as_deref(), error))?;
            Ok(Changed { id: entry.id.clone().unwrap_or_default() })
        },
    )
    .await
}

fn change(receipt: Option<&str>, timeout: Option<i64>) -> Result<(ReceiptHandle, Duration), Failure> {
    let handle = handle(receipt)?;
    let hidden_for = seconds("VisibilityTimeout", timeout, VISIBILITY_SECONDS_MAX, |max| {
        format!("VisibilityTimeout must be an integer between 0 and {max}.")
    })?;
    Ok((handle, hidden_for.ok_or_else(|| Failure::missing("VisibilityTimeout"))?))
}
