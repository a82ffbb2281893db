//! `GetQueueUrl`.

use serde::{Deserialize, Serialize};

use crate::action::Context;
use crate::address::queue_name;
use crate::error::Failure;
use crate::wire::{Reply, Xml};

/// Asks for a queue's URL.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetQueueUrl {
    queue_name: Option<String>,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    owner: Option<String>,
}

/// A queue's URL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueUrl {
    /// Made with the host that the client used.
    pub queue_url: String,
}

impl Reply for QueueUrl {
    fn xml(&self, xml: &mut Xml) {
        xml.text("QueueUrl", &self.queue_url);
    }
}

/// Returns the URL of a queue by its name.
///
/// # Errors
/// `QueueDoesNotExist`, of other accounts as well: there is but one here.
pub async fn get_queue_url(context: &Context<'_>, request: GetQueueUrl) -> Result<QueueUrl, Failure> {
    let name = request.queue_name.ok_or_else(|| Failure::missing("QueueName"))?;
    let name = queue_name(&name)?;
    if request.owner.is_some_and(|owner| owner != context.address.account) {
        return Err(Failure::no_queue());
    }
    let queue = context.queues.get(&name).ok_or_else(Failure::no_queue)?;
    Ok(QueueUrl { queue_url: context.url(&queue) })
}
