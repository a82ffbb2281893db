//! Items as records of their target: fitted to the pinned schema, and encoded.
//!
//! A vendor adds fields when it likes. What the pin does not know is left out, counted and named, and the item goes on; an item
//! that lacks what the pin needs, or has it with another type, is refused with its reason.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use weir_crawl::infer::{Pin, PinError};
use weir_schema::{JsonEncoder, Schema};
use weir_types::limits::RECORD_BYTES_MAX;

use crate::function::outbox::Made;

/// Names of unknown fields that are kept, for a resource; what is beyond is counted.
const UNKNOWN_NAMED_MAX: usize = 100;
/// Encoders that are kept for the next items.
const ENCODERS_KEPT: usize = 16;

/// Fields that items had and the pin has not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unknown {
    /// By their paths, the items that had them.
    pub items: BTreeMap<String, u64>,
    /// All of them.
    pub fields: u64,
}

/// The form of one resource's items. Clones share it.
#[derive(Clone)]
pub(super) struct Form(Arc<Inner>);

struct Inner {
    resource: String,
    schema: Schema,
    pin: Pin,
    encoders: Mutex<Vec<JsonEncoder>>,
    unknown: Mutex<Unknown>,
}

/// What became of items.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub made: Vec<Made>,
    /// Items that do not fit: their index, themselves as JSON, and the reason.
    pub refused: Vec<(usize, Vec<u8>, String)>,
}

impl Form {
    /// The form of a resource's items that are of this schema.
    ///
    /// # Errors
    /// If it is none of a record.
    pub fn new(resource: &str, schema: Schema) -> Result<Self, PinError> {
        let pin = Pin::parse(schema.to_json())?;
        let (encoders, unknown) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { resource: resource.to_owned(), schema, pin, encoders, unknown })))
    }

    /// Returns the fields that items had since the start and the pin has not.
    pub fn unknown(&self) -> Unknown {
        self.0.unknown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Encodes items.
    pub fn encode(&self, items: Vec<Value>) -> Encoded {
        let inner = &*self.0;
        let kept = inner.encoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut encoder = kept.unwrap_or_else(|| JsonEncoder::new(&inner.schema));
        let mut encoded = Encoded { made: Vec::with_capacity(items.len()), refused: Vec::new() };
        let mut json = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let fitted = inner.pin.fit(item);
            if fitted.new_count > 0 {
                self.note(fitted.new, fitted.new_count);
            }
            json.clear();
            serde_json::to_writer(&mut json, &fitted.item).expect("JSON values serialise");
            let mut body = Vec::new();
            match encoder.encode(&json, &mut body) {
                Ok(()) if body.len() <= RECORD_BYTES_MAX => {
                    let (key, fingerprint) = (inner.resource.as_bytes().to_vec(), inner.schema.fingerprint());
                    encoded.made.push(Made { key, fingerprint, body });
                }
                Ok(()) => {
                    let reason = format!("it has {} bytes, and may have {RECORD_BYTES_MAX}", body.len());
                    encoded.refused.push((index, json.clone(), reason));
                }
                Err(error) => encoded.refused.push((index, json.clone(), error.to_string())),
            }
        }
        let mut encoders = inner.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        if encoders.len() < ENCODERS_KEPT {
            encoders.push(encoder);
        }
        encoded
    }

    #[cold]
    fn note(&self, paths: Vec<String>, count: u64) {
        let mut unknown = self.0.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.fields == 0 {
            tracing::warn!(
                resource = self.0.resource,
                fields = paths.join(", "),
                "the vendor sends fields that the pinned schema has not: they are left out"
            );
        }
        unknown.fields += count;
        for path in paths {
            if unknown.items.len() < UNKNOWN_NAMED_MAX || unknown.items.contains_key(&path) {
                *unknown.items.entry(path).or_default() += 1;
            }
        }
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
                {"name":"name","type":["null","string"],"default":null}
            ]}"#,
        );
        Form::new("device", schema.unwrap()).unwrap()
    }

    #[test]
    fn new_fields_are_named_and_counted_and_the_item_goes_on() {
        let form = form();
        let encoded =
            form.encode(vec![json!({ "id": 1, "colour": "red" }), json!({ "colour": 3, "size": 1, "id": 2 })]);
        assert_eq!((encoded.made.len(), encoded.refused.len()), (2, 0));
        assert!(encoded.made.iter().all(|made| made.key == b"device"));
        let unknown = form.unknown();
        assert_eq!(unknown.items, BTreeMap::from([("colour".to_owned(), 2), ("size".to_owned(), 1)]));
        assert_eq!(unknown.fields, 3);
    }

    #[test]
    fn an_item_that_does_not_fit_is_refused_by_itself() {
        let encoded = form().encode(vec![json!({ "id": "x" }), json!({ "id": 3 }), json!({ "name": "c" })]);
        assert_eq!(encoded.made.len(), 1);
        assert_eq!(encoded.refused.iter().map(|(index, ..)| *index).collect::<Vec<_>>(), [0, 2]);
        assert!(encoded.refused[0].2.contains("id") && encoded.refused[1].2.contains("missing"), "{encoded:?}");
    }

    #[test]
    fn names_of_unknown_fields_are_bounded() {
        let form = form();
        form.encode((0..UNKNOWN_NAMED_MAX + 7).map(|index| json!({ "id": 1, format!("field{index}"): 1 })).collect());
        let unknown = form.unknown();
        assert_eq!((unknown.items.len(), unknown.fields), (UNKNOWN_NAMED_MAX, UNKNOWN_NAMED_MAX as u64 + 7));
    }
}
