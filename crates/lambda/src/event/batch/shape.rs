//! The shapes in a handler's answer, read without copying what they hold.
//!
//! Keys that are not asked for are passed over. A key that comes twice is refused: one of its values would be lost.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::not_json::{NotJson, explain};
use super::BatchResponseError;

/// What [`kind`] says of null.
pub(super) const NULL: &str = "null";

/// An answer by its outermost shape.
pub(super) enum Answer<'a> {
    /// No bytes, or null.
    Nothing,
    /// A list.
    List(&'a RawValue),
    /// An object.
    Object(Fields<'a>),
    /// Anything else, in words.
    Other(&'static str),
}

/// The fields of an answer that mean something. Null is as good as absent for records.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) failures: Option<&'a RawValue>,
    pub(super) records: Option<&'a RawValue>,
    pub(super) outputs: Option<&'a RawValue>,
    known: bool,
    others: bool,
}

impl Fields<'_> {
    /// Whether the object is one that speaks of a batch, or empty.
    pub(super) fn is_known(&self) -> bool {
        self.known || !self.others
    }
}

/// An item of `batchItemFailures`.
pub(super) enum Item<'a> {
    /// With an identifier.
    Named(Cow<'a, str>),
    /// With one that is null, empty or no string.
    Bad,
    /// Without one.
    Missing,
}

/// What kind of JSON starts here, in words.
pub(super) fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        None => "nothing",
        Some(b'n') => NULL,
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a string",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        Some(_) => "a number",
    }
}

/// Reads the outermost shape; all of the text is checked to be JSON.
pub(super) fn answer(text: &str) -> Result<Answer<'_>, NotJson> {
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    if text.is_empty() {
        return Ok(Answer::Nothing);
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| explain(text, &error))?;
    Ok(match kind(raw.get()) {
        NULL => Answer::Nothing,
        "a list" => Answer::List(raw),
        "an object" => Answer::Object(serde_json::from_str(raw.get()).map_err(|error| explain(text, &error))?),
        other => Answer::Other(other),
    })
}

/// Reads `batchItemFailures`; `None` if it is no list.
pub(super) fn items(raw: &RawValue) -> Result<Option<Vec<Item<'_>>>, NotJson> {
    if kind(raw.get()) != "a list" {
        return Ok(None);
    }
    let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|error| explain(raw.get(), &error))?;
    items.into_iter().map(item).collect::<Result<Vec<_>, _>>().map(Some)
}

fn item(raw: &RawValue) -> Result<Item<'_>, NotJson> {
    if kind(raw.get()) != "an object" {
        return Ok(Item::Missing);
    }
    let fields = named(raw)?;
    let Some((_, id)) = fields.into_iter().find(|(key, _)| key == "itemIdentifier") else { return Ok(Item::Missing) };
    if kind(id.get()) != "a string" {
        return Ok(Item::Bad);
    }
    let Text(id) = serde_json::from_str(id.get()).map_err(|error| explain(id.get(), &error))?;
    Ok(if id.is_empty() { Item::Bad } else { Item::Named(id) })
}

/// Reads an object as its keys and raw values, in order; null has none.
pub(super) fn named(raw: &RawValue) -> Result<Vec<(Cow<'_, str>, &RawValue)>, NotJson> {
    match kind(raw.get()) {
        NULL => Ok(Vec::new()),
        _ => {
            let Named(fields) = serde_json::from_str(raw.get()).map_err(|error| explain(raw.get(), &error))?;
            Ok(fields)
        }
    }
}

/// Reads a list of at most `room` records; null has none.
pub(super) fn records<'a>(key: &str, raw: &'a RawValue, room: usize) -> Result<Vec<&'a RawValue>, BatchResponseError> {
    match kind(raw.get()) {
        NULL => return Ok(Vec::new()),
        "a list" => {}
        found => return Err(BatchResponseError::NotAList { key: key.to_owned(), found }),
    }
    let mut json = serde_json::Deserializer::from_str(raw.get());
    let records = AtMost { room }.deserialize(&mut json);
    // The text is known to be a list of JSON, so that only its length can be refused.
    records.map_err(|_| BatchResponseError::TooManyRecords)
}

/// A string that is copied only if it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Named<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Named<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor)
    }
}

struct NamedVisitor;

impl<'de> Visitor<'de> for NamedVisitor {
    type Value = Named<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            if fields.len() >= NAMED_MAX {
                return Err(A::Error::custom(format_args!("an object with more than {NAMED_MAX} keys")));
            }
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format_args!("the key `{key}` comes twice")));
            }
            fields.push((key, map.next_value()?));
        }
        Ok(Named(fields))
    }
}

/// Keys of an object of outputs, or of one failed item.
const NAMED_MAX: usize = 256;

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        let (mut failures, mut records, mut outputs) = (false, false, false);
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let (slot, seen) = match key.as_ref() {
                "batchItemFailures" => (&mut fields.failures, &mut failures),
                "records" => (&mut fields.records, &mut records),
                "outputs" => (&mut fields.outputs, &mut outputs),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    fields.others = true;
                    continue;
                }
            };
            if std::mem::replace(seen, true) {
                return Err(A::Error::custom(format_args!("the key `{key}` comes twice")));
            }
            *slot = map.next_value::<Option<&'de RawValue>>()?;
        }
        fields.known = failures || records || outputs;
        Ok(fields)
    }
}

/// Reads a list, and stops at its limit.
struct AtMost {
    room: usize,
}

impl<'de> DeserializeSeed<'de> for AtMost {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AtMost {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut records = Vec::new();
        while let Some(record) = seq.next_element()? {
            if records.len() == self.room {
                return Err(A::Error::custom("too many records"));
            }
            records.push(record);
        }
        Ok(records)
    }
}
