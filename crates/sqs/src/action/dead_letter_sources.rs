//! `ListDeadLetterSourceQueues`.

use serde::{Deserialize, Serialize};
use weir_queue::{DeadLetterTo, Queue};
use weir_types::QueueName;

use crate::action::Context;
use crate::action::list_queues::Page;
use crate::error::Failure;
use crate::wire::{Reply, Xml};

/// Asks which queues have a queue for their dead letters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListDeadLetterSourceQueues {
    queue_url: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

/// The queues. SQS itself writes this list's name with a small letter, and always gives it.
#[derive(Debug, Serialize)]
pub struct Sources {
    #[serde(rename = "queueUrls")]
    queue_urls: Vec<String>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Reply for Sources {
    fn xml(&self, xml: &mut Xml) {
        for url in &self.queue_urls {
            xml.text("QueueUrl", url);
        }
        xml.optional("NextToken", self.next_token.as_deref());
    }
}

/// Lists the queues whose dead letters go to a queue.
///
/// # Errors
/// `QueueDoesNotExist`, `InvalidParameterValue`.
pub async fn list_dead_letter_source_queues(
    context: &Context<'_>,
    request: ListDeadLetterSourceQueues,
) -> Result<Sources, Failure> {
    let target = context.queue(request.queue_url.as_deref())?;
    let page = Page::of(request.max_results, request.next_token.as_deref())?;
    let (queue_urls, next_token) = page.cut(context, |queue| sends_dead_letters_to(queue, target.name()));
    Ok(Sources { queue_urls, next_token })
}

/// Tells whether `queue` sends its dead letters to `target`.
pub fn sends_dead_letters_to(queue: &Queue, target: &QueueName) -> bool {
    queue.settings().dead_letter.is_some_and(|dead| matches!(&dead.to, DeadLetterTo::Queue(name) if name == target))
}
