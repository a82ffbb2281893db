//! Decimal text to the nearest double.

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Reads a JSON number.
///
/// Up to 15 digits without an exponent take Clinger's fast path: both the digits and the power of ten are exact doubles,
/// so that one division rounds once (W. D. Clinger, "How to Read Floating Point Numbers Accurately", 1990).
#[inline]
pub(crate) fn double(text: &str) -> f64 {
    const DIGITS_MAX: usize = 15;
    if text.len() <= DIGITS_MAX {
        let bytes = text.as_bytes();
        let negative = bytes.first() == Some(&b'-');
        let mut value = 0u64;
        let mut point = None;
        let mut plain = true;
        for (at, byte) in bytes.iter().enumerate().skip(usize::from(negative)) {
            match byte {
                b'0'..=b'9' => value = value * 10 + u64::from(byte - b'0'),
                b'.' if point.is_none() => point = Some(at),
                _ => plain = false,
            }
        }
        if plain {
            let places = point.map_or(0, |point| bytes.len() - point - 1);
            let value = value as f64 / POWERS[places];
            return if negative { -value } else { value };
        }
    }
    // The scanner has seen that it is a number; Rust's reader takes all of JSON's.
    text.parse().unwrap_or(f64::NAN)
}
