//! `CreateQueue`.

use std::collections::BTreeMap;

use serde::Deserialize;
use weir_queue::{CreateError, DeduplicationScope, Fifo, Queue, Settings, ThroughputLimit};

use crate::action::cause::create_failed;
use crate::action::get_queue_url::QueueUrl;
use crate::action::{Context, tags};
use crate::address::queue_name;
use crate::attribute;
use crate::error::{ErrorCode, Failure};

/// What a FIFO queue is if its maker says no more.
const FIFO: Fifo = Fifo {
    content_deduplication: false,
    deduplication_scope: DeduplicationScope::Queue,
    throughput_limit: ThroughputLimit::PerQueue,
};

/// Makes a queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateQueue {
    queue_name: Option<String>,
    attributes: Option<BTreeMap<String, String>>,
    /// SQS's JSON has a small letter here, and a capital one in `TagQueue`.
    #[serde(rename = "tags", alias = "Tags")]
    tags: Option<BTreeMap<String, String>>,
}

/// Makes a queue, or finds the one of that name if the attributes that are given are its own.
///
/// # Errors
/// `QueueNameExists` if one of them differs; `InvalidAttributeName`, `InvalidAttributeValue`, `InvalidParameterValue`.
pub async fn create_queue(context: &Context<'_>, request: CreateQueue) -> Result<QueueUrl, Failure> {
    let name = request.queue_name.filter(|name| !name.is_empty()).ok_or_else(|| Failure::missing("QueueName"))?;
    let name = queue_name(&name)?;
    let attributes = request.attributes.unwrap_or_default();
    let tags = request.tags.unwrap_or_default();
    tags::check(&tags)?;
    attribute::check_kind(&name, &attributes)?;
    if let Some(queue) = context.queues.get(&name) {
        return existing(context, &queue, &attributes);
    }
    let mut settings = Settings { fifo: name.is_fifo().then_some(FIFO), ..Settings::default() };
    attribute::apply(context, &name, &mut settings, &attributes)?;
    match context.queues.create(name.clone(), settings, tags).await {
        Ok(queue) => Ok(QueueUrl { queue_url: context.url(&queue) }),
        // Somebody else made it in between.
        Err(CreateError::Exists { .. }) => {
            let queue = context.queues.get(&name).ok_or_else(Failure::no_queue)?;
            existing(context, &queue, &attributes)
        }
        Err(error) => Err(create_failed(&error)),
    }
}

/// Compares what is asked for with what is there. What is not asked for may be anything.
fn existing(context: &Context<'_>, queue: &Queue, attributes: &BTreeMap<String, String>) -> Result<QueueUrl, Failure> {
    let is = queue.settings();
    let mut asked = is.clone();
    attribute::apply(context, queue.name(), &mut asked, attributes)?;
    let (is, asked) = (attribute::stored(context.address, &is), attribute::stored(context.address, &asked));
    let differing = attributes.keys().find(|name| is.get(name.as_str()) != asked.get(name.as_str()));
    match differing {
        None => Ok(QueueUrl { queue_url: context.url(queue) }),
        Some(name) => Err(Failure::new(
            ErrorCode::QueueNameExists,
            format!("A queue already exists with the same name and a different value for attribute {name}"),
        )),
    }
}
