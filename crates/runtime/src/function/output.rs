//! What a function's outputs take: records in the form of their target.

use std::sync::Arc;

use weir_queue::Queue;
use weir_schema::{JsonEncoder, Schema};
use weir_types::Fingerprint;
use weir_types::limits::RECORD_BYTES_MAX;

use super::outbox::Made;

/// What a message has beside its body: the outbox sends none with attributes.
const MESSAGE_OVERHEAD: usize = 256;

/// The form of one output's records.
#[derive(Clone)]
pub(crate) enum Form {
    /// Avro binary of this schema, for streams and tables.
    Avro(Schema),
    /// JSON as it is, for a queue.
    Message(Arc<Queue>),
}

/// One output of a function.
#[derive(Clone)]
pub(crate) struct Output {
    pub name: String,
    pub form: Form,
}

/// Turns JSON into records of one output.
pub(crate) struct Encoder<'a> {
    output: &'a Output,
    encoder: Option<JsonEncoder>,
    count: usize,
}

impl<'a> Encoder<'a> {
    pub fn new(output: &'a Output) -> Self {
        let encoder = match &output.form {
            Form::Avro(schema) => Some(JsonEncoder::new(schema)),
            Form::Message(_) => None,
        };
        Self { output, encoder, count: 0 }
    }

    /// Encodes the next record; the error names it, and the field.
    pub fn encode(&mut self, json: &[u8]) -> Result<Made, String> {
        self.count += 1;
        let refused = |what: String| format!("record {} for output `{}`: {what}", self.count, self.output.name);
        let (fingerprint, body) = match (&mut self.encoder, &self.output.form) {
            (Some(encoder), Form::Avro(schema)) => {
                let mut body = Vec::new();
                encoder.encode(json, &mut body).map_err(|error| refused(error.to_string()))?;
                (schema.fingerprint(), body)
            }
            _ => (Fingerprint(0), json.to_vec()),
        };
        self.output.check_size(body.len()).map_err(refused)?;
        Ok(Made { key: self.output.key(), fingerprint, body })
    }
}

impl Output {
    /// What marks the output's records among those that the function has made.
    pub fn key(&self) -> Vec<u8> {
        self.name.as_bytes().to_vec()
    }

    /// Refuses what the target would.
    pub fn check_size(&self, bytes: usize) -> Result<(), String> {
        let bytes_max = match &self.form {
            Form::Avro(_) => RECORD_BYTES_MAX,
            Form::Message(queue) => queue.settings().message_bytes_max.saturating_sub(MESSAGE_OVERHEAD),
        };
        if bytes > bytes_max {
            return Err(format!("it has {bytes} bytes, and may have {bytes_max}"));
        }
        Ok(())
    }
}
