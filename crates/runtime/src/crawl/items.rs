//! Items as records of their target: JSON objects fitted to the pinned schema, and encoded.
//!
//! A vendor adds fields when it likes. What the pin does not know is left out, counted and named, and the item goes on; an item
//! that lacks what the pin needs, or has it with another type, is refused with its reason. A field that the pin has as text
//! takes any value, as JSON.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use weir_schema::schema::{Kind, NodeId, Record};
use weir_schema::{JsonEncoder, Schema};
use weir_types::Fingerprint;
use weir_types::limits::RECORD_BYTES_MAX;

use crate::function::outbox::Made;

/// Names of unknown fields that are kept, for a resource; what is beyond is counted.
pub(super) const UNKNOWN_NAMED_MAX: usize = 100;
/// Encoders that are kept for the next item.
const ENCODERS_KEPT: usize = 16;

/// Fields that items had and the pin has not, by their paths, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unknown {
    pub fields: BTreeMap<String, u64>,
    /// Of paths beyond [`UNKNOWN_NAMED_MAX`].
    pub others: u64,
}

impl Unknown {
    fn note(&mut self, path: &str) {
        if let Some(count) = self.fields.get_mut(path) {
            *count += 1;
        } else if self.fields.len() < UNKNOWN_NAMED_MAX {
            self.fields.insert(path.to_owned(), 1);
        } else {
            self.others += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        for (path, count) in other.fields {
            if self.fields.len() < UNKNOWN_NAMED_MAX || self.fields.contains_key(&path) {
                *self.fields.entry(path).or_default() += count;
            } else {
                self.others += count;
            }
        }
        self.others += other.others;
    }
}

/// The form of one resource's items. Clones share it.
#[derive(Clone)]
pub(super) struct Form(Arc<Inner>);

struct Inner {
    resource: String,
    schema: Schema,
    encoders: Mutex<Vec<JsonEncoder>>,
    unknown: Mutex<Unknown>,
}

impl Form {
    /// The form of a resource's items that are of this schema, a record.
    pub fn new(resource: &str, schema: Schema) -> Self {
        let (encoders, unknown) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { resource: resource.to_owned(), schema, encoders, unknown }))
    }

    /// Returns the fields that items had since the start and the pin has not.
    pub fn unknown(&self) -> Unknown {
        self.0.unknown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Encodes items: a record of each that fits, and of the others their index and the reason.
    pub fn encode(&self, items: &[Value]) -> (Vec<Made>, Vec<(usize, String)>) {
        let inner = &*self.0;
        let kept = inner.encoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut encoder = kept.unwrap_or_else(|| JsonEncoder::new(&inner.schema));
        let (mut made, mut refused) = (Vec::with_capacity(items.len()), Vec::new());
        let (mut unknown, mut json) = (Unknown::default(), Vec::new());
        for (index, item) in items.iter().enumerate() {
            json.clear();
            let mut fitting = Fitting { schema: &inner.schema, out: &mut json, path: String::new(), unknown: &mut unknown };
            fitting.value(inner.schema.root_id(), item);
            let mut body = Vec::new();
            match encoder.encode(&json, &mut body) {
                Ok(()) if body.len() <= RECORD_BYTES_MAX => {
                    made.push(Made { key: inner.resource.as_bytes().to_vec(), fingerprint: self.fingerprint(), body });
                }
                Ok(()) => refused.push((index, format!("it has {} bytes, and may have {RECORD_BYTES_MAX}", body.len()))),
                Err(error) => refused.push((index, error.to_string())),
            }
        }
        let mut encoders = inner.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        if encoders.len() < ENCODERS_KEPT {
            encoders.push(encoder);
        }
        drop(encoders);
        if unknown != Unknown::default() {
            inner.unknown.lock().unwrap_or_else(PoisonError::into_inner).merge(unknown);
        }
        (made, refused)
    }

    fn fingerprint(&self) -> Fingerprint {
        self.0.schema.fingerprint()
    }
}

/// Writes a value as the JSON that the encoder takes of a schema. What does not fit is written as it is: the encoder says why.
struct Fitting<'a> {
    schema: &'a Schema,
    out: &'a mut Vec<u8>,
    path: String,
    unknown: &'a mut Unknown,
}

