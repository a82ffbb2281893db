//! A Lambda handler as a step: the event that it is given, and what its answer means.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use md5::{Digest, Md5};
use serde_json::value::RawValue;
use weir_env::Env;
use weir_lambda::event::{
    BatchResponseError, Failures, KinesisRecord, Service, SqsAttribute, SqsMessage, SqsValue, arn, batch_response,
    kinesis, sqs,
};
use weir_lambda::limits::PAYLOAD_BYTES_MAX;
use weir_lambda::{Handler, Invocation, InvokeError};
use weir_queue::{AttributeValue, Received};
use weir_schema::{Lookup, json};
use weir_types::ShardId;

use super::outbox::{MADE_BYTES_MAX, Made};
use super::output::{Encoder, Output};
use super::step::{Item, MessageStep, RecordStep, StepError, Worked};
use crate::dead::Cause;
use crate::pipeline::chain;
use crate::schemas::Catalog;

/// How long a run waits for its turn, while other runs have all environments, before the function is said to stand still.
const TURN_PATIENCE: Duration = Duration::from_secs(30);
const TURN_PAUSE: Duration = Duration::from_millis(50);
/// What an event has around its records.
const EVENT_OVERHEAD: usize = 64;
/// Who sends messages, as SQS names it: there are no accounts here.
const SENDER: &str = "AIDAWEIR";

/// What all runs of a handler share.
pub(crate) struct HandlerStep {
    pub env: Env,
    pub function: String,
    pub handler: Arc<Handler>,
    pub outputs: Vec<Output>,
}

/// A handler over the records of one shard, as Kinesis gives them.
pub(crate) struct KinesisStep {
    pub step: Arc<HandlerStep>,
    pub stream: String,
    /// The field of the partition key.
    pub key: Option<String>,
    pub shard: ShardId,
    pub catalog: Catalog,
}

/// A handler over the messages of a queue, as SQS gives them.
pub(crate) struct SqsStep {
    pub step: Arc<HandlerStep>,
    pub queue: String,
}

/// A handler over events: each message's body is the whole event.
pub(crate) struct EventStep {
    pub step: Arc<HandlerStep>,
}

/// Why an answer came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// It holds no records at all.
    #[error("{0}")]
    NoRecords(String),
    /// It holds records that their targets do not take.
    #[error("{0}")]
    Refused(String),
}

impl HandlerStep {
    /// Runs the handler; while all environments are taken, waits for one.
    async fn invoke(&self, payload: Vec<u8>) -> Result<bytes::Bytes, StepError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            let error = format!("the event has {} bytes, and may have {PAYLOAD_BYTES_MAX}", payload.len());
            return Err(StepError::TooLarge(error));
        }
        let payload = bytes::Bytes::from(payload);
        let until = self.env.elapsed() + TURN_PATIENCE;
        loop {
            match self.handler.invoke(Invocation::new(payload.clone())).await {
                Ok(answer) => return Ok(answer.payload),
                Err(InvokeError::Throttled { .. }) if self.env.elapsed() < until => {
                    self.env.sleep(self.env.jitter(TURN_PAUSE)).await;
                }
                Err(error @ (InvokeError::TooLarge { .. } | InvokeError::ResponseTooLarge { .. })) => {
                    return Err(StepError::TooLarge(error.to_string()));
                }
                // Code that does not come up fails on every record alike.
                Err(error @ InvokeError::InitFailed { .. }) => return Err(StepError::Halt(chain(&error))),
                Err(error) if error.is_function_error() => return Err(StepError::Items(error.to_string())),
                Err(error) => return Err(StepError::Halt(chain(&error))),
            }
        }
    }

    /// Reads an answer to items with these ids. With outputs, just the items that are named have failed; without, a stream's
    /// rule holds where `in_order` says so: all from the first that failed are tried again, as with AWS.
    fn read(&self, answer: &[u8], ids: &[&str], in_order: bool) -> Result<Worked, StepError> {
        let names: Vec<&str> = self.outputs.iter().map(|output| output.name.as_str()).collect();
        let outcome = batch_response(answer, ids, &names).map_err(|error| StepError::Items(chain(&error)))?;
        let mut worked = Worked::default();
        match &outcome.failures {
            Failures::None => {}
            Failures::Items(items) if in_order && names.is_empty() => {
                worked.again = (items.first().copied().unwrap_or(0)..ids.len()).collect();
                "the function reported it, or a record before it, as failed".clone_into(&mut worked.error);
            }
            Failures::Items(items) => {
                worked.again.clone_from(items);
                "the function reported it as failed".clone_into(&mut worked.error);
            }
            Failures::Batch(why) => return Err(StepError::Items(why.to_string())),
        }
        worked.made = self.encode(&outcome.outputs)?;
        Ok(worked)
    }

    fn encode(&self, outputs: &[Vec<&RawValue>]) -> Result<Vec<Made>, StepError> {
        let mut made = Vec::new();
        let mut bytes = 0;
        for (output, records) in self.outputs.iter().zip(outputs) {
            let mut encoder = Encoder::new(output);
            for record in records {
                let record = encoder.encode(record.get().as_bytes()).map_err(StepError::Items)?;
                bytes += record.body.len() + 32;
                made.push(record);
            }
        }
        if bytes > MADE_BYTES_MAX {
            let error = format!("the function made {bytes} bytes of records, and may make {MADE_BYTES_MAX} at once");
            return Err(StepError::TooLarge(error));
        }
        Ok(made)
    }

    /// Reads what a direct invocation returned, where its records are wanted.
    pub fn made_of(&self, answer: &[u8]) -> Result<Vec<Made>, Unfit> {
        if self.outputs.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = self.outputs.iter().map(|output| output.name.as_str()).collect();
        match batch_response(answer, &[], &names) {
            Ok(outcome) => self.encode(&outcome.outputs).map_err(|error| Unfit::Refused(error.to_string())),
            Err(error @ BatchResponseError::NotRecords { .. }) => Err(Unfit::NoRecords(chain(&error))),
            Err(error) => Err(Unfit::Refused(chain(&error))),
        }
    }
}

