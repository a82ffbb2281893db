//! Which texts are dates and points in time. Stricter than RFC 3339: whatever is taken here, the schema's encoder takes too,
//! without rounding.

/// What a text may be beside a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    /// `2013-01-31`.
    Date,
    /// `2013-01-31T05:15:00.123Z`, or with an offset.
    Millis,
    /// With four to six digits of a second.
    Micros,
}

pub(super) fn of(text: &str) -> Option<Time> {
    let bytes = text.as_bytes();
    if !is_date(bytes.get(..10)?) {
        return None;
    }
    let rest = &bytes[10..];
    if rest.is_empty() {
        return Some(Time::Date);
    }
    let clock = rest.strip_prefix(b"T")?;
    let clock_fits = shaped(clock.get(..8)?, b"00:00:00");
    if !clock_fits || number(clock, 0) > 23 || number(clock, 3) > 59 || number(clock, 6) > 59 {
        return None;
    }
    let mut rest = &clock[8..];
    let mut digits = 0;
    if let Some(fraction) = rest.strip_prefix(b".") {
        digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        rest = &fraction[digits..];
    }
    let has_offset = rest == b"Z"
        || (matches!(rest.first(), Some(b'+' | b'-'))
            && shaped(&rest[1..], b"00:00")
            && number(rest, 1) <= 23
            && number(rest, 4) <= 59);
    match digits {
        _ if !has_offset => None,
        0..=3 => Some(Time::Millis),
        4..=6 => Some(Time::Micros),
        _ => None,
    }
}

fn is_date(bytes: &[u8]) -> bool {
    if !shaped(bytes, b"0000-00-00") {
        return false;
    }
    let (year, month, day) = (number(bytes, 0) * 100 + number(bytes, 2), number(bytes, 5), number(bytes, 8));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return false,
    };
    // Year 0 is a placeholder wherever it is met.
    year > 0 && (1..=days).contains(&day)
}

/// Whether digits stand where the pattern has them, and the pattern's own letters elsewhere.
fn shaped(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.len() == pattern.len()
        && bytes
            .iter()
            .zip(pattern)
            .all(|(byte, want)| if *want == b'0' { byte.is_ascii_digit() } else { byte == want })
}

/// The two digits at `at`.
fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from(bytes[at] - b'0') * 10 + u32::from(bytes[at + 1] - b'0')
}
