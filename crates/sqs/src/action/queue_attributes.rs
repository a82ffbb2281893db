//! `GetQueueAttributes` and `SetQueueAttributes`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::action::Context;
use crate::action::cause::change_failed;
use crate::attribute::{self, NAMES};
use crate::error::{ErrorCode, Failure};
use crate::wire::{Reply, Xml};

/// Asks for attributes of a queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetQueueAttributes {
    queue_url: Option<String>,
    attribute_names: Option<Vec<String>>,
}

/// Changes attributes of a queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SetQueueAttributes {
    queue_url: Option<String>,
    attributes: Option<BTreeMap<String, String>>,
}

/// A queue's attributes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attributes {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
}

impl Reply for Attributes {
    fn xml(&self, xml: &mut Xml) {
        xml.pairs("Attribute", ["Name", "Value"], self.attributes.iter().map(|(name, value)| (*name, value.as_str())));
    }
}

/// Returns the attributes that are asked for by name, or `All`. No name, no attribute.
///
/// # Errors
/// `QueueDoesNotExist`, `InvalidAttributeName`.
pub async fn get_queue_attributes(context: &Context<'_>, request: GetQueueAttributes) -> Result<Attributes, Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let names = request.attribute_names.unwrap_or_default();
    if let Some(name) = names.iter().find(|name| *name != "All" && !NAMES.contains(&name.as_str())) {
        return Err(attribute::unknown(name));
    }
    let times = context.queues.times(queue.name()).ok_or_else(Failure::no_queue)?;
    let mut attributes = attribute::show(context.address, &queue, times);
    if !names.iter().any(|name| name == "All") {
        attributes.retain(|name, _| names.iter().any(|asked| asked == name));
    }
    Ok(Attributes { attributes })
}

/// Changes the attributes that are named; the others stay. They hold for messages that are sent or received from now on.
///
/// # Errors
/// `QueueDoesNotExist`, and what [`attribute::apply`] refuses.
pub async fn set_queue_attributes(context: &Context<'_>, request: SetQueueAttributes) -> Result<(), Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let attributes = request.attributes.ok_or_else(|| Failure::missing("Attribute.Name"))?;
    if attributes.contains_key("FifoQueue") {
        return Err(Failure::new(ErrorCode::InvalidAttributeValue, "Invalid value for the parameter FifoQueue."));
    }
    let mut settings = queue.settings();
    attribute::apply(context, queue.name(), &mut settings, &attributes)?;
    context
        .queues
        .configure(queue.name(), settings)
        .await
        .map_err(|error| change_failed("changing the queue's attributes", &error))
}
