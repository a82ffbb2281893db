//! A stream with its schema, as the door and the pipelines use it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use weir_schema::{Extractor, Resolver, Schema};
use weir_stream::Stream;
use weir_types::Fingerprint;

/// Schemas whose readability is remembered per stream.
const REMEMBERED_MAX: usize = 256;

/// What came to a stream since the node was started, through its door or from weir itself.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub received: AtomicU64,
    pub stored: AtomicU64,
    pub repeated: AtomicU64,
    pub refused: AtomicU64,
    pub dead_lettered: AtomicU64,
    /// Records of bodies that were not taken, whose sender was told so.
    pub failed: AtomicU64,
}

impl Counters {
    /// Counts records that weir itself has brought: what functions make, dead letters, what is redriven.
    pub fn carried(&self, stored: u64, repeated: u64) {
        // First: a record is never answered for before it is received.
        self.received.fetch_add(stored + repeated, Ordering::Release);
        self.stored.fetch_add(stored, Ordering::Release);
        self.repeated.fetch_add(repeated, Ordering::Release);
    }
}

/// A stream that is open, with what the plan says of its records.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub stream: Arc<Stream>,
    /// The schema that records are checked against and read as.
    pub schema: Schema,
    pub key: Option<String>,
    pub null_text: Option<String>,
    pub counters: Counters,
    readable: RwLock<Vec<(Fingerprint, bool)>>,
}

impl OpenStream {
    pub fn new(stream: Arc<Stream>, schema: Schema, key: Option<String>, null_text: Option<String>) -> Self {
        Self { stream, schema, key, null_text, counters: Counters::default(), readable: RwLock::default() }
    }

    /// Returns what finds the partition key in a record of `schema`; none where records are spread, or the schema lacks it.
    pub fn key_of(&self, schema: &Schema) -> Option<Extractor> {
        let key = self.key.as_deref()?;
        // A writer of an older schema may call the field by another name.
        let aliases = self.schema.field_called(key).into_iter().flat_map(|field| &field.aliases);
        std::iter::once(key).chain(aliases.map(String::as_str)).find_map(|name| Extractor::new(schema, &[name]).ok())
    }

    /// Says whether records of `writer` can be read as the stream's schema.
    pub fn reads(&self, writer: &Schema) -> bool {
        let fingerprint = writer.fingerprint();
        if fingerprint == self.schema.fingerprint() {
            return true;
        }
        let known = self.readable.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, readable)) = known.iter().find(|(known, _)| *known == fingerprint) {
            return *readable;
        }
        drop(known);
        let readable = Resolver::new(writer, &self.schema).is_ok();
        let mut known = self.readable.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < REMEMBERED_MAX {
            known.push((fingerprint, readable));
        }
        readable
    }
}
