//! A message as bytes: what a queue's log keeps of it, and what never changes as long as it lives.
//!
//! ```text
//! flags | [id 16] | [deduplication key 16] | [group] | body | attributes | [trace] | [deduplication] | headers | [source]
//! ```
//!
//! What the index needs (id, key, group) stands in front, so that replay does not look at the rest.

use bytes::Bytes;
use weir_types::QueueName;

use crate::codec::{Malformed, Reader, put_bytes, put_u64};
use crate::message::{Attribute, AttributeValue, Message};

const HAS_ID: u8 = 1;
const HAS_KEY: u8 = 2;
const HAS_GROUP: u8 = 4;
const HAS_TRACE: u8 = 8;
const HAS_DEDUPLICATION: u8 = 16;
const HAS_SOURCE: u8 = 32;

const TEXT: u8 = 0;
const BINARY: u8 = 1;

/// Bodies from this size on share the block that they were read with; smaller ones are copied, so that one that is kept
/// does not keep a whole block.
const SHARE_BYTES: usize = 16 << 10;

/// By which a FIFO queue recognises a repeat: the first half of a SHA-256.
pub(crate) type Key = [u8; 16];

/// What the index takes from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// The id, if it is not made from the queue and the number.
    pub id: Option<u128>,
    pub key: Option<Key>,
    pub group: Option<&'a str>,
}

/// A record, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub message: Message,
    pub source: Option<QueueName>,
}

/// Writes a message's record.
pub(crate) fn encode(message: &Message, id: Option<u128>, key: Option<Key>, source: Option<&QueueName>) -> Vec<u8> {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags = flag(id.is_some(), HAS_ID)
        | flag(key.is_some(), HAS_KEY)
        | flag(message.group.is_some(), HAS_GROUP)
        | flag(message.trace_header.is_some(), HAS_TRACE)
        | flag(message.deduplication.is_some(), HAS_DEDUPLICATION)
        | flag(source.is_some(), HAS_SOURCE);
    let mut out = Vec::with_capacity(message.body.len() + 64);
    out.push(flags);
    if let Some(id) = id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    if let Some(key) = key {
        out.extend_from_slice(&key);
    }
    if let Some(group) = &message.group {
        put_bytes(&mut out, group.as_bytes());
    }
    put_bytes(&mut out, &message.body);
    put_u64(&mut out, message.attributes.len() as u64);
    for Attribute { name, data_type, value } in &message.attributes {
        put_bytes(&mut out, name.as_bytes());
        put_bytes(&mut out, data_type.as_bytes());
        let (kind, bytes) = match value {
            AttributeValue::Text(text) => (TEXT, text.as_bytes()),
            AttributeValue::Binary(bytes) => (BINARY, &bytes[..]),
        };
        out.push(kind);
        put_bytes(&mut out, bytes);
    }
    for text in [&message.trace_header, &message.deduplication].into_iter().flatten() {
        put_bytes(&mut out, text.as_bytes());
    }
    put_u64(&mut out, message.headers.len() as u64);
    for (name, value) in &message.headers {
        put_bytes(&mut out, name.as_bytes());
        put_bytes(&mut out, value.as_bytes());
    }
    if let Some(source) = source {
        put_bytes(&mut out, source.as_str().as_bytes());
    }
    out
}

fn read_head<'a>(reader: &mut Reader<'a>) -> Result<(u8, Head<'a>), Malformed> {
    let flags = reader.u8()?;
    let has = |bit: u8| flags & bit != 0;
    let id = if has(HAS_ID) { Some(u128::from_be_bytes(reader.array()?)) } else { None };
    let key = if has(HAS_KEY) { Some(reader.array()?) } else { None };
    let group = if has(HAS_GROUP) { Some(reader.text()?) } else { None };
    Ok((flags, Head { id, key, group }))
}

/// Reads what the index takes.
pub(crate) fn head(record: &[u8]) -> Result<Head<'_>, Malformed> {
    read_head(&mut Reader::new(record)).map(|(_, head)| head)
}

/// Reads a whole record.
pub(crate) fn decode(record: &Bytes) -> Result<Content, Malformed> {
    let mut reader = Reader::new(record);
    let (flags, head) = read_head(&mut reader)?;
    let has = |bit: u8| flags & bit != 0;
    let body = reader.bytes()?;
    let body = if body.len() < SHARE_BYTES { Bytes::copy_from_slice(body) } else { record.slice_ref(body) };
    let mut attributes = Vec::new();
    for _ in 0..reader.u64()? {
        let (name, data_type) = (reader.text()?.to_owned(), reader.text()?.to_owned());
        let value = match reader.u8()? {
            TEXT => AttributeValue::Text(reader.text()?.to_owned()),
            BINARY => AttributeValue::Binary(reader.bytes()?.to_vec()),
            _ => return Err(Malformed("an attribute has an unknown kind")),
        };
        attributes.push(Attribute { name, data_type, value });
    }
    let trace_header = if has(HAS_TRACE) { Some(reader.text()?.to_owned()) } else { None };
    let deduplication = if has(HAS_DEDUPLICATION) { Some(reader.text()?.to_owned()) } else { None };
    let mut headers = Vec::new();
    for _ in 0..reader.u64()? {
        headers.push((reader.text()?.to_owned(), reader.text()?.to_owned()));
    }
    let source = if has(HAS_SOURCE) {
        Some(reader.text()?.parse().map_err(|_| Malformed("a source is no queue's name"))?)
    } else {
        None
    };
    let group = head.group.map(str::to_owned);
    let message = Message { body, attributes, trace_header, group, deduplication, delay: None, headers };
    Ok(Content { message, source })
}

/// Returns a message's size as SQS counts it: body, and names, types and values of attributes.
pub(crate) fn size(message: &Message) -> usize {
    let attributes = message.attributes.iter().map(|attribute| {
        let value = match &attribute.value {
            AttributeValue::Text(text) => text.len(),
            AttributeValue::Binary(bytes) => bytes.len(),
        };
        attribute.name.len() + attribute.data_type.len() + value
    });
    message.body.len() + attributes.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_message_survives_its_record(
            body: Vec<u8>,
            texts in proptest::collection::vec(".*", 0..4),
            id: Option<u128>,
            key: Option<Key>,
            group: Option<String>,
            trace: Option<String>,
            sourced: bool,
        ) {
            let mut message = Message::new(body);
            for text in &texts {
                let value = if text.len() % 2 == 0 {
                    AttributeValue::Text(text.clone())
                } else {
                    AttributeValue::Binary(text.clone().into_bytes())
                };
                message.attributes.push(Attribute { name: text.clone(), data_type: "String".to_owned(), value });
                message.headers.push((text.clone(), "x".to_owned()));
            }
            message.deduplication.clone_from(&trace);
            message.trace_header = trace;
            message.group.clone_from(&group);
            let source: Option<QueueName> = sourced.then(|| "orders".parse().unwrap());
            let record = Bytes::from(encode(&message, id, key, source.as_ref()));
            prop_assert_eq!(head(&record), Ok(Head { id, key, group: group.as_deref() }));
            prop_assert_eq!(decode(&record), Ok(Content { message, source }));
            prop_assert!(decode(&record.slice(..record.len() - 1)).is_err());
        }
    }
}
