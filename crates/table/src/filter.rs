//! Filters: which ids a file surely does not hold.
//!
//! A split-block bloom filter in Parquet's own format over the lower half of each id, written into the body of the
//! Parquet file, behind the last row group; two entries of the footer's key-value metadata say where. Other readers
//! never look there.

use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;

/// Footer entry: where the filter begins, in bytes from the file's start.
pub(crate) const OFFSET_KEY: &str = "weir.ids.offset";
/// Footer entry: how many bytes it has.
pub(crate) const LENGTH_KEY: &str = "weir.ids.length";
/// Footer entry: the columns of the ids and the fingerprint of the key that they were hashed under. A filter under
/// another key says nothing.
pub(crate) const SCHEME_KEY: &str = "weir.ids.scheme";

/// Footer entry: the sum of the ids modulo 2^128, as 32 hexadecimal digits.
pub(crate) const SUM_KEY: &str = "weir.ids.sum";

/// Bits of a filter per id: -8 / ln(1 - p^(1/8)), where p = 10^-5 is how often it may fail to exclude one. A failure
/// costs reading the id columns of a file. Source: the Parquet format's "Bloom Filter", sizing.
const BITS_PER_ID: f64 = 29.6;
const BLOCK_BYTES: usize = 32;
const BLOCK_BITS: f64 = 256.0;

/// The largest filter that is read: what Parquet's filters can have.
pub(crate) const FILTER_BYTES_MAX: u64 = 128 << 20;

/// A filter over ids.
pub(crate) struct Filter {
    bits: Sbbf,
}

impl Filter {
    /// An empty filter for so many ids.
    pub(crate) fn for_rows(rows: u64) -> Self {
        // Not `Sbbf::new_with_ndv_fpp`: it rounds up to a power of two, which only folding needs.
        let bits = (rows.max(1) as f64 * BITS_PER_ID).ceil();
        let blocks = (bits / BLOCK_BITS).ceil().min(FILTER_BYTES_MAX as f64 / BLOCK_BYTES as f64) as usize;
        Self { bits: Sbbf::new(&vec![0; blocks * BLOCK_BYTES]) }
    }

    pub(crate) fn insert(&mut self, id: u128) {
        self.bits.insert(&lower(id));
    }

    /// Whether the id may be there.
    pub(crate) fn may_hold(&self, id: u128) -> bool {
        self.bits.check(&lower(id))
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, ParquetError> {
        let mut bytes = Vec::with_capacity(self.memory() + 64);
        self.bits.write(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, ParquetError> {
        Ok(Self { bits: Sbbf::from_bytes(bytes)? })
    }

    /// Bytes that it takes in memory.
    pub(crate) fn memory(&self) -> usize {
        self.bits.num_blocks() * BLOCK_BYTES
    }
}

fn lower(id: u128) -> i64 {
    id as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(n: u128) -> u128 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    #[test]
    fn holds_what_was_inserted_and_little_else_after_a_round_trip() {
        let mut filter = Filter::for_rows(10_000);
        for n in 0..10_000 {
            filter.insert(spread(n));
        }
        let filter = Filter::from_bytes(&filter.to_bytes().unwrap()).unwrap();
        assert!((0..10_000).all(|n| filter.may_hold(spread(n))));
        let wrong = (10_000..210_000).filter(|n| filter.may_hold(spread(*n))).count();
        assert!(wrong <= 20, "{wrong} of 200,000 were not excluded");
    }

    #[test]
    fn damaged_bytes_are_refused() {
        assert!(Filter::from_bytes(b"").is_err());
        let bytes = Filter::for_rows(100).to_bytes().unwrap();
        assert!(Filter::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    }
}
