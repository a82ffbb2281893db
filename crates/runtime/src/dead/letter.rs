//! A letter: what could not go on, where it stood, and why.
//!
//! Invariant: a letter's id is made from where its record stood, so that a letter that is written again after a crash is one
//! letter, and a record that fails again somewhere else is another.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use weir_env::Env;
use weir_queue::{AttributeValue, Received};
use weir_types::{Fingerprint, SequenceNumber, Timestamp};
use xxhash_rust::xxh3::xxh3_128;

use super::given;

/// The header that names the letter that a record was redriven as.
pub(crate) const REDRIVE_OF: &str = "redrive-of";
/// The header that names the replay that a record was read for.
pub(crate) const REPLAY: &str = "replay";
/// The header of a message's own id.
pub(crate) const MESSAGE_ID: &str = "message-id";
/// The header of a message's group.
pub(crate) const GROUP: &str = "group";
/// What the header of a message's attribute begins with; its type and its name follow.
pub(crate) const ATTRIBUTE: &str = "attribute:";
/// The header of a message's X-Ray trace header.
pub(crate) const TRACE: &str = "trace-header";
/// The header of the form that messages at the door had.
pub(crate) const FORM: &str = "form";

/// Why a record became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Nobody has registered the schema it was written with.
    UnknownSchema,
    /// Its bytes are not what its schema says.
    Malformed,
    /// The function failed on it.
    FunctionFailed,
    /// A crawl's call failed as often as it may, or can't be made.
    CallFailed,
    /// It was older than the function takes.
    Expired,
    /// Its queue gave it out as often as it may, and nobody deleted it.
    ReceivedTooOften,
    /// A rule of the table refused the row.
    RefusedByTable,
    /// It was to go on, and its target was gone or did not take it.
    TargetGone,
}

impl Cause {
    /// Returns the cause as it stands in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSchema => "unknown_schema",
            Self::Malformed => "malformed",
            Self::FunctionFailed => "function_failed",
            Self::CallFailed => "call_failed",
            Self::Expired => "expired",
            Self::ReceivedTooOften => "received_too_often",
            Self::RefusedByTable => "refused_by_table",
            Self::TargetGone => "target_gone",
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

    /// Notes which letter it was redriven as: `key` is what a stream of redriven records has it under.
    #[must_use]
    pub fn redriven(mut self, key: Option<&[u8]>) -> Self {
        let of = key.and_then(|key| std::str::from_utf8(key).ok()).and_then(given::letter_of);
        self.headers.extend(of.map(|of| (REDRIVE_OF.to_owned(), of.to_owned())));
        self
    }

    /// Notes which replay read the record: what fails again is a letter of its own, whatever became of the one before.
    #[must_use]
    pub fn replayed(mut self, replay: &str) -> Self {
        self.id = format!("{}?{replay}", self.id);
        self.headers.push((REPLAY.to_owned(), replay.to_owned()));
        self
    }

    /// Returns what the ledger counts it by.
    pub fn digest(&self) -> u128 {
        xxh3_128(self.id.as_bytes())
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
        let mut headers = vec![(MESSAGE_ID.to_owned(), message.id.to_string())];
        headers.extend(message.group.iter().map(|group| (GROUP.to_owned(), group.clone())));
        headers.extend(message.trace_header.iter().map(|trace| (TRACE.to_owned(), trace.clone())));
        headers.extend(message.headers.iter().cloned());
        headers.extend(message.attributes.iter().map(|attribute| {
            let value = match &attribute.value {
                AttributeValue::Text(text) => text.clone(),
                AttributeValue::Binary(bytes) => BASE64.encode(bytes),
            };
            (format!("{ATTRIBUTE}{}:{}", attribute.data_type, attribute.name), value)
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
