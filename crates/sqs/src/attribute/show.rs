//! A queue's settings and counts, shown as attributes.

use std::collections::BTreeMap;

use weir_queue::{DeduplicationScope, Queue, Settings, ThroughputLimit};
use weir_types::Timestamp;

use crate::address::Address;
use crate::attribute::redrive;

/// Attributes by name.
pub type Shown = BTreeMap<&'static str, String>;

/// Shows what can be set.
pub fn stored(address: &Address, settings: &Settings) -> Shown {
    let mut shown = Shown::from([
        ("VisibilityTimeout", settings.visibility_timeout.as_secs().to_string()),
        ("DelaySeconds", settings.delay.as_secs().to_string()),
        ("MessageRetentionPeriod", settings.retention.as_secs().to_string()),
        ("ReceiveMessageWaitTimeSeconds", settings.receive_wait.as_secs().to_string()),
        ("MaximumMessageSize", settings.message_bytes_max.to_string()),
        ("SqsManagedSseEnabled", false.to_string()),
    ]);
    if let Some(policy) = settings.dead_letter.as_ref().and_then(|dead| redrive::show_policy(address, dead)) {
        shown.insert("RedrivePolicy", policy);
    }
    if let Some(allow) = redrive::show_allow(address, &settings.redrive_allow) {
        shown.insert("RedriveAllowPolicy", allow);
    }
    if let Some(fifo) = &settings.fifo {
        shown.insert("FifoQueue", true.to_string());
        shown.insert("ContentBasedDeduplication", fifo.content_deduplication.to_string());
        let scope = match fifo.deduplication_scope {
            DeduplicationScope::Queue => "queue",
            DeduplicationScope::MessageGroup => "messageGroup",
        };
        shown.insert("DeduplicationScope", scope.to_owned());
        let limit = match fifo.throughput_limit {
            ThroughputLimit::PerQueue => "perQueue",
            ThroughputLimit::PerMessageGroup => "perMessageGroupId",
        };
        shown.insert("FifoThroughputLimit", limit.to_owned());
    }
    shown
}

/// Shows all of a queue.
pub fn show(address: &Address, queue: &Queue, (created_at, modified_at): (Timestamp, Timestamp)) -> Shown {
    let mut shown = stored(address, &queue.settings());
    let stats = queue.stats();
    let seconds = |time: Timestamp| time.0.div_euclid(1000).to_string();
    shown.extend([
        ("QueueArn", address.arn(queue.name())),
        ("CreatedTimestamp", seconds(created_at)),
        ("LastModifiedTimestamp", seconds(modified_at)),
        ("ApproximateNumberOfMessages", stats.ready.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", stats.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", stats.delayed.to_string()),
    ]);
    shown
}
