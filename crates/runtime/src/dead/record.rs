//! Letters as records: the schema of the stream of dead letters, and its Avro binary, field by field.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use weir_schema::Schema;
use weir_types::Fingerprint;

use super::avro::{put_bytes, put_long, put_option};
use super::letter::Letter;

/// The schema of dead letters.
pub(crate) const SCHEMA: &str = r#"{
  "type": "record", "name": "DeadLetter", "namespace": "weir",
  "doc": "A record that could not go on, with the cause.",
  "fields": [
    {"name": "id", "type": "string", "doc": "made from where the record stood: the same letter has the same id"},
    {"name": "source", "type": "string", "doc": "where the record came from, such as stream/flights/0"},
    {"name": "sequence", "type": ["null", "long"], "doc": "its sequence number there", "default": null},
    {"name": "target", "type": "string", "doc": "where it could not go, such as table/flights"},
    {"name": "cause", "type": "string", "doc": "unknown_schema, malformed, function_failed, expired, refused_by_table, received_too_often, or target_gone"},
    {"name": "error", "type": "string", "doc": "the error's text"},
    {"name": "fingerprint", "type": ["null", "string"], "doc": "of the schema the payload was written with", "default": null},
    {"name": "payload", "type": "bytes", "doc": "the record as it stood: Avro binary; JSON where a table refused a row; a message's body"},
    {"name": "arrived_at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "doc": "when the record arrived", "default": null},
    {"name": "failed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "when it failed for the last time"},
    {"name": "first_failed_at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "doc": "when it failed for the first time", "default": null},
    {"name": "attempts", "type": ["null", "int"], "doc": "how often it was tried", "default": null},
    {"name": "headers", "type": ["null", "string"], "doc": "what came with it, as a JSON object: a message's id, group and attributes; the letter that it was redriven as", "default": null}
  ]
}"#;

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

/// Returns the schema of dead letters.
pub(crate) fn schema() -> Schema {
    Schema::parse(SCHEMA).expect("the schema of dead letters is part of the program, and tested")
}

/// Returns the fingerprint of that schema.
pub(crate) fn fingerprint() -> Fingerprint {
    static FINGERPRINT: LazyLock<Fingerprint> = LazyLock::new(|| schema().fingerprint());
    *FINGERPRINT
}
