//! Writes JSON straight into bytes, without a tree in between: a batch of ten thousand records is one buffer.
//!
//! Invariant: whatever the strings hold, the text is valid JSON. Who calls it puts the braces and commas.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use weir_types::Timestamp;

/// A text that grows.
pub(super) struct Json {
    out: Vec<u8>,
}

impl Json {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Returns what was written so far, and starts again.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Text that is JSON already.
    pub(super) fn raw(&mut self, json: &str) -> &mut Self {
        self.out.extend_from_slice(json.as_bytes());
        self
    }

    /// A string in quotes, escaped.
    pub(super) fn string(&mut self, text: &str) -> &mut Self {
        serde_json::to_writer(&mut self.out, text).expect("a string always has a JSON form, and a buffer takes it");
        self
    }

    /// A whole number, bare.
    pub(super) fn number(&mut self, number: impl whole::Whole) -> &mut Self {
        number.write(&mut self.out);
        self
    }

    /// A whole number in quotes, as SQS writes counts and times.
    pub(super) fn quoted(&mut self, number: impl whole::Whole) -> &mut Self {
        self.raw("\"").number(number).raw("\"")
    }

    /// Bytes in base64, in quotes.
    pub(super) fn base64(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.push(b'"');
        let start = self.out.len();
        self.out.resize(start + base64_len(bytes.len()), 0);
        STANDARD.encode_slice(bytes, &mut self.out[start..]).expect("the room is computed from the length");
        self.out.push(b'"');
        self
    }

    /// Seconds since 1970 with milliseconds, as a number.
    pub(super) fn seconds(&mut self, time: Timestamp) -> &mut Self {
        let ms = time.0.unsigned_abs();
        let sign = if time.0 < 0 { "-" } else { "" };
        self.raw(&format!("{sign}{}.{:03}", ms / 1000, ms % 1000))
    }
}

/// Whole numbers that [`Json`] writes.
mod whole {
    use std::io::Write;

    pub(in super::super) trait Whole {
        fn write(self, out: &mut Vec<u8>);
    }

    macro_rules! whole {
        ($($kind:ty),*) => {
            $(impl Whole for $kind {
                fn write(self, out: &mut Vec<u8>) {
                    write!(out, "{self}").expect("a buffer takes every byte");
                }
            })*
        };
    }

    whole!(u16, u32, u64, i64);
}

/// The length of `bytes` bytes in base64, padding included.
pub(super) const fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// The length of a string as [`Json::string`] writes it, quotes included.
pub(super) fn string_len(text: &str) -> usize {
    let escaped: usize = text
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
            0..=0x1f => 6,
            _ => 1,
        })
        .sum();
    escaped + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn strings_come_back_and_their_length_is_known(text in ".{0,64}|[\\x00-\\x1f\"\\\\\u{1f600}\u{2028}]{0,32}") {
            let mut json = Json::with_capacity(0);
            json.string(&text);
            let out = json.finish();
            proptest::prop_assert_eq!(out.len(), string_len(&text));
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn bytes_come_back_from_base64(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            let mut json = Json::with_capacity(0);
            json.base64(&bytes);
            let text: String = serde_json::from_slice(&json.finish()).unwrap();
            proptest::prop_assert_eq!(STANDARD.decode(text).unwrap(), bytes);
        }

        #[test]
        fn seconds_are_the_milliseconds_as_a_number(ms in -10_000_000_000_000i64..10_000_000_000_000) {
            let mut json = Json::with_capacity(0);
            json.seconds(Timestamp(ms));
            let seconds: f64 = serde_json::from_slice(&json.finish()).unwrap();
            proptest::prop_assert_eq!((seconds * 1000.0).round() as i64, ms);
        }
    }
}
