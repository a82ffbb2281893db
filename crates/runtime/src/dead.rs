//! Dead letters: records that could not go on, kept with their payload and the cause.
//!
//! They are records of a stream of weir's own, `dead_letters`, and so end up in a table of that name. A letter's id is
//! made from where its record stood, so that a letter that is written again after a crash is one letter.

use std::sync::Arc;

use weir_env::Env;
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
    {"name": "cause", "type": "string", "doc": "unknown_schema, malformed, function_failed, or refused_by_table"},
    {"name": "error", "type": "string", "doc": "the error's text"},
    {"name": "fingerprint", "type": ["null", "string"], "doc": "of the schema the payload was written with", "default": null},
    {"name": "payload", "type": "bytes", "doc": "the record as it stood: Avro binary, or JSON where a table refused a row"},
    {"name": "arrived_at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "doc": "when the record arrived", "default": null},
    {"name": "failed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "when it failed"}
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
            Self::RefusedByTable => "refused_by_table",
        }
    }
}

/// A record on its way to the dead letters.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub source: String,
    /// Where it stood, and when it arrived; none if it never got that far.
    pub place: Option<(SequenceNumber, Timestamp)>,
    pub target: String,
    pub cause: Cause,
    pub error: String,
    pub fingerprint: Option<Fingerprint>,
    pub payload: Vec<u8>,
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
    env: Env,
    stream: Arc<OpenStream>,
}

impl DeadLetters {
    pub fn new(env: Env, stream: Arc<OpenStream>) -> Self {
        Self { env, stream }
    }

    /// Makes letters durable.
    pub async fn park(&self, letters: Vec<Letter>) -> Result<(), DeadLetterError> {
        let fingerprint = self.stream.schema.fingerprint();
        let mut writer = self.stream.stream.write(None).await?;
        let count = letters.len() as u64;
        for letter in letters {
            tracing::warn!(source = letter.source, cause = letter.cause.as_str(), error = letter.error, "dead letter");
            let record = self.encode(&letter);
            weir_schema::validate(&self.stream.schema, &record).map_err(DeadLetterError::Record)?;
            if writer.push(Route::Spread, fingerprint, &record) {
                writer.flush().await?;
            }
        }
        writer.finish().await?;
        self.stream.counters.stored.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Writes a letter as Avro binary of [`SCHEMA`], field by field.
    fn encode(&self, letter: &Letter) -> Vec<u8> {
        let now = self.env.now();
        let (id, sequence, arrived_at) = match letter.place {
            Some((sequence, at)) => {
                (format!("{}@{sequence}>{}", letter.source, letter.target), Some(sequence), Some(at))
            }
            None if letter.cause == Cause::RefusedByTable => {
                // A row has no place of its own; the same row refused again is the same letter.
                (format!("{}#{:032x}", letter.target, xxh3_128(&letter.payload)), None, None)
            }
            None => (format!("{}@{}-{:016x}", letter.source, now.0, self.env.random()), None, Some(now)),
        };
        let mut out = Vec::with_capacity(letter.payload.len() + 256);
        put_bytes(&mut out, id.as_bytes());
        put_bytes(&mut out, letter.source.as_bytes());
        put_option(&mut out, sequence, |out, sequence| put_long(out, sequence.0 as i64));
        put_bytes(&mut out, letter.target.as_bytes());
        put_bytes(&mut out, letter.cause.as_str().as_bytes());
        put_bytes(&mut out, letter.error.as_bytes());
        put_option(&mut out, letter.fingerprint, |out, print| put_bytes(out, print.to_string().as_bytes()));
        put_bytes(&mut out, &letter.payload);
        put_option(&mut out, arrived_at, |out, at| put_long(out, at.0));
        put_long(&mut out, now.0);
        out
    }
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
