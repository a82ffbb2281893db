//! The registry's state as JSON: version 1 holds the schemas' texts in the order of their ids, and the subjects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_machine::{Machine, RestoreError};
use weir_types::SubjectName;

use super::{Registry, Subject, minified};
use crate::{Compatibility, Schema};

const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    compatibility: Compatibility,
    schemas: Vec<&'a str>,
    subjects: &'a BTreeMap<SubjectName, Subject>,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    compatibility: Compatibility,
    schemas: Vec<String>,
    subjects: BTreeMap<SubjectName, Subject>,
}

pub(super) fn write(registry: &Registry) -> Vec<u8> {
    let written = Written {
        version: VERSION,
        compatibility: registry.compatibility,
        schemas: registry.schemas.iter().map(Schema::to_json).collect(),
        subjects: &registry.subjects,
    };
    serde_json::to_vec(&written).expect("texts and numbers always are JSON")
}

pub(super) fn read(bytes: &[u8]) -> Result<Registry, RestoreError> {
    let error = |reason: String| RestoreError { machine: Registry::NAME, reason };
    let read: Read = serde_json::from_slice(bytes).map_err(|source| error(source.to_string()))?;
    if read.version != VERSION {
        return Err(error(format!("its version is {}, and {VERSION} is known here", read.version)));
    }
    let mut registry = Registry { compatibility: read.compatibility, subjects: read.subjects, ..Registry::default() };
    for (text, id) in read.schemas.iter().zip(1..) {
        let schema = Schema::parse(text).map_err(|source| error(format!("schema {id}: {source}")))?;
        registry.add(minified(text), schema);
    }
    let slots = registry.subjects.values().flat_map(|subject| &subject.versions);
    if let Some(slot) = slots.into_iter().find(|slot| registry.by_id(slot.id).is_none()) {
        return Err(error(format!("a version has the schema {}, which is missing", slot.id)));
    }
    Ok(registry)
}
