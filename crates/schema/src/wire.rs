//! Avro's wire forms: a record behind something that names its schema.
//!
//! ```text
//! single object   C3 01 | fingerprint, 8 bytes little-endian | binary        (Avro 1.11, "Single-object encoding")
//! registry id     00    | id, 4 bytes big-endian             | binary        (Confluent's wire format)
//! MD5             MD5 of the canonical form, 16 bytes        | binary
//! envelope        DataWrapper {string dataType; long schemaFingerprint; bytes data}, itself in binary
//! ```
//!
//! A schema that isn't known is told apart from bytes that are no such form: the former may be mended by registering it.

use weir_types::Fingerprint;

use crate::binary::Cursor;
use crate::registry::{Registry, SchemaId};
use crate::{RecordError, Schema, validate};

/// How a message names its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Avro's single-object encoding.
    SingleObject,
    /// Confluent's: a zero and the registry's id.
    RegistryId,
    /// 16 bytes of MD5.
    Md5,
    /// `DataWrapper`.
    Envelope,
}

/// Where schemas are looked up.
pub trait Lookup {
    /// Returns the schema of a fingerprint.
    fn by_fingerprint(&self, fingerprint: Fingerprint) -> Option<Schema>;
    /// Returns the schema of a registry's id.
    fn by_id(&self, id: SchemaId) -> Option<Schema>;
    /// Returns the schema whose canonical form has this MD5.
    fn by_md5(&self, md5: &[u8; 16]) -> Option<Schema>;
}

impl Lookup for Registry {
    fn by_fingerprint(&self, fingerprint: Fingerprint) -> Option<Schema> {
        self.by_fingerprint(fingerprint)
    }

    fn by_id(&self, id: SchemaId) -> Option<Schema> {
        self.by_id(id)
    }

    fn by_md5(&self, md5: &[u8; 16]) -> Option<Schema> {
        self.by_md5(md5)
    }
}

/// A message taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// The writer's schema.
    pub schema: Schema,
    /// The record, checked to be binary of that schema.
    pub payload: &'a [u8],
    /// The message's bytes: another one may follow.
    pub used: usize,
}

/// A message that can't be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The form is right, and nobody has registered the schema: register it, then replay.
    #[error("the schema with {key} is not registered")]
    UnknownSchema {
        /// The key and its kind, such as "fingerprint `8c2f...`".
        key: String,
    },
    /// The bytes are not of the form.
    #[error("this is no message in the form {form}: {reason}")]
    Malformed {
        /// The form's name.
        form: &'static str,
        /// Why.
        reason: String,
    },
    /// The form and the schema are right, and the record is not.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Form {
    /// Returns the form's name.
    pub fn name(self) -> &'static str {
        match self {
            Form::SingleObject => "single object",
            Form::RegistryId => "registry id",
            Form::Md5 => "MD5",
            Form::Envelope => "envelope",
        }
    }

    /// Guesses the form from the first bytes: the two that announce themselves. `None` for all else, an MD5 or an envelope
    /// among it.
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xc3, 0x01, ..] if bytes.len() >= 10 => Some(Form::SingleObject),
            [0, ..] if bytes.len() >= 5 => Some(Form::RegistryId),
            _ => None,
        }
    }
}

/// Takes the message at the beginning of `bytes` apart, and checks its record.
///
/// # Errors
/// See [`WireError`].
pub fn decode<'a>(form: Form, bytes: &'a [u8], lookup: &dyn Lookup) -> Result<Message<'a>, WireError> {
    let malformed = |reason: &str| WireError::Malformed { form: form.name(), reason: reason.to_owned() };
    let unknown = |key: String| WireError::UnknownSchema { key };
    let mut cursor = Cursor::new(bytes);
    let schema = match form {
        Form::SingleObject => {
            if cursor.take(2).map_err(malformed)? != [0xc3, 0x01] {
                return Err(malformed("it does not begin with C3 01"));
            }
            let fingerprint = Fingerprint(u64::from_le_bytes(cursor.array().map_err(malformed)?));
            lookup.by_fingerprint(fingerprint).ok_or_else(|| unknown(format!("fingerprint `{fingerprint}`")))?
        }
        Form::RegistryId => {
            if cursor.byte().map_err(malformed)? != 0 {
                return Err(malformed("it does not begin with 00"));
            }
            let id = SchemaId(u32::from_be_bytes(cursor.array().map_err(malformed)?));
            lookup.by_id(id).ok_or_else(|| unknown(format!("id `{id}`")))?
        }
        Form::Md5 => {
            let md5 = cursor.array().map_err(malformed)?;
            lookup.by_md5(&md5).ok_or_else(|| unknown(format!("MD5 `{:032x}`", u128::from_be_bytes(md5))))?
        }
        Form::Envelope => return envelope(&mut cursor, lookup),
    };
    let start = cursor.at();
    let length = validate(&schema, &bytes[start..])?;
    Ok(Message { schema, payload: &bytes[start..start + length], used: start + length })
}

fn envelope<'a>(cursor: &mut Cursor<'a>, lookup: &dyn Lookup) -> Result<Message<'a>, WireError> {
    let malformed = |reason: &str| WireError::Malformed { form: Form::Envelope.name(), reason: reason.to_owned() };
    let of = cursor.text().map_err(malformed)?;
    let fingerprint = Fingerprint(cursor.long().map_err(malformed)? as u64);
    let payload = cursor.bytes().map_err(malformed)?;
    let schema = lookup.by_fingerprint(fingerprint);
    let schema = schema.ok_or_else(|| WireError::UnknownSchema {
        key: format!("fingerprint `{fingerprint}` (data type {})", crate::text::quote(of)),
    })?;
    match validate(&schema, payload)? {
        used if used == payload.len() => Ok(Message { schema, payload, used: cursor.at() }),
        used => Err(malformed(&format!("its data have {} bytes more than one record", payload.len() - used))),
    }
}

/// Appends a record in the single-object encoding: the form in which weir hands records on.
pub fn write_single_object(fingerprint: Fingerprint, record: &[u8], out: &mut Vec<u8>) {
    out.extend([0xc3, 0x01]);
    out.extend(fingerprint.0.to_le_bytes());
    out.extend_from_slice(record);
}

#[cfg(test)]
mod tests;
