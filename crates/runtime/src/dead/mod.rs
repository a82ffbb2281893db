//! Dead letters: records that could not go on, kept with their payload and the cause.
//!
//! They are records of a stream of weir's own, `dead_letters`, and so end up in a table of that name. A letter's id is
//! made from where its record stood, so that a letter that is written again after a crash is one letter.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use weir_env::Env;
use weir_queue::{AttributeValue, Received};
use weir_schema::{RecordError, Schema};
use weir_stream::{Route, WriteError};
use weir_types::{Fingerprint, SequenceNumber, Timestamp};
use xxhash_rust::xxh3::xxh3_128;

use crate::streams::OpenStream;

/// The stream and the table of dead letters.
pub(crate) const DEAD_LETTERS: &str = "dead_letters";

/// The schema of dead letters.
pub(crate) const SCHEMA: &str = r#"{
  "type": "record", "name": "DeadLetter", "namespace": "weir",
  "doc": "A record that could not go on, with the cause.",
  "fields": [
    {"name": "id", "type": "string", "doc": "made from where the record stood: the same letter has the same id"},
    {"name": "source", "type": "string", "doc": "where the record came from, such as stream/flights/0"},
    {"name": "sequence", "type": ["null", "long"], "doc": "its sequence number there", "default": null},
    {"name": "target", "type": "string", "doc": "where it could not go, such as table/flights"},
    {"name": "cause", "type": "string", "doc": "unknown_schema, malformed, function_failed, expired, refused_by_table, or received_too_often"},
    {"name": "error", "type": "string", "doc": "the error's text"},
    {"name": "fingerprint", "type": ["null", "string"], "doc": "of the schema the payload was written with", "default": null},
    {"name": "payload", "type": "bytes", "doc": "the record as it stood: Avro binary; JSON where a table refused a row; a message's body"},
    {"name": "arrived_at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "doc": "when the record arrived", "default": null},
    {"name": "failed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "when it failed for the last time"},
    {"name": "first_failed_at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "doc": "when it failed for the first time", "default": null},
    {"name": "attempts", "type": ["null", "int"], "doc": "how often it was tried", "default": null},
    {"name": "headers", "type": ["null", "string"], "doc": "a message's id, group and attributes, as a JSON object", "default": null}
  ]
}"#;

/// Why a record became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Nobody has registered the schema it was written with.
    UnknownSchema,
    /// Its bytes are not what its schema says.
    Malformed,
    /// The function failed on it.
    FunctionFailed,
    /// It was older than the function takes.
    Expired,
    /// Its queue gave it out as often as it may, and nobody deleted it.
    ReceivedTooOften,
    /// A rule of the table refused the row.
    RefusedByTable,
}

impl Cause {
    /// Returns the cause as it stands in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSchema => "unknown_schema",
            Self::Malformed => "malformed",
            Self::FunctionFailed => "function_failed",
            Self::Expired => "expired",
            Self::ReceivedTooOften => "received_too_often",
            Self::RefusedByTable => "refused_by_table",
        }
    }
}

/// A record, a row or a message on its way to the dead letters.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// The same letter, written again after a crash, has the same id.
    pub id: String,
    /// Where it came from, such as `stream/flights/0` or `queue/orders`.
    pub source: String,
    /// Where it stood, and when it arrived; none if it never got that far.
    pub place: Option<(SequenceNumber, Timestamp)>,
    /// What gave up on it, such as `table/flights` or `function/score`.
    pub target: String,
    pub cause: Cause,
    pub error: String,
    pub fingerprint: Option<Fingerprint>,
    pub payload: Vec<u8>,
    /// What came with a message, beside its body.
    pub headers: Vec<(String, String)>,
    pub attempts: u32,
    pub first_failed_at: Timestamp,
    pub failed_at: Timestamp,
}

impl Letter {
    /// Of a record that stands in a log.
    pub fn of_record(
        env: &Env,
        source: String,
        place: (SequenceNumber, Timestamp),
        target: String,
        cause: Cause,
        error: String,
        payload: Vec<u8>,
    ) -> Self {
        let id = format!("{source}@{}>{target}", place.0);
        Self { place: Some(place), ..Self::new(env, id, source, target, cause, error, payload) }
    }

    /// Of a row that a table refused. A row has no place of its own; the same row refused again is the same letter.
    pub fn of_row(env: &Env, source: String, target: String, error: String, payload: Vec<u8>) -> Self {
        let id = format!("{target}#{:032x}", xxh3_128(&payload));
        Self::new(env, id, source, target, Cause::RefusedByTable, error, payload)
    }

    /// Of a record that came to the door and went no further.
    pub fn of_delivery(
        env: &Env,
        source: String,
        target: String,
        cause: Cause,
        error: String,
        payload: Vec<u8>,
    ) -> Self {
        let id = format!("{source}@{}-{:016x}", env.now().0, env.random());
        Self::new(env, id, source, target, cause, error, payload)
    }

