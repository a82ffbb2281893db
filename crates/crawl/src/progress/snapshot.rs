//! The progress as bytes, with its place.
//!
//! Form: `WPRG`, a byte for the version, eight bytes XXH3 (64 bits, little endian) of the rest, and the rest, JSON.

use xxhash_rust::xxh3::xxh3_64;

use super::fold::Progress;

const MAGIC: &[u8; 4] = b"WPRG";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = MAGIC.len() + 1 + 8;

/// A snapshot that can't be read: the events are read from the start of their stream then.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is something else, or cut off.
    #[error("it is no snapshot of a crawl's progress")]
    Form,
    /// A later weir wrote it.
    #[error("it has version {found}, and this weir reads {VERSION}")]
    Version {
        /// Its version.
        found: u8,
    },
    /// It is damaged.
    #[error("its checksum does not match: it is damaged")]
    Checksum,
    /// It does not parse.
    #[error("it does not parse")]
    Json(#[source] serde_json::Error),
}

impl Progress {
    /// Returns all that is known, and up to which place, as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let state = serde_json::to_vec(self).expect("texts and numbers serialise");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + state.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&xxh3_64(&state).to_le_bytes());
        bytes.extend_from_slice(&state);
        bytes
    }

    /// Reads what [`Progress::snapshot`] wrote.
    ///
    /// # Errors
    /// If the bytes are something else, of another version, or damaged.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (magic, rest) = bytes.split_at_checked(MAGIC.len()).ok_or(SnapshotError::Form)?;
        let (&version, rest) = rest.split_first().ok_or(SnapshotError::Form)?;
        if magic != MAGIC {
            return Err(SnapshotError::Form);
        }
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let (checksum, state) = rest.split_first_chunk::<8>().ok_or(SnapshotError::Form)?;
        if u64::from_le_bytes(*checksum) != xxh3_64(state) {
            return Err(SnapshotError::Checksum);
        }
        serde_json::from_slice(state).map_err(SnapshotError::Json)
    }
}
