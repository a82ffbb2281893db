//! The digest by which a record is counted: in the heads of blocks, in the ledger and in the archive's manifests.

use xxhash_rust::xxh3::xxh3_128;

/// Returns the digest of a record: xxh3 with 128 bits over its Avro binary alone, not its key, place or schema.
///
/// It is part of the format of blocks and archives, and can't change. It is not keyed: it finds accidents, not forgeries.
pub fn digest(body: &[u8]) -> u128 {
    xxh3_128(body)
}