impl KinesisStep {
    /// Writes a record as JSON, which is what its handler reads.
    fn text(&self, item: &Item) -> Result<Vec<u8>, (Cause, String)> {
        let schema = self.catalog.by_fingerprint(item.fingerprint).ok_or_else(|| {
            (Cause::UnknownSchema, format!("no schema is registered for fingerprint {}", item.fingerprint))
        })?;
        let mut text = Vec::with_capacity(2 * item.body.len());
        json::write(&schema, &item.body, &mut text).map_err(|error| (Cause::Malformed, error.to_string()))?;
        Ok(text)
    }

    /// Returns the partition key as its field's text. Records without a key have their place.
    fn key_of(&self, item: &Item, text: &[u8]) -> String {
        let field = || {
            let fields: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(text).ok()?;
            let value = fields.get(self.key.as_deref()?)?.get();
            Some(serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_owned()))
        };
        field().filter(|key| !key.is_empty()).unwrap_or_else(|| item.sequence.to_string())
    }

    async fn work(&self, items: &[Item]) -> Result<Worked, StepError> {
        let mut poisoned = Vec::new();
        let mut passed = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match self.text(item) {
                Ok(text) => {
                    let key = self.key_of(item, &text);
                    passed.push((index, key, text));
                }
                Err((cause, error)) => poisoned.push((index, cause, error)),
            }
        }
        if passed.is_empty() {
            return Ok(Worked { poisoned, ..Worked::default() });
        }
        let shard = format!("shardId-{:012}", self.shard.0);
        let stream = arn(Service::Kinesis, &self.stream);
        let records = || {
            passed.iter().map(|(index, key, text)| KinesisRecord {
                shard: &shard,
                sequence: items[*index].sequence.0,
                partition_key: key,
                arrived_at: items[*index].arrived_at,
                data: text,
            })
        };
        let bytes: usize = records().map(|record| record.event_bytes(&stream, &self.step.function)).sum();
        if bytes + EVENT_OVERHEAD > PAYLOAD_BYTES_MAX {
            let error = format!("the event would have {bytes} bytes, and may have {PAYLOAD_BYTES_MAX}");
            // What can't be written as an event is known all the same; it comes up again in the halves.
            return Err(StepError::TooLarge(error));
        }
        let event = kinesis(records(), &stream, &self.step.function);
        let answer = self.step.invoke(event).await?;
        let ids: Vec<String> = passed.iter().map(|(index, ..)| items[*index].sequence.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut worked = self.step.read(&answer, &ids, true)?;
        worked.again = worked.again.into_iter().map(|place| passed[place].0).collect();
        worked.poisoned = poisoned;
        Ok(worked)
    }
}

