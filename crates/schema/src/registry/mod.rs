//! The schema registry: subjects, their immutable versions, and schemas by id and fingerprint.
//!
//! A deterministic machine over its log. Invariants: an id names one text for ever; a version of a subject is never
//! changed, and its number never used again; a fingerprint stands for one canonical form. Deleting is soft: a deleted
//! version is no longer listed nor checked against, and data of its schema stay readable.

mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use weir_machine::{At, Machine, RestoreError};
use weir_types::{Fingerprint, SubjectName};

use crate::compatibility::check;
use crate::limits::{SCHEMAS_MAX, VERSIONS_MAX};
use crate::{Compatibility, Incompatibility, ParseError, Schema};

/// The number by which the whole registry knows a schema's text. The first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaId(pub u32);

impl std::fmt::Display for SchemaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What the registry is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Makes a schema the subject's next version, if it is compatible with those before. A deleted text that comes again
    /// becomes a new version.
    Register {
        /// Whose version.
        subject: SubjectName,
        /// The schema's JSON.
        schema: String,
    },
    /// Sets what new versions are checked for.
    SetCompatibility {
        /// Of one subject, or of all that have no level of their own.
        subject: Option<SubjectName>,
        /// The level; none takes a subject's own level away.
        level: Option<Compatibility>,
    },
    /// Deletes one version, softly.
    DeleteVersion {
        /// Whose version.
        subject: SubjectName,
        /// Which one.
        version: u32,
    },
    /// Deletes all versions of a subject, softly.
    DeleteSubject {
        /// Which subject.
        subject: SubjectName,
    },
}

/// What came of a [`Command`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The subject has a new version.
    Registered(Registered),
    /// The subject had this very text already.
    Unchanged(Registered),
    /// The level is set.
    CompatibilitySet,
    /// These versions were there, and are deleted now.
    Deleted {
        /// Their numbers.
        versions: Vec<u32>,
    },
    /// The text is no schema.
    Invalid {
        /// Why.
        error: ParseError,
    },
    /// The schema breaks the subject's level of compatibility.
    Incompatible {
        /// The level.
        level: Compatibility,
        /// What breaks it.
        reasons: Vec<Incompatibility>,
    },
    /// There is no such subject.
    UnknownSubject,
    /// The subject has no such version.
    UnknownVersion,
    /// A limit or a collision of fingerprints forbids it.
    Refused {
        /// Why, and what to do.
        reason: String,
    },
}

/// Where a schema is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The schema's id.
    pub id: SchemaId,
    /// The subject's version, from 1.
    pub version: u32,
    /// The schema's fingerprint.
    pub fingerprint: Fingerprint,
}

/// A subject's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The number, from 1.
    pub version: u32,
    /// The schema's id.
    pub id: SchemaId,
    /// The schema.
    pub schema: Schema,
}

/// The registry's state.
#[derive(Debug, Default)]
pub struct Registry {
    /// By id, from 1.
    schemas: Vec<Schema>,
    subjects: BTreeMap<SubjectName, Subject>,
    compatibility: Compatibility,
    ids: HashMap<String, SchemaId>,
    /// The latest schema of each canonical form: logical types, defaults and documentation may differ among them.
    by_fingerprint: HashMap<Fingerprint, SchemaId>,
    by_md5: HashMap<[u8; 16], SchemaId>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Subject {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compatibility: Option<Compatibility>,
    versions: Vec<Slot>,
}

/// Version `index + 1` of its subject.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Slot {
    id: SchemaId,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl Subject {
    fn live(&self) -> impl DoubleEndedIterator<Item = (u32, SchemaId)> {
        let slots = self.versions.iter().enumerate().filter(|(_, slot)| !slot.deleted);
        slots.map(|(index, slot)| (index as u32 + 1, slot.id))
    }
}

impl Registry {
    /// Returns the schema that a fingerprint stands for, deleted or not.
    pub fn by_fingerprint(&self, fingerprint: Fingerprint) -> Option<Schema> {
        self.by_id(*self.by_fingerprint.get(&fingerprint)?)
    }

    /// Returns the schema of an id, deleted or not.
    pub fn by_id(&self, id: SchemaId) -> Option<Schema> {
        self.schemas.get((id.0 as usize).checked_sub(1)?).cloned()
    }

    /// Returns the schema whose canonical form has this MD5, deleted or not.
    pub fn by_md5(&self, md5: &[u8; 16]) -> Option<Schema> {
        self.by_id(*self.by_md5.get(md5)?)
    }

    /// Returns the id of a schema's text.
    pub fn id(&self, schema: &Schema) -> Option<SchemaId> {
        self.ids.get(&minified(schema.to_json())).copied()
    }

    /// Returns the subjects that have a version, in order.
    pub fn subjects(&self) -> Vec<SubjectName> {
        let live = self.subjects.iter().filter(|(_, subject)| subject.live().next().is_some());
        live.map(|(name, _)| name.clone()).collect()
    }

    /// Returns a subject's versions that are not deleted, in order.
    pub fn versions(&self, subject: &SubjectName) -> Vec<Version> {
        let live = self.subjects.get(subject).into_iter().flat_map(Subject::live);
        live.filter_map(|(version, id)| Some(Version { version, id, schema: self.by_id(id)? })).collect()
    }

