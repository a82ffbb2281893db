//! `TagQueue`, `UntagQueue`, `ListQueueTags`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::action::Context;
use crate::action::cause::change_failed;
use crate::error::Failure;
use crate::limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX, TAGS_MAX};
use crate::wire::{Reply, Xml};

/// Sets tags of a queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagQueue {
    queue_url: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

/// Takes tags from a queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagQueue {
    queue_url: Option<String>,
    tag_keys: Option<Vec<String>>,
}

/// Asks for a queue's tags.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListQueueTags {
    queue_url: Option<String>,
}

/// A queue's tags.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tags {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

impl Reply for Tags {
    fn xml(&self, xml: &mut Xml) {
        xml.pairs("Tag", ["Key", "Value"], self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    }
}

/// Sets tags; those of other keys stay.
///
/// # Errors
/// `QueueDoesNotExist`, `InvalidParameterValue` for a tag that breaks the rules.
pub async fn tag_queue(context: &Context<'_>, request: TagQueue) -> Result<(), Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let tags = request.tags.filter(|tags| !tags.is_empty()).ok_or_else(|| Failure::missing("Tags"))?;
    let mut all = context.queues.tags(queue.name()).ok_or_else(Failure::no_queue)?;
    all.extend(tags.clone());
    check(&all)?;
    context.queues.tag(queue.name(), tags).await.map_err(|error| change_failed("tagging the queue", &error))
}

/// Takes tags away; a key that isn't there is no error.
///
/// # Errors
/// `QueueDoesNotExist`.
pub async fn untag_queue(context: &Context<'_>, request: UntagQueue) -> Result<(), Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let keys = request.tag_keys.filter(|keys| !keys.is_empty()).ok_or_else(|| Failure::missing("TagKeys"))?;
    context.queues.untag(queue.name(), keys).await.map_err(|error| change_failed("untagging the queue", &error))
}

/// Returns a queue's tags.
///
/// # Errors
/// `QueueDoesNotExist`.
pub async fn list_queue_tags(context: &Context<'_>, request: ListQueueTags) -> Result<Tags, Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let tags = context.queues.tags(queue.name()).ok_or_else(Failure::no_queue)?;
    Ok(Tags { tags })
}

/// Checks a queue's tags against SQS's quotas.
///
/// # Errors
/// `InvalidParameterValue`.
pub fn check(tags: &BTreeMap<String, String>) -> Result<(), Failure> {
    if tags.len() > TAGS_MAX {
        return Err(Failure::parameter(format!("Too many tags added for queue: at most {TAGS_MAX} are allowed.")));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > TAG_KEY_CHARS_MAX {
            return Err(Failure::parameter(format!(
                "Tag keys must be between 1 and {TAG_KEY_CHARS_MAX} characters in length."
            )));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Failure::parameter("Tag keys that begin with aws: are reserved for system use."));
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX {
            return Err(Failure::parameter(format!(
                "Tag values must be between 0 and {TAG_VALUE_CHARS_MAX} characters in length."
            )));
        }
    }
    Ok(())
}
