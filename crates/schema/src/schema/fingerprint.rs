//! Fingerprints of a canonical form.

use md5::Digest as _;
use weir_types::Fingerprint;

/// Source: Avro specification 1.11, "Schema Fingerprints".
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

const TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u64;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ (EMPTY & (value & 1).wrapping_neg());
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

pub(super) fn crc64(bytes: &[u8]) -> Fingerprint {
    Fingerprint(bytes.iter().fold(EMPTY, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u64::from(*byte)) & 0xff) as usize]))
}

pub(super) fn md5(bytes: &[u8]) -> [u8; 16] {
    md5::Md5::digest(bytes).into()
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}
