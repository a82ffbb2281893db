//! Lengths of time as users write them: `500ms`, `5s`, `10m`, `12h`, `7d`, `2w`.

use std::time::Duration;

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a length of time: write a whole number and a unit (ms, s, m, h, d, w), such as `12h`")]
pub struct SpanError {
    text: String,
}

const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a length of time.
///
/// # Errors
/// If it is not a whole number followed by a unit, or too long for 64 bits of milliseconds.
pub fn parse(text: &str) -> Result<Duration, SpanError> {
    let error = || SpanError { text: text.to_owned() };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| error())?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(error)?;
    number.checked_mul(*factor).map(Duration::from_millis).ok_or_else(error)
}

/// Writes a length of time in the largest unit that divides it, so that [`parse`] reads it back (whole milliseconds).
pub fn display(span: Duration) -> String {
    let ms = span.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    let (unit, factor) =
        UNITS.iter().find(|(_, factor)| ms.is_multiple_of(u128::from(*factor))).copied().unwrap_or(("ms", 1));
    format!("{}{unit}", ms / u128::from(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn reads_back_what_it_writes(ms in 0u64..u64::from(u32::MAX)) {
            let span = Duration::from_millis(ms);
            proptest::prop_assert_eq!(parse(&display(span)).unwrap(), span);
        }
    }

    #[test]
    fn refuses_what_is_no_span() {
        for text in ["", "5", "s", "-5s", "5 fortnights", "1.5h", "99999999999999999999s", "18446744073709551615w"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
