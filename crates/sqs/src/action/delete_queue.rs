//! `DeleteQueue`.

use serde::Deserialize;

use crate::action::Context;
use crate::action::cause::change_failed;
use crate::error::Failure;

/// Names a queue that shall be no more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteQueue {
    queue_url: Option<String>,
}

/// Deletes a queue and all that is in it. The name is free at once; SQS itself makes its users wait for a minute.
///
/// # Errors
/// `QueueDoesNotExist`.
pub async fn delete_queue(context: &Context<'_>, request: DeleteQueue) -> Result<(), Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    context.queues.delete(queue.name()).await.map_err(|error| change_failed("deleting the queue", &error))?;
    context.purges.forget(queue.name());
    Ok(())
}
