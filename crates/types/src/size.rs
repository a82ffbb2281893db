//! Amounts of bytes as users write them: `64KB`, `128MiB`, `10GB`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// A text that is not an amount of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an amount of bytes: write a whole number and a unit (B, KB, MB, GB, TB, or KiB, MiB, GiB, TiB), such as `128MiB`"
)]
pub struct SizeError {
    text: String,
}

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl std::str::FromStr for ByteSize {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let error = || SizeError { text: text.to_owned() };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| error())?;
        let unit = unit.trim();
        let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(error)?;
        number.checked_mul(*factor).map(ByteSize).ok_or_else(error)
    }
}

impl ByteSize {
    /// Writes the amount exactly, in the unit that makes the number smallest, so that it can be read back.
    ///
    /// ```
    /// use weir_types::ByteSize;
    ///
    /// assert_eq!(ByteSize(64 << 20).exact(), "64MiB");
    /// assert_eq!(ByteSize(10_000_000_000).exact(), "10GB");
    /// ```
    pub fn exact(self) -> String {
        let dividing = UNITS.iter().filter(|(_, factor)| self.0.is_multiple_of(*factor));
        let (unit, factor) = dividing.max_by_key(|(_, factor)| *factor).copied().unwrap_or(("B", 1));
        if self.0 == 0 { "0B".to_owned() } else { format!("{}{unit}", self.0 / factor) }
    }
}

/// Prints three significant digits in decimal units, such as `1.23 GB`.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS[..5].iter().rev().find(|(_, factor)| self.0 >= *factor).copied().unwrap_or(("B", 1));
        if factor == 1 {
            return write!(f, "{} B", self.0);
        }
        let value = self.0 as f64 / factor as f64;
        let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        write!(f, "{value:.digits$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn reads_back_what_it_writes(bytes: u64, shift in 0u32..40) {
            let size = ByteSize(bytes << shift >> shift << (shift % 8 * 5));
            proptest::prop_assert_eq!(size.exact().parse(), Ok(size));
        }
    }

    #[test]
    fn reads_both_kinds_of_units() {
        assert_eq!("64KiB".parse(), Ok(ByteSize(65_536)));
        assert_eq!("64 KB".parse(), Ok(ByteSize(64_000)));
        assert_eq!("10gb".parse(), Ok(ByteSize(10_000_000_000)));
        assert!("10".parse::<ByteSize>().is_err());
        assert!("99999999TiB".parse::<ByteSize>().is_err());
        assert_eq!(ByteSize(1_234_567).to_string(), "1.23 MB");
        assert_eq!(ByteSize(12).to_string(), "12 B");
    }
}
