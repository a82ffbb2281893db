//! Redrive policies: where a queue's dead letters go, and whose a queue takes.
//!
//! ```text
//! RedrivePolicy       {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 5}
//! RedriveAllowPolicy  {"redrivePermission": "byQueue", "sourceQueueArns": ["arn:aws:sqs:us-east-1:000000000000:orders"]}
//! ```
//!
//! Invariant: a policy's target is there, of the queue's own kind, and takes dead letters of it, at the moment when the policy
//! is set.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_queue::limits::RECEIVES_MAX;
use weir_queue::{DeadLetter, DeadLetterTo, RedriveAllow};
use weir_types::QueueName;

use crate::action::Context;
use crate::address::Address;
use crate::error::Failure;

/// Queues that a policy may name.
const SOURCES_MAX: usize = 10;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Policy {
    dead_letter_target_arn: Option<String>,
    max_receive_count: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Allow {
    redrive_permission: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_queue_arns: Option<Vec<String>>,
}

/// Reads a `RedrivePolicy` of the queue `source`. An empty text or object takes it back.
///
/// # Errors
/// `InvalidParameterValue`, in SQS's words where they are known.
pub fn policy(context: &Context<'_>, source: &QueueName, text: &str) -> Result<Option<DeadLetter>, Failure> {
    let wrong = |reason: &str| Failure::value("RedrivePolicy", text, reason);
    if matches!(text.trim(), "" | "{}") {
        return Ok(None);
    }
    let policy: Policy = serde_json::from_str(text).map_err(|error| {
        wrong(&format!("Redrive policy is not a valid JSON map of deadLetterTargetArn and maxReceiveCount: {error}."))
    })?;
    let arn = policy
        .dead_letter_target_arn
        .ok_or_else(|| wrong("Redrive policy does not contain mandatory attribute: deadLetterTargetArn."))?;
    let count = policy
        .max_receive_count
        .ok_or_else(|| wrong("Redrive policy does not contain mandatory attribute: maxReceiveCount."))?;
    // Terraform and others send the number as a text.
    let max_receives = match &count {
        Value::String(text) => text.parse::<u32>().ok(),
        number => number.as_u64().and_then(|number| number.try_into().ok()),
    };
    let max_receives = max_receives.filter(|max| (1..=RECEIVES_MAX).contains(max));
    let max_receives = max_receives.ok_or_else(|| {
        let shown = count.as_str().map_or_else(|| count.to_string(), str::to_owned);
        wrong(&format!(
            "Invalid value for maxReceiveCount: {shown}, valid values are from 1 to {RECEIVES_MAX} both inclusive."
        ))
    })?;
    if !arn.starts_with("arn:") {
        return Err(wrong("Invalid value for deadLetterTargetArn."));
    }
    let target = context.address.queue_of_arn(&arn).and_then(|name| context.queues.get(&name));
    let target = target.ok_or_else(|| wrong("Dead letter target does not exist."))?;
    if target.name() == source {
        return Err(wrong("A queue can't be the target of its own dead letters."));
    }
    if target.name().is_fifo() != source.is_fifo() {
        return Err(wrong("Dead-letter queue must be same type of queue as the source."));
    }
    let is_allowed = match target.settings().redrive_allow {
        RedriveAllow::All => true,
        RedriveAllow::None => false,
        RedriveAllow::Queues(queues) => queues.contains(source),
    };
    if !is_allowed {
        return Err(wrong("The RedriveAllowPolicy of the dead letter target does not permit this queue."));
    }
    Ok(Some(DeadLetter { max_receives, to: DeadLetterTo::Queue(target.name().clone()) }))
}

/// Reads a `RedriveAllowPolicy`. An empty text or object takes it back: every queue may name this one.
///
/// # Errors
/// `InvalidParameterValue`.
pub fn allow(context: &Context<'_>, text: &str) -> Result<RedriveAllow, Failure> {
    let wrong = |reason: &str| Failure::value("RedriveAllowPolicy", text, reason);
    if matches!(text.trim(), "" | "{}") {
        return Ok(RedriveAllow::All);
    }
    let allow: Allow = serde_json::from_str(text).map_err(|error| {
        wrong(&format!(
            "Redrive allow policy is not a valid JSON map of redrivePermission and sourceQueueArns: {error}."
        ))
    })?;
    match (allow.redrive_permission.as_str(), allow.source_queue_arns) {
        ("allowAll", None) => Ok(RedriveAllow::All),
        ("denyAll", None) => Ok(RedriveAllow::None),
        ("byQueue", Some(arns)) if (1..=SOURCES_MAX).contains(&arns.len()) => {
            let queue = |arn: &String| {
                context
                    .address
                    .queue_of_arn(arn)
                    .ok_or_else(|| wrong(&format!("{arn} is not the ARN of a queue here.")))
            };
            Ok(RedriveAllow::Queues(arns.iter().map(queue).collect::<Result<_, _>>()?))
        }
        ("byQueue", _) => Err(wrong(&format!("byQueue needs 1 to {SOURCES_MAX} sourceQueueArns."))),
        ("allowAll" | "denyAll", Some(_)) => Err(wrong("sourceQueueArns can be given with byQueue alone.")),
        _ => Err(wrong("redrivePermission must be allowAll, denyAll or byQueue.")),
    }
}

/// Shows where dead letters go. A queue whose dead letters go to the table of them has nothing that SQS has a word for.
pub fn show_policy(address: &Address, dead: &DeadLetter) -> Option<String> {
    let DeadLetterTo::Queue(target) = &dead.to else { return None };
    let policy = Policy {
        dead_letter_target_arn: Some(address.arn(target)),
        max_receive_count: Some(Value::from(dead.max_receives)),
    };
    serde_json::to_string(&policy).ok()
}

/// Shows whose dead letters a queue takes, unless everybody's.
pub fn show_allow(address: &Address, allow: &RedriveAllow) -> Option<String> {
    let (permission, arns) = match allow {
        RedriveAllow::All => return None,
        RedriveAllow::None => ("denyAll", None),
        RedriveAllow::Queues(queues) => ("byQueue", Some(queues.iter().map(|queue| address.arn(queue)).collect())),
    };
    let allow = Allow { redrive_permission: permission.to_owned(), source_queue_arns: arns };
    serde_json::to_string(&allow).ok()
}
