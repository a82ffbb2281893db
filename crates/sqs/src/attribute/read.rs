//! Attributes that a client sets, read into a queue's settings.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use weir_queue::limits::{
    DELAY_MAX, HIDDEN_MAX, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN, RETENTION_MAX, RETENTION_MIN, WAIT_MAX,
};
use weir_queue::{DeduplicationScope, Fifo, Settings, ThroughputLimit};
use weir_types::QueueName;

use crate::action::Context;
use crate::attribute::{NAMES, redrive};
use crate::error::{ErrorCode, Failure};

/// Applies attributes to the settings of the queue `name`, which may not be there yet. An empty text takes back what was
/// set, where SQS allows that.
///
/// # Errors
/// `InvalidAttributeName` for what is unknown, can't be set, or has no effect here; `InvalidAttributeValue`;
/// `InvalidParameterValue` for policies, as SQS has it.
pub fn apply(
    context: &Context<'_>,
    name: &QueueName,
    settings: &mut Settings,
    attributes: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    for (attribute, value) in attributes {
        let wrong = || invalid(attribute);
        match attribute.as_str() {
            "VisibilityTimeout" => {
                settings.visibility_timeout = seconds(attribute, value, Duration::ZERO..=HIDDEN_MAX)?;
            }
            "DelaySeconds" => settings.delay = seconds(attribute, value, Duration::ZERO..=DELAY_MAX)?,
            "MessageRetentionPeriod" => settings.retention = seconds(attribute, value, RETENTION_MIN..=RETENTION_MAX)?,
            "ReceiveMessageWaitTimeSeconds" => {
                settings.receive_wait = seconds(attribute, value, Duration::ZERO..=WAIT_MAX)?;
            }
            "MaximumMessageSize" => {
                let bytes = value.parse().ok().filter(|bytes| (MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX).contains(bytes));
                settings.message_bytes_max = bytes.ok_or_else(wrong)?;
            }
            "RedrivePolicy" => settings.dead_letter = redrive::policy(context, name, value)?,
            "RedriveAllowPolicy" => settings.redrive_allow = redrive::allow(context, value)?,
            "FifoQueue" => check_fifo(name, value)?,
            "ContentBasedDeduplication" => {
                fifo(settings, attribute)?.content_deduplication = truth(value).ok_or_else(wrong)?;
            }
            "DeduplicationScope" => {
                fifo(settings, attribute)?.deduplication_scope = match value.as_str() {
                    "queue" => DeduplicationScope::Queue,
                    "messageGroup" => DeduplicationScope::MessageGroup,
                    _ => return Err(wrong()),
                };
            }
            "FifoThroughputLimit" => {
                fifo(settings, attribute)?.throughput_limit = match value.as_str() {
                    "perQueue" => ThroughputLimit::PerQueue,
                    "perMessageGroupId" => ThroughputLimit::PerMessageGroup,
                    _ => return Err(wrong()),
                };
            }
            "SqsManagedSseEnabled" => match truth(value) {
                Some(false) => {}
                Some(true) => return Err(unsupported(attribute, "messages are not encrypted on the disk")),
                None => return Err(wrong()),
            },
            "Policy" | "KmsMasterKeyId" if value.is_empty() => {}
            "Policy" => return Err(unsupported(attribute, "whoever may reach the server may use its queues")),
            "KmsMasterKeyId" | "KmsDataKeyReusePeriodSeconds" => {
                return Err(unsupported(attribute, "there is no key management service"));
            }
            known if NAMES.contains(&known) => {
                return Err(Failure::new(
                    ErrorCode::InvalidAttributeName,
                    format!("The attribute {attribute} can be read and not set."),
                ));
            }
            _ => return Err(unknown(attribute)),
        }
    }
    if let Some(fifo) = &settings.fifo
        && fifo.throughput_limit == ThroughputLimit::PerMessageGroup
        && fifo.deduplication_scope == DeduplicationScope::Queue
    {
        return Err(Failure::new(
            ErrorCode::InvalidAttributeValue,
            "The perMessageGroupId value of FifoThroughputLimit is allowed only when DeduplicationScope is messageGroup.",
        ));
    }
    Ok(())
}

/// Checks that a queue's name and `FifoQueue` fit: one needs the other.
///
/// # Errors
/// `InvalidParameterValue`.
pub fn check_kind(name: &QueueName, attributes: &BTreeMap<String, String>) -> Result<(), Failure> {
    let asked = attributes.get("FifoQueue").is_some_and(|value| truth(value) == Some(true));
    match (name.is_fifo(), asked) {
        (true, false) => Err(Failure::parameter(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )),
        (false, true) => Err(Failure::parameter(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with \
             .fifo suffix and be 1 to 80 in length.",
        )),
        _ => Ok(()),
    }
}

fn check_fifo(name: &QueueName, value: &str) -> Result<(), Failure> {
    if truth(value) == Some(name.is_fifo()) { Ok(()) } else { Err(invalid("FifoQueue")) }
}

fn fifo<'a>(settings: &'a mut Settings, attribute: &str) -> Result<&'a mut Fifo, Failure> {
    settings.fifo.as_mut().ok_or_else(|| {
        Failure::new(
            ErrorCode::InvalidAttributeName,
            format!("You can specify the {attribute} only when FifoQueue is set to true."),
        )
    })
}

fn seconds(attribute: &str, value: &str, range: RangeInclusive<Duration>) -> Result<Duration, Failure> {
    let span = value.parse().ok().map(Duration::from_secs);
    span.filter(|span| range.contains(span)).ok_or_else(|| invalid(attribute))
}

fn truth(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("true") { Some(true) } else { value.eq_ignore_ascii_case("false").then_some(false) }
}

fn invalid(attribute: &str) -> Failure {
    Failure::new(ErrorCode::InvalidAttributeValue, format!("Invalid value for the parameter {attribute}."))
}

/// An attribute that SQS does not know.
pub fn unknown(attribute: &str) -> Failure {
    Failure::new(ErrorCode::InvalidAttributeName, format!("Unknown Attribute {attribute}."))
}

fn unsupported(attribute: &str, why: &str) -> Failure {
    Failure::new(ErrorCode::InvalidAttributeValue, format!("{attribute} is not supported: {why}. Leave it out."))
}
