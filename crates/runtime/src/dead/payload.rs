//! A payload as people and programs can read it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::value::RawValue;
use weir_schema::{Lookup, json};
use weir_types::Fingerprint;

/// A payload in the first of these forms that it has.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// JSON: what an Avro record says, or a body that is JSON.
    Json(Box<RawValue>),
    /// Other text.
    Text(String),
    /// Any bytes, in base64.
    Base64(String),
}

impl Payload {
    /// Shows a payload; with it why it is not shown as what its schema says, if it has one.
    pub(super) fn of(bytes: &[u8], schema: Option<Fingerprint>, catalog: &dyn Lookup) -> (Self, Option<String>) {
        let Some(fingerprint) = schema else { return (Self::of_text(bytes), None) };
        match decode(bytes, fingerprint, catalog) {
            Ok(json) => (Self::Json(json), None),
            Err(error) => (Self::Base64(BASE64.encode(bytes)), Some(error)),
        }
    }

    fn of_text(bytes: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else { return Self::Base64(BASE64.encode(bytes)) };
        match serde_json::from_str(text) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Text(text.to_owned()),
        }
    }
}

/// Writes an Avro record as JSON; the error says in words why that can't be.
pub(super) fn decode(bytes: &[u8], fingerprint: Fingerprint, catalog: &dyn Lookup) -> Result<Box<RawValue>, String> {
    let schema = catalog
        .by_fingerprint(fingerprint)
        .ok_or_else(|| format!("no schema is registered for fingerprint {fingerprint}"))?;
    let mut text = Vec::new();
    json::write(&schema, bytes, &mut text).map_err(|error| error.to_string())?;
    let text = String::from_utf8(text).map_err(|error| error.to_string())?;
    RawValue::from_string(text).map_err(|error| error.to_string())
}
