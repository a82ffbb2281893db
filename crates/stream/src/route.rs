//! Which shard a record goes to.

use weir_types::ShardId;
use xxhash_rust::xxh3::xxh3_64;

/// How a record finds its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// By the hash of its partition key: records with one key are in one shard, in order.
    Key(&'a [u8]),
    /// Wherever the batch goes: batches are spread evenly.
    Spread,
}

/// Maps a hash evenly onto the shards, each a contiguous range of hashes. Stable: the mapping of a number of shards never
/// changes between versions.
pub(crate) fn shard_of_hash(hash: u64, shards: u32) -> ShardId {
    ShardId(((u128::from(hash) * u128::from(shards)) >> 64) as u32)
}

/// Maps a partition key to its shard by XXH3 (64 bits, seed 0).
pub(crate) fn shard_of_key(key: &[u8], shards: u32) -> ShardId {
    shard_of_hash(xxh3_64(key), shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_evenly_and_never_move() {
        let mut counts = [0; 7];
        for key in 0u32..7000 {
            counts[shard_of_key(&key.to_le_bytes(), 7).0 as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_eq!(shard_of_key(b"UA", 16), ShardId(SHARD_OF_UA));
        assert_eq!(shard_of_hash(u64::MAX, 1024), ShardId(1023));
    }

    /// Written down once: a change would tear every key's order.
    const SHARD_OF_UA: u32 = 9;
}
