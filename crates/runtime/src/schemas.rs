//! The node's schemas: the registry machine, as look-ups and with clear refusals.

use weir_machine::{Owner, SubmitError};
use weir_schema::registry::{Command, Outcome};
use weir_schema::{Compatibility, Lookup, Registry, Schema, SchemaId};
use weir_types::{Fingerprint, SubjectName};

/// The registry as the rest of the node sees it. Clones share it.
#[derive(Clone, Debug)]
pub struct Catalog {
    owner: Owner<Registry>,
}

impl Catalog {
    pub(crate) fn new(owner: Owner<Registry>) -> Self {
        Self { owner }
    }

    /// Registers a schema as a subject's next version; the same schema again changes nothing.
    ///
    /// # Errors
    /// If the command could not be stored. A refusal is an outcome.
    pub async fn register(&self, subject: SubjectName, schema: String) -> Result<Outcome, SubmitError> {
        self.owner.submit(Command::Register { subject, schema }).await
    }

    /// Sets how a subject's versions must agree, or, without a subject, those of all that say nothing of their own.
    ///
    /// # Errors
    /// If the command could not be stored.
    pub async fn set_compatibility(
        &self,
        subject: Option<SubjectName>,
        level: Compatibility,
    ) -> Result<Outcome, SubmitError> {
        self.owner.submit(Command::SetCompatibility { subject, level: Some(level) }).await
    }

    /// Reads the registry.
    pub fn read<T>(&self, look: impl FnOnce(&Registry) -> T) -> T {
        self.owner.read(look)
    }
}

impl Lookup for Catalog {
    fn by_fingerprint(&self, fingerprint: Fingerprint) -> Option<Schema> {
        self.owner.read(|registry| registry.by_fingerprint(fingerprint))
    }

    fn by_id(&self, id: SchemaId) -> Option<Schema> {
        self.owner.read(|registry| registry.by_id(id))
    }

    fn by_md5(&self, md5: &[u8; 16]) -> Option<Schema> {
        self.owner.read(|registry| registry.by_md5(md5))
    }
}