impl Fitting<'_> {
    fn value(&mut self, node: NodeId, value: &Value) {
        match (&self.schema.node(node).kind, value) {
            (Kind::Union(branches), _) => match self.branch(branches, value) {
                Some(branch) => self.value(branch, value),
                None => self.plain(value),
            },
            (Kind::Record(record), Value::Object(fields)) => self.record(record, fields),
            (Kind::Array(item), Value::Array(items)) => {
                self.out.push(b'[');
                for (index, value) in items.iter().enumerate() {
                    self.comma(index);
                    self.value(*item, value);
                }
                self.out.push(b']');
            }
            (Kind::Map(item), Value::Object(fields)) => {
                self.out.push(b'{');
                for (index, (key, value)) in fields.iter().enumerate() {
                    self.comma(index);
                    self.key(key);
                    self.value(*item, value);
                }
                self.out.push(b'}');
            }
            (Kind::String, Value::String(_) | Value::Null) => self.plain(value),
            (Kind::String, other) => self.plain(&Value::String(other.to_string())),
            _ => self.plain(value),
        }
    }

    /// Finds the branch of a union that a value belongs to; none where the value needs no fitting, or fits none.
    fn branch(&self, branches: &[NodeId], value: &Value) -> Option<NodeId> {
        let of = |wanted: fn(&Kind) -> bool| branches.iter().copied().find(|node| wanted(&self.schema.node(*node).kind));
        let text = |kind: &Kind| matches!(kind, Kind::String);
        match value {
            Value::Null => None,
            Value::Object(_) => of(|kind| matches!(kind, Kind::Record(_) | Kind::Map(_))).or_else(|| of(text)),
            Value::Array(_) => of(|kind| matches!(kind, Kind::Array(_))).or_else(|| of(text)),
            Value::Bool(_) => of(|kind| matches!(kind, Kind::Boolean)).or_else(|| of(text)),
            Value::Number(_) => {
                let number = |kind: &Kind| !matches!(kind, Kind::Null | Kind::String | Kind::Boolean | Kind::Record(_));
                // Its own branch, if there is one: the encoder finds which.
                if of(number).is_some() { None } else { of(text) }
            }
            Value::String(_) => None,
        }
    }

    fn record(&mut self, record: &Record, fields: &Map<String, Value>) {
        self.out.push(b'{');
        let mut written = 0;
        for field in &record.fields {
            let names = std::iter::once(&field.name).chain(&field.aliases);
            let Some(value) = names.into_iter().find_map(|name| fields.get(name)) else { continue };
            self.comma(written);
            self.key(&field.name);
            let length = self.path.len();
            self.enter(&field.name);
            self.value(field.node, value);
            self.path.truncate(length);
            written += 1;
        }
        self.out.push(b'}');
        if written < fields.len() {
            self.note_unknown(record, fields);
        }
    }

    #[cold]
    fn note_unknown(&mut self, record: &Record, fields: &Map<String, Value>) {
        for name in fields.keys() {
            let known = |field: &weir_schema::schema::Field| field.name == *name || field.aliases.contains(name);
            if !record.fields.iter().any(known) {
                let length = self.path.len();
                self.enter(name);
                self.unknown.note(&self.path);
                self.path.truncate(length);
            }
        }
    }

    fn enter(&mut self, name: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.out.push(b',');
        }
    }

    fn key(&mut self, key: &str) {
        serde_json::to_writer(&mut *self.out, key).expect("texts serialise");
        self.out.push(b':');
    }

    fn plain(&mut self, value: &Value) {
        serde_json::to_writer(&mut *self.out, value).expect("JSON values serialise");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form() -> Form {
        let schema = Schema::parse(
            r#"{"type":"record","name":"device","fields":[
                {"name":"id","type":"long"},
                {"name":"name","type":["null","string"],"default":null,"aliases":["title"]},
                {"name":"tags","type":["null",{"type":"array","items":"string"}],"default":null},
                {"name":"at","type":["null",{"type":"record","name":"at","fields":[{"name":"x","type":"double"}]}],"default":null}
            ]}"#,
        );
        Form::new("device", schema.unwrap())
    }

    #[test]
    fn new_fields_are_named_and_counted_and_the_item_goes_on() {
        let form = form();
        let items = [
            json!({ "id": 1, "title": "a", "colour": "red", "at": { "x": 1.5, "z": 0 } }),
            json!({ "id": 2, "colour": "blue", "tags": [1, "b", { "c": true }], "name": { "en": "b" } }),
        ];
        let (made, refused) = form.encode(&items);
        assert_eq!((made.len(), refused), (2, Vec::new()));
        assert!(made.iter().all(|made| made.key == b"device"));
        let unknown = form.unknown();
        assert_eq!(unknown.fields, BTreeMap::from([("at.z".to_owned(), 1), ("colour".to_owned(), 2)]));
    }

    #[test]
    fn an_item_that_does_not_fit_is_refused_by_itself() {
        let (made, refused) = form().encode(&[json!({ "id": "x" }), json!({ "id": 3 }), json!({ "name": "c" })]);
        assert_eq!(made.len(), 1);
        assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2]);
        assert!(refused[0].1.contains("id") && refused[1].1.contains("missing"), "{refused:?}");
    }

    #[test]
    fn names_of_unknown_fields_are_bounded() {
        let form = form();
        let item = |index: usize| json!({ "id": 1, format!("field{index}"): 1 });
        form.encode(&(0..UNKNOWN_NAMED_MAX + 7).map(item).collect::<Vec<_>>());
        let unknown = form.unknown();
        assert_eq!((unknown.fields.len(), unknown.others), (UNKNOWN_NAMED_MAX, 7));
    }
}
