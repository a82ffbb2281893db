//! The 64-bit fingerprint that stands for a schema inside a stream.

use std::fmt;

use serde::{Deserialize, Serialize};

/// CRC-64-AVRO (Rabin) of a schema's Parsing Canonical Form.
///
/// Source: Avro specification 1.11, "Schema Fingerprints". The text form is 16 lowercase hexadecimal digits of the number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}