    /// Returns one version of a subject, unless it is deleted.
    pub fn version(&self, subject: &SubjectName, version: u32) -> Option<Version> {
        let (_, id) = self.subjects.get(subject)?.live().find(|(number, _)| *number == version)?;
        Some(Version { version, id, schema: self.by_id(id)? })
    }

    /// Returns a subject's last version.
    pub fn latest(&self, subject: &SubjectName) -> Option<Version> {
        let (version, id) = self.subjects.get(subject)?.live().next_back()?;
        Some(Version { version, id, schema: self.by_id(id)? })
    }

    /// Returns the level that a subject's new versions are checked for.
    pub fn compatibility(&self, subject: &SubjectName) -> Compatibility {
        self.subjects.get(subject).and_then(|subject| subject.compatibility).unwrap_or(self.compatibility)
    }

    /// Returns the level of the subjects that have none of their own.
    pub fn default_compatibility(&self) -> Compatibility {
        self.compatibility
    }

    /// Returns what would keep a schema from becoming the subject's next version.
    pub fn check(&self, subject: &SubjectName, schema: &Schema) -> Vec<Incompatibility> {
        let versions: Vec<Schema> = self.versions(subject).into_iter().map(|version| version.schema).collect();
        check(schema, &versions, self.compatibility(subject))
    }

    fn register(&mut self, name: SubjectName, text: &str) -> Outcome {
        let key = minified(text);
        let known = self.ids.get(&key).copied();
        let schema = match known.and_then(|id| self.by_id(id)) {
            Some(schema) => schema,
            None => match Schema::parse(text) {
                Ok(schema) => schema,
                Err(error) => return Outcome::Invalid { error },
            },
        };
        let fingerprint = schema.fingerprint();
        let subject = self.subjects.get(&name);
        let same = subject.and_then(|subject| subject.live().find(|(_, id)| Some(*id) == known));
        if let Some((version, id)) = same {
            return Outcome::Unchanged(Registered { id, version, fingerprint });
        }
        if let Some(reason) = self.refusal(&schema, subject) {
            return Outcome::Refused { reason };
        }
        let reasons = self.check(&name, &schema);
        if !reasons.is_empty() {
            return Outcome::Incompatible { level: self.compatibility(&name), reasons };
        }
        let id = known.unwrap_or_else(|| self.add(key, schema));
        let subject = self.subjects.entry(name).or_default();
        subject.versions.push(Slot { id, deleted: false });
        Outcome::Registered(Registered { id, version: subject.versions.len() as u32, fingerprint })
    }

    fn refusal(&self, schema: &Schema, subject: Option<&Subject>) -> Option<String> {
        if self.schemas.len() >= SCHEMAS_MAX {
            return Some(format!("the registry holds {SCHEMAS_MAX} schemas, and no more are allowed"));
        }
        if subject.is_some_and(|subject| subject.versions.len() >= VERSIONS_MAX) {
            return Some(format!(
                "the subject has had {VERSIONS_MAX} versions, and no more are allowed: begin a new subject"
            ));
        }
        let twin = self.by_fingerprint(schema.fingerprint())?;
        (twin.canonical_form() != schema.canonical_form()).then(|| {
            format!("another schema has the fingerprint {} already: rename the record or a field", schema.fingerprint())
        })
    }

    fn add(&mut self, key: String, schema: Schema) -> SchemaId {
        let id = SchemaId(self.schemas.len() as u32 + 1);
        self.ids.insert(key, id);
        self.by_fingerprint.insert(schema.fingerprint(), id);
        self.by_md5.insert(schema.md5(), id);
        self.schemas.push(schema);
        id
    }

    fn delete(&mut self, name: &SubjectName, which: Option<u32>) -> Outcome {
        let Some(subject) = self.subjects.get_mut(name) else { return Outcome::UnknownSubject };
        let mut versions = Vec::new();
        for (slot, version) in subject.versions.iter_mut().zip(1..) {
            if !slot.deleted && which.is_none_or(|which| which == version) {
                slot.deleted = true;
                versions.push(version);
            }
        }
        match (versions.is_empty(), which) {
            (true, Some(_)) => Outcome::UnknownVersion,
            (true, None) => Outcome::UnknownSubject,
            (false, _) => Outcome::Deleted { versions },
        }
    }
}

impl Machine for Registry {
    const NAME: &'static str = "schemas";
    type Command = Command;
    type Outcome = Outcome;

    fn apply(&mut self, _: At, command: Command) -> Outcome {
        match command {
            Command::Register { subject, schema } => self.register(subject, &schema),
            Command::SetCompatibility { subject: None, level } => {
                self.compatibility = level.unwrap_or_default();
                Outcome::CompatibilitySet
            }
            Command::SetCompatibility { subject: Some(name), level } => {
                self.subjects.entry(name).or_default().compatibility = level;
                Outcome::CompatibilitySet
            }
            Command::DeleteVersion { subject, version } => self.delete(&subject, Some(version)),
            Command::DeleteSubject { subject } => self.delete(&subject, None),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        snapshot::write(self)
    }

    fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        snapshot::read(bytes)
    }
}

/// A JSON text without the white space between its tokens: what makes two texts the same schema.
fn minified(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    let mut escaped = false;
    for letter in text.chars() {
        if inside {
            inside = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if letter.is_ascii_whitespace() {
            continue;
        } else {
            inside = letter == '"';
        }
        out.push(letter);
    }
    out
}