impl RecordStep for KinesisStep {
    fn run<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<Worked, StepError>> {
        self.work(items).boxed()
    }
}

/// A message with its texts ready to be borrowed.
struct Texts<'a> {
    index: usize,
    id: String,
    receipt: String,
    md5: String,
    sequence: String,
    source: Option<String>,
    attributes: Vec<SqsAttribute<'a>>,
    body: &'a str,
}

impl<'a> Texts<'a> {
    fn of(index: usize, message: &'a Received) -> Result<Self, String> {
        let body = std::str::from_utf8(&message.body).map_err(|error| format!("its body is not text: {error}"))?;
        let attributes = message.attributes.iter().map(|attribute| SqsAttribute {
            name: &attribute.name,
            data_type: &attribute.data_type,
            value: match &attribute.value {
                AttributeValue::Text(text) => SqsValue::Text(text),
                AttributeValue::Binary(bytes) => SqsValue::Binary(bytes),
            },
        });
        Ok(Self {
            index,
            id: message.id.to_string(),
            receipt: message.receipt.to_string(),
            md5: format!("{:x}", Md5::digest(&message.body)),
            sequence: format!("{:020}", message.sequence.0),
            source: message.source.as_ref().map(|source| arn(Service::Sqs, source.as_str())),
            attributes: attributes.collect(),
            body,
        })
    }
}

impl SqsStep {
    async fn work(&self, messages: &[Received]) -> Result<Worked, StepError> {
        let mut poisoned = Vec::new();
        let mut passed = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            match Texts::of(index, message) {
                Ok(texts) => passed.push(texts),
                Err(error) => poisoned.push((index, Cause::Malformed, error)),
            }
        }
        if passed.is_empty() {
            return Ok(Worked { poisoned, ..Worked::default() });
        }
        let queue = arn(Service::Sqs, &self.queue);
        let event_messages = || {
            passed.iter().map(|texts| {
                let message = &messages[texts.index];
                let fifo = message.group.is_some() && self.queue.ends_with(weir_types::name::FIFO_SUFFIX);
                SqsMessage {
                    message_id: &texts.id,
                    receipt_handle: &texts.receipt,
                    body: texts.body,
                    md5_of_body: &texts.md5,
                    md5_of_message_attributes: None,
                    receive_count: message.receive_count,
                    sent_at: message.sent_at,
                    first_received_at: message.first_received_at,
                    sender_id: SENDER,
                    group_id: message.group.as_deref(),
                    sequence_number: fifo.then_some(texts.sequence.as_str()),
                    deduplication_id: message.deduplication.as_deref(),
                    trace_header: message.trace_header.as_deref(),
                    dead_letter_source_arn: texts.source.as_deref(),
                    attributes: &texts.attributes,
                }
            })
        };
        let bytes: usize = event_messages().map(|message| message.event_bytes(&queue)).sum();
        if bytes + EVENT_OVERHEAD > PAYLOAD_BYTES_MAX {
            let error = format!("the event would have {bytes} bytes, and may have {PAYLOAD_BYTES_MAX}");
            return Err(StepError::TooLarge(error));
        }
        let event = sqs(event_messages(), &queue);
        let answer = self.step.invoke(event).await?;
        let ids: Vec<&str> = passed.iter().map(|texts| texts.id.as_str()).collect();
        let mut worked = self.step.read(&answer, &ids, false)?;
        worked.again = worked.again.into_iter().map(|place| passed[place].index).collect();
        worked.poisoned = poisoned;
        Ok(worked)
    }
}

impl MessageStep for SqsStep {
    fn run<'a>(&'a self, messages: &'a [Received]) -> BoxFuture<'a, Result<Worked, StepError>> {
        self.work(messages).boxed()
    }
}

impl EventStep {
    async fn work(&self, messages: &[Received]) -> Result<Worked, StepError> {
        // One event is one invocation: the runner hands over one at a time.
        let Some(message) = messages.first() else { return Ok(Worked::default()) };
        let answer = self.step.invoke(message.body.to_vec()).await?;
        let made = self.step.made_of(&answer).map_err(|error| StepError::Items(error.to_string()))?;
        Ok(Worked { made, again: (1..messages.len()).collect(), ..Worked::default() })
    }
}

impl MessageStep for EventStep {
    fn run<'a>(&'a self, messages: &'a [Received]) -> BoxFuture<'a, Result<Worked, StepError>> {
        self.work(messages).boxed()
    }
}
