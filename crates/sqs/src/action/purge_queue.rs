//! `PurgeQueue`.

use serde::Deserialize;

use crate::action::Context;
use crate::error::{ErrorCode, Failure};
use crate::limits::PURGE_PAUSE;

/// Names a queue that shall be empty.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PurgeQueue {
    queue_url: Option<String>,
}

/// Deletes all messages of a queue, those in flight included.
///
/// # Errors
/// `QueueDoesNotExist`, `PurgeQueueInProgress` within a minute of the last one.
pub async fn purge_queue(context: &Context<'_>, request: PurgeQueue) -> Result<(), Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    if !context.purges.begin(queue.name(), context.env.elapsed()) {
        return Err(Failure::new(
            ErrorCode::PurgeQueueInProgress,
            format!(
                "Only one PurgeQueue operation on {} is allowed every {} seconds.",
                queue.name(),
                PURGE_PAUSE.as_secs()
            ),
        ));
    }
    queue.purge().await.map_err(|error| {
        context.purges.forget(queue.name());
        context.queue_failed("purging the queue", queue.name(), &error)
    })?;
    Ok(())
}
