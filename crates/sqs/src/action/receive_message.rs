//! `ReceiveMessage`: short and long polls.
//!
//! Invariant: a poll whose client went away takes no message with it. The server drops the future when the connection ends,
//! and the queue gives what it had picked for it to the next receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_queue::{Attribute, AttributeValue, Receive, Received};

use crate::action::Context;
use crate::action::send_message::{NOT_FOR_TYPE, check_token, sequence_number};
use crate::error::{ErrorCode, Failure};
use crate::limits::{BATCH_ENTRIES_MAX, LIST_ITEMS_MAX, VISIBILITY_SECONDS_MAX, WAIT_SECONDS_MAX};
use crate::message::{self, Attributes, Encoding, TRACE_HEADER, Value};
use crate::seconds::seconds;
use crate::wire::{Reply, Xml};

/// The longest poll.
pub const WAIT_MAX: Duration = Duration::from_secs(WAIT_SECONDS_MAX.unsigned_abs());
/// Says that a body is no text and goes out in base64.
const ENCODING: &str = "weir.encoding";

/// Asks for messages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ReceiveMessage {
    queue_url: Option<String>,
    attribute_names: Option<Vec<String>>,
    message_system_attribute_names: Option<Vec<String>>,
    message_attribute_names: Option<Vec<String>>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    receive_request_attempt_id: Option<String>,
}

/// What was received; nothing at all when there was nothing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Messages {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Shown>,
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(rename = "MessageId")]
    message_id: String,
    #[serde(rename = "ReceiptHandle")]
    receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    md5_of_body: String,
    #[serde(rename = "Body")]
    body: String,
    #[serde(rename = "Attributes", skip_serializing_if = "BTreeMap::is_empty")]
    system_attributes: BTreeMap<&'static str, String>,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_attributes: Option<String>,
    #[serde(rename = "MessageAttributes", skip_serializing_if = "BTreeMap::is_empty")]
    attributes: Attributes,
}

impl Reply for Messages {
    fn xml(&self, xml: &mut Xml) {
        for message in &self.messages {
            xml.element("Message", |xml| {
                xml.text("MessageId", &message.message_id);
                xml.text("ReceiptHandle", &message.receipt_handle);
                xml.text("MD5OfBody", &message.md5_of_body);
                xml.text("Body", &message.body);
                let system = message.system_attributes.iter().map(|(name, value)| (*name, value.as_str()));
                xml.pairs("Attribute", ["Name", "Value"], system);
                xml.optional("MD5OfMessageAttributes", message.md5_of_attributes.as_deref());
                for (name, value) in &message.attributes {
                    xml.element("MessageAttribute", |xml| {
                        xml.text("Name", name);
                        xml.element("Value", |xml| value.xml(xml));
                    });
                }
            });
        }
    }
}

/// Receives up to ten messages, and waits for the first of them if it may.
///
/// # Errors
/// `QueueDoesNotExist`, `InvalidParameterValue`, `InvalidAttributeName`, `OverLimit` when too many are in flight.
pub async fn receive_message(context: &Context<'_>, request: ReceiveMessage) -> Result<Messages, Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let settings = queue.settings();
    let max = request.max_number_of_messages.unwrap_or(1);
    let max = usize::try_from(max).ok().filter(|max| (1..=BATCH_ENTRIES_MAX).contains(max)).ok_or_else(|| {
        Failure::value("MaxNumberOfMessages", max, &format!("Must be between 1 and {BATCH_ENTRIES_MAX}, if provided."))
    })?;
    let reason = |max| format!("Must be >= 0 and <= {max}, if provided.");
    let hidden_for = seconds("VisibilityTimeout", request.visibility_timeout, VISIBILITY_SECONDS_MAX, reason)?;
    let wait = seconds("WaitTimeSeconds", request.wait_time_seconds, WAIT_SECONDS_MAX, reason)?;
    if let Some(attempt) = request.receive_request_attempt_id.as_deref().filter(|_| settings.fifo.is_none()) {
        return Err(Failure::value("ReceiveRequestAttemptId", attempt, NOT_FOR_TYPE));
    }
    check_token("ReceiveRequestAttemptId", request.receive_request_attempt_id.as_deref())?;
    let system = System::of([request.attribute_names, request.message_system_attribute_names])?;
    let names = Names::of(request.message_attribute_names)?;
    let receive = Receive {
        max,
        hidden_for: hidden_for.unwrap_or(settings.visibility_timeout),
        wait: wait.unwrap_or(settings.receive_wait),
        attempt: request.receive_request_attempt_id,
    };
    let received = queue.receive(receive).await.map_err(|error| context.receive_failed(queue.name(), &error))?;
    let show = |received: Received| shown(context, received, &system, &names, settings.fifo.is_some());
    Ok(Messages { messages: received.into_iter().map(show).collect() })
}

