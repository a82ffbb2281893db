//! An action: what was decided about a letter, as a record of the stream `dead_letter_actions`.
//!
//! The record has all that the carrier needs. The table has the same rows without the payloads that went on as they were:
//! those stand in `dead_letters`.

use std::sync::LazyLock;

use weir_schema::Schema;
use weir_types::{Fingerprint, Timestamp};

use super::avro::{Reader, put_bytes, put_long, put_option};

/// The schema of actions.
const SCHEMA: &str = r#"{
  "type": "record", "name": "DeadLetterAction", "namespace": "weir",
  "doc": "What was decided about a dead letter.",
  "fields": [
    {"name": "id", "type": "string", "doc": "the letter's id"},
    {"name": "action", "type": "string", "doc": "redriven or dropped"},
    {"name": "decided_at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "when it was decided"},
    {"name": "run", "type": "string", "doc": "the run that decided it: letters of one run have the same"},
    {"name": "target", "type": ["null", "string"], "doc": "where it was sent, such as table/flights", "default": null},
    {"name": "edited", "type": ["null", "bytes"], "doc": "the payload as it went on, if it was edited", "default": null},
    {"name": "payload", "type": ["null", "bytes"], "doc": "the payload as it went on, if it was not edited", "default": null},
    {"name": "fingerprint", "type": ["null", "string"], "doc": "of the schema of the payload", "default": null},
    {"name": "headers", "type": ["null", "string"], "doc": "what goes on with a message, as a JSON object", "default": null}
  ]
}"#;

/// What the table has of an action.
pub(crate) const TABLE_SQL: &str = "select id, action, decided_at, run, target, edited from input";

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Redriven,
    Dropped,
}

impl Decision {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redriven => "redriven",
            Self::Dropped => "dropped",
        }
    }
}

/// What goes on of a letter that is redriven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Onward {
    /// A way in text.
    pub target: String,
    pub payload: Vec<u8>,
    pub edited: bool,
    pub fingerprint: Option<Fingerprint>,
    /// A JSON object.
    pub headers: Option<String>,
}

/// What was decided about one letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    /// The letter.
    pub id: String,
    pub at: Timestamp,
    pub run: String,
    /// None: it was dropped.
    pub onward: Option<Onward>,
}

impl Action {
    pub fn decision(&self) -> Decision {
        if self.onward.is_some() { Decision::Redriven } else { Decision::Dropped }
    }

    /// Returns an upper bound of the bytes that its record has.
    pub fn bytes(&self) -> usize {
        let onward = self.onward.as_ref();
        let onward = onward.map_or(0, |onward| {
            onward.payload.len() + onward.target.len() + onward.headers.as_ref().map_or(0, String::len)
        });
        // The id is also the record's key.
        onward + 2 * self.id.len() + self.run.len() + 128
    }

    pub fn encode(&self) -> Vec<u8> {
        let onward = self.onward.as_ref();
        let mut out = Vec::with_capacity(onward.map_or(0, |onward| onward.payload.len()) + 256);
        put_bytes(&mut out, self.id.as_bytes());
        put_bytes(&mut out, self.decision().as_str().as_bytes());
        put_long(&mut out, self.at.0);
        put_bytes(&mut out, self.run.as_bytes());
        put_option(&mut out, onward, |out, onward| put_bytes(out, onward.target.as_bytes()));
        let payload = |edited| onward.filter(|onward| onward.edited == edited).map(|onward| &onward.payload);
        put_option(&mut out, payload(true), |out, payload| put_bytes(out, payload));
        put_option(&mut out, payload(false), |out, payload| put_bytes(out, payload));
        let fingerprint = onward.and_then(|onward| onward.fingerprint);
        put_option(&mut out, fingerprint, |out, print| put_bytes(out, print.to_string().as_bytes()));
        let headers = onward.and_then(|onward| onward.headers.as_ref());
        put_option(&mut out, headers, |out, headers| put_bytes(out, headers.as_bytes()));
        out
    }

    /// Reads what [`Action::encode`] wrote.
    pub fn decode(record: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(record);
        let id = reader.text()?.to_owned();
        reader.text()?;
        let at = Timestamp(reader.long()?);
        let run = reader.text()?.to_owned();
        let target = reader.option(Reader::text)?;
        let edited = reader.option(Reader::bytes)?;
        let payload = reader.option(Reader::bytes)?;
        let fingerprint = reader.option(Reader::text)?;
        let headers = reader.option(Reader::text)?.map(str::to_owned);
        let Some(target) = target else { return Ok(Self { id, at, run, onward: None }) };
        let fingerprint = fingerprint.map(parse_fingerprint).transpose()?;
        let (payload, edited) = match (edited, payload) {
            (Some(payload), _) => (payload.to_vec(), true),
            (None, Some(payload)) => (payload.to_vec(), false),
            (None, None) => return Err("it goes on and has no payload".to_owned()),
        };
        let onward = Onward { target: target.to_owned(), payload, edited, fingerprint, headers };
        Ok(Self { id, at, run, onward: Some(onward) })
    }
}

/// Reads a fingerprint's text form.
pub(super) fn parse_fingerprint(text: &str) -> Result<Fingerprint, String> {
    u64::from_str_radix(text, 16).map(Fingerprint).map_err(|_| format!("`{text}` is not a fingerprint"))
}

/// Returns the schema of actions.
pub(crate) fn schema() -> Schema {
    Schema::parse(SCHEMA).expect("the schema of actions is part of the program, and tested")
}

/// Returns the fingerprint of that schema.
pub(super) fn fingerprint() -> Fingerprint {
    static FINGERPRINT: LazyLock<Fingerprint> = LazyLock::new(|| schema().fingerprint());
    *FINGERPRINT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_reads_back_and_fits_its_schema() {
        let onward = Onward {
            target: "queue/orders".to_owned(),
            payload: vec![0, 255, 7],
            edited: true,
            fingerprint: Some(Fingerprint(0x0123_4567_89ab_cdef)),
            headers: Some("{\"group\":\"a\"}".to_owned()),
        };
        let dropped =
            Action { id: "stream/a/0@1>table/b".to_owned(), at: Timestamp(-5), run: "r".to_owned(), onward: None };
        let plain = Onward { edited: false, fingerprint: None, headers: None, ..onward.clone() };
        for onward in [None, Some(onward), Some(plain)] {
            let action = Action { onward, ..dropped.clone() };
            let record = action.encode();
            assert_eq!(weir_schema::validate(&schema(), &record).unwrap(), record.len());
            assert_eq!(Action::decode(&record).unwrap(), action);
            for cut in 0..record.len() {
                assert!(Action::decode(&record[..cut]).is_err(), "cut at {cut}");
            }
        }
    }
}
