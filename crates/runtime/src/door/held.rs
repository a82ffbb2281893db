//! Records that wait for the end of their body: it is stored whole, or not at all.
//!
//! Bounded: beyond [`HELD_BYTES_MAX`] nothing is held any more, and whoever wants the records reads them again.

use weir_schema::Schema;

/// Records of one body that are held, in bytes.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a record takes beside its bytes.
const RECORD_BYTES: usize = 32;

/// Records of one body, in their order.
#[derive(Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    /// Line, schema, and where the record ends.
    records: Vec<(u64, u32, usize)>,
    /// The schemas that records have: one, mostly.
    schemas: Vec<Schema>,
    overflown: bool,
}

impl Held {
    /// Adds a record.
    pub(super) fn push(&mut self, line: u64, schema: &Schema, record: &[u8]) {
        if self.overflown {
            return;
        }
        if self.bytes.len() + record.len() + self.records.len() * RECORD_BYTES > HELD_BYTES_MAX {
            *self = Self { overflown: true, ..Self::default() };
            return;
        }
        // The last one is the likeliest.
        let known = self.schemas.iter().rposition(|known| known.fingerprint() == schema.fingerprint());
        let known = known.unwrap_or_else(|| {
            self.schemas.push(schema.clone());
            self.schemas.len() - 1
        });
        self.bytes.extend_from_slice(record);
        self.records.push((line, known as u32, self.bytes.len()));
    }

    /// Tells whether all records are here.
    pub fn is_whole(&self) -> bool {
        !self.overflown
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (u64, &Schema, &[u8])> {
        let starts = std::iter::once(0).chain(self.records.iter().map(|(.., end)| *end));
        starts
            .zip(&self.records)
            .map(|(start, (line, schema, end))| (*line, &self.schemas[*schema as usize], &self.bytes[start..*end]))
    }
}
