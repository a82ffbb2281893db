//! The header of a container file: the schema, how blocks are compressed, and what the writer added.

use std::collections::BTreeMap;

use super::ContainerError;
use super::codec::Codec;
use crate::Schema;
use crate::binary::{CUT_OFF, Cursor};
use crate::limits::HEADER_BYTES_MAX;

/// What the header of a container file says.
#[derive(Debug, Clone)]
pub struct ContainerHeader {
    /// The schema that the records were written with.
    pub schema: Schema,
    /// How the blocks are compressed.
    pub codec: Codec,
    /// What stands behind each block.
    pub sync: [u8; 16],
    /// The writer's own entries: those whose key does not begin with `avro.`, and whose value is text.
    pub metadata: BTreeMap<String, String>,
    /// The header's bytes: the first block begins there.
    pub length: usize,
}

impl ContainerHeader {
    /// Reads the header at the beginning of a file; none if more of the file is needed.
    ///
    /// # Errors
    /// If the file does not begin as a container file does, or its schema or codec is not known here.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, ContainerError> {
        const MAGIC: &[u8] = b"Obj\x01";
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(ContainerError::Magic);
        }
        let mut cursor = Cursor::new(bytes);
        let entries = match entries(&mut cursor) {
            Ok(found) => found,
            Err(CUT_OFF) if bytes.len() <= HEADER_BYTES_MAX => return Ok(None),
            Err(CUT_OFF) => {
                return Err(ContainerError::Header { reason: format!("it is longer than {HEADER_BYTES_MAX} bytes") });
            }
            Err(reason) => return Err(ContainerError::Header { reason: reason.to_owned() }),
        };
        let Entries { schema, codec, sync, metadata } = entries;
        let schema = schema.ok_or_else(|| ContainerError::Header { reason: "`avro.schema` is missing".to_owned() })?;
        let schema = Schema::parse(schema).map_err(ContainerError::Schema)?;
        let codec = Codec::named(codec.unwrap_or("null"))?;
        Ok(Some(Self { schema, codec, sync, metadata, length: cursor.at() }))
    }

    /// Returns an entry of the writer's own.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }
}

struct Entries<'a> {
    schema: Option<&'a str>,
    codec: Option<&'a str>,
    sync: [u8; 16],
    metadata: BTreeMap<String, String>,
}

fn entries<'a>(cursor: &mut Cursor<'a>) -> Result<Entries<'a>, &'static str> {
    let (mut schema, mut codec, mut metadata) = (None, None, BTreeMap::new());
    cursor.take(4)?;
    loop {
        // Not `Cursor::block`: what it would compare with has not come yet.
        let count = cursor.long()?;
        if count < 0 {
            cursor.long()?;
        }
        if count == 0 {
            return Ok(Entries { schema, codec, sync: cursor.array()?, metadata });
        }
        for _ in 0..count.unsigned_abs() {
            let key = cursor.text()?;
            let value = cursor.bytes()?;
            let text = std::str::from_utf8(value).map_err(|_| "a text is not valid UTF-8");
            match key {
                "avro.schema" => schema = Some(text?),
                "avro.codec" => codec = Some(text?),
                _ => {
                    if let (Ok(text), false) = (text, key.starts_with("avro.")) {
                        metadata.insert(key.to_owned(), text.to_owned());
                    }
                }
            }
        }
    }
}