fn shown(context: &Context<'_>, received: Received, system: &System, names: &Names, is_fifo: bool) -> Shown {
    let system_attributes = system.pick(context, &received, is_fifo);
    let (body, encoding) = message::presented(&received.body);
    let body = body.into_owned();
    let mut attributes: Vec<Attribute> =
        received.attributes.into_iter().filter(|attribute| names.contain(&attribute.name)).collect();
    if encoding == Encoding::Base64 {
        let value = AttributeValue::Text("base64".to_owned());
        attributes.push(Attribute { name: ENCODING.to_owned(), data_type: "String".to_owned(), value });
    }
    Shown {
        message_id: received.id.to_string(),
        receipt_handle: received.receipt.to_string(),
        md5_of_body: message::of_bytes(body.as_bytes()),
        body,
        system_attributes,
        md5_of_attributes: message::of_attributes(&attributes),
        attributes: attributes.iter().map(|attribute| (attribute.name.clone(), Value::of(attribute))).collect(),
    }
}

/// Which system attributes are asked for.
#[derive(Debug, Default)]
struct System {
    all: bool,
    names: Vec<&'static str>,
}

/// The system attributes of a message.
const SYSTEM: [&str; 9] = [
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    TRACE_HEADER,
    "DeadLetterQueueSourceArn",
];

impl System {
    /// Reads both lists: the older `AttributeNames` and its newer name.
    fn of(lists: [Option<Vec<String>>; 2]) -> Result<Self, Failure> {
        let mut asked = Self::default();
        for name in lists.into_iter().flatten().flatten() {
            match SYSTEM.iter().find(|known| **known == name) {
                Some(name) if !asked.names.contains(name) => asked.names.push(name),
                Some(_) => {}
                None if name == "All" => asked.all = true,
                None => {
                    return Err(Failure::new(ErrorCode::InvalidAttributeName, format!("Unknown Attribute {name}.")));
                }
            }
        }
        Ok(asked)
    }

    fn pick(&self, context: &Context<'_>, received: &Received, is_fifo: bool) -> BTreeMap<&'static str, String> {
        let asked: &[&'static str] = if self.all { &SYSTEM } else { &self.names };
        let value = |name: &str| match name {
            // Nobody's identity is verified: the account stands for whoever sent it.
            "SenderId" => Some(context.address.account.clone()),
            "SentTimestamp" => Some(received.sent_at.0.to_string()),
            "ApproximateReceiveCount" => Some(received.receive_count.to_string()),
            "ApproximateFirstReceiveTimestamp" => Some(received.first_received_at.0.to_string()),
            "SequenceNumber" => is_fifo.then(|| sequence_number(received.sequence)),
            "MessageDeduplicationId" => received.deduplication.clone(),
            "MessageGroupId" => received.group.clone(),
            TRACE_HEADER => received.trace_header.clone(),
            _ => received.source.as_ref().map(|source| context.address.arn(source)),
        };
        asked.iter().filter_map(|name| Some((*name, value(name)?))).collect()
    }
}

/// Which message attributes are asked for.
#[derive(Debug, Default)]
struct Names {
    all: bool,
    exact: Vec<String>,
    prefixes: Vec<String>,
}

impl Names {
    /// Reads `All`, `.*`, a prefix such as `foo.*`, or a name. What no attribute is called finds none.
    fn of(names: Option<Vec<String>>) -> Result<Self, Failure> {
        let mut asked = Self::default();
        let names = names.unwrap_or_default();
        if names.len() > LIST_ITEMS_MAX {
            return Err(Failure::parameter(format!("At most {LIST_ITEMS_MAX} names of message attributes are taken.")));
        }
        for name in names {
            match name.strip_suffix(".*") {
                _ if name == "All" => asked.all = true,
                Some("") => asked.all = true,
                Some(prefix) => asked.prefixes.push(prefix.to_owned()),
                None => asked.exact.push(name),
            }
        }
        Ok(asked)
    }

    fn contain(&self, name: &str) -> bool {
        self.all
            || self.exact.iter().any(|exact| exact == name)
            || self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}