    /// Of a message.
    pub fn of_message(
        env: &Env,
        source: String,
        message: &Received,
        target: String,
        cause: Cause,
        error: String,
    ) -> Self {
        let mut headers = vec![("message-id".to_owned(), message.id.to_string())];
        headers.extend(message.group.iter().map(|group| ("group".to_owned(), group.clone())));
        headers.extend(message.headers.iter().cloned());
        headers.extend(message.attributes.iter().map(|attribute| {
            let value = match &attribute.value {
                AttributeValue::Text(text) => text.clone(),
                AttributeValue::Binary(bytes) => BASE64.encode(bytes),
            };
            (format!("attribute:{}:{}", attribute.data_type, attribute.name), value)
        }));
        let place = (message.sequence, message.sent_at);
        Self {
            headers,
            attempts: message.receive_count,
            first_failed_at: message.first_received_at,
            ..Self::of_record(env, source, place, target, cause, error, message.body.to_vec())
        }
    }

    fn new(
        env: &Env,
        id: String,
        source: String,
        target: String,
        cause: Cause,
        error: String,
        payload: Vec<u8>,
    ) -> Self {
        let now = env.now();
        let (place, fingerprint, headers) = (None, None, Vec::new());
        let error = cut(error);
        Self {
            id,
            source,
            place,
            target,
            cause,
            error,
            fingerprint,
            payload,
            headers,
            attempts: 1,
            first_failed_at: now,
            failed_at: now,
        }
    }
}

/// The longest text of an error that is kept, in bytes.
const ERROR_BYTES_MAX: usize = 16 * 1024;

fn cut(mut error: String) -> String {
    if error.len() > ERROR_BYTES_MAX {
        let end = error.floor_char_boundary(ERROR_BYTES_MAX);
        error.truncate(end);
        error.push_str("... (cut)");
    }
    error
}

/// Why letters could not be kept. The records they stand for stay where they are.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The stream of dead letters did not take them.
    #[error("store dead letters")]
    Write(#[from] WriteError),
    /// One does not fit its schema.
    #[error("a dead letter is not valid: {0}")]
    Record(RecordError),
}

/// The way to the dead letters. Clones share it.
#[derive(Clone)]
pub(crate) struct DeadLetters {
    stream: Arc<OpenStream>,
}

impl DeadLetters {
    pub fn new(stream: Arc<OpenStream>) -> Self {
        Self { stream }
    }

    pub fn stream(&self) -> &Arc<OpenStream> {
        &self.stream
    }

    /// Makes letters durable.
    pub async fn park(&self, letters: Vec<Letter>) -> Result<(), DeadLetterError> {
        let fingerprint = self.stream.schema.fingerprint();
        let mut writer = self.stream.stream.write(None).await?;
        let count = letters.len() as u64;
        for letter in letters {
            tracing::warn!(source = letter.source, cause = letter.cause.as_str(), error = letter.error, "dead letter");
            let record = encode(&letter);
            weir_schema::validate(&self.stream.schema, &record).map_err(DeadLetterError::Record)?;
            if writer.push(Route::Spread, fingerprint, &record) {
                writer.flush().await?;
            }
        }
        writer.finish().await?;
        self.stream.counters.stored.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

/// Writes a letter as Avro binary of [`SCHEMA`], field by field.
pub(crate) fn encode(letter: &Letter) -> Vec<u8> {
    let (sequence, arrived_at) = letter.place.unzip();
    let mut out = Vec::with_capacity(letter.payload.len() + 256);
    put_bytes(&mut out, letter.id.as_bytes());
    put_bytes(&mut out, letter.source.as_bytes());
    put_option(&mut out, sequence, |out, sequence| put_long(out, sequence.0 as i64));
    put_bytes(&mut out, letter.target.as_bytes());
    put_bytes(&mut out, letter.cause.as_str().as_bytes());
    put_bytes(&mut out, letter.error.as_bytes());
    put_option(&mut out, letter.fingerprint, |out, print| put_bytes(out, print.to_string().as_bytes()));
    put_bytes(&mut out, &letter.payload);
    put_option(&mut out, arrived_at, |out, at| put_long(out, at.0));
    put_long(&mut out, letter.failed_at.0);
    put_option(&mut out, Some(letter.first_failed_at), |out, at| put_long(out, at.0));
    put_option(&mut out, Some(letter.attempts), |out, attempts| put_long(out, i64::from(attempts)));
    let headers = (!letter.headers.is_empty()).then(|| {
        let headers: BTreeMap<&str, &str> =
            letter.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        serde_json::to_string(&headers).expect("texts serialise")
    });
    put_option(&mut out, headers, |out, headers| put_bytes(out, headers.as_bytes()));
    out
}

/// Avro's zigzag and variable-length coding of a long (specification 1.11, "Binary Encoding").
fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    put_long(out, i64::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

/// Returns the schema of dead letters.
pub(crate) fn schema() -> Schema {
    Schema::parse(SCHEMA).expect("the schema of dead letters is part of the program, and tested")
}

/// Returns the fingerprint of that schema.
pub(crate) fn fingerprint() -> Fingerprint {
    static FINGERPRINT: LazyLock<Fingerprint> = LazyLock::new(|| schema().fingerprint());
    *FINGERPRINT
}
