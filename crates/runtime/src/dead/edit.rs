//! An edit of payloads: a JSON merge patch on what they say.
//!
//! An Avro record is written as JSON, patched, and encoded against the schema that it had; a message's body is patched as it
//! is. Invariant: what is encoded again has passed the same checks as at the door.

use std::collections::HashMap;
use std::str::FromStr;

use serde_json::value::RawValue;
use weir_schema::{JsonEncoder, Schema, json};
use weir_types::Fingerprint;
use weir_types::limits::RECORD_BYTES_MAX;

use super::patch::{self, PatchError};

/// The longest edit, in bytes.
const EDIT_BYTES_MAX: usize = 256 * 1024;

/// What is changed in each payload: a JSON merge patch (RFC 7386).
#[derive(Debug, Clone)]
pub struct Edit(Box<RawValue>);

/// A text that is no edit.
#[derive(Debug, thiserror::Error)]
#[error("the edit is not a JSON merge patch: {0}")]
pub struct EditError(String);

impl FromStr for Edit {
    type Err = EditError;
    fn from_str(text: &str) -> Result<Self, EditError> {
        if text.len() > EDIT_BYTES_MAX {
            return Err(EditError(format!("it has {} bytes, and may have {EDIT_BYTES_MAX}", text.len())));
        }
        let raw: Box<RawValue> = serde_json::from_str(text).map_err(|error| EditError(error.to_string()))?;
        if !raw.get().starts_with('{') {
            return Err(EditError("it is an object, such as {\"distance\": 1400}".to_owned()));
        }
        Ok(Self(raw))
    }
}

/// Edits payloads one after the other.
pub(super) struct Editor<'a> {
    edit: &'a Edit,
    encoders: HashMap<Fingerprint, JsonEncoder>,
}

impl<'a> Editor<'a> {
    pub fn new(edit: &'a Edit) -> Self {
        Self { edit, encoders: HashMap::new() }
    }

    /// Edits a record; the error names the field.
    pub fn record(&mut self, schema: &Schema, record: &[u8]) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        json::write(schema, record, &mut text).map_err(|error| format!("its payload does not read: {error}"))?;
        let patched = self.patch(&text)?;
        let encoder = self.encoders.entry(schema.fingerprint()).or_insert_with(|| JsonEncoder::new(schema));
        let mut out = Vec::new();
        encoder.encode(patched.as_bytes(), &mut out).map_err(|error| error.to_string())?;
        if out.len() > RECORD_BYTES_MAX {
            return Err(format!("it has {} bytes then, and may have {RECORD_BYTES_MAX}", out.len()));
        }
        Ok(out)
    }

    /// Edits a message's body.
    pub fn body(&self, body: &[u8]) -> Result<Vec<u8>, String> {
        self.patch(body).map(String::into_bytes)
    }

    fn patch(&self, json: &[u8]) -> Result<String, String> {
        let value: Box<RawValue> =
            serde_json::from_slice(json).map_err(|error| format!("its body is not JSON: {error}"))?;
        patch::merge(&value, &self.edit.0).map_err(|error: PatchError| error.to_string())
    }
}
