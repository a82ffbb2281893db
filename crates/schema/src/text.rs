//! Texts of dates, times, decimals and uuids, as JSON and CSV carry them, to Avro's numbers.
//!
//! Nothing is rounded: a text with more precision than its type holds is an error.

use weir_types::civil::{civil_from_days, days_from_civil};

/// A unit of time that a logical type counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Millis,
    Micros,
}

impl Unit {
    fn per_second(self) -> i64 {
        match self {
            Unit::Millis => 1000,
            Unit::Micros => 1_000_000,
        }
    }
}

/// Whether a time of day on a date is a point in time, which needs an offset, or a local one, which can't have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    Utc,
    Local,
}

fn two(bytes: &[u8], at: usize) -> Option<i64> {
    match bytes.get(at..at + 2)? {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(i64::from(a - b'0') * 10 + i64::from(b - b'0')),
        _ => None,
    }
}

fn civil(bytes: &[u8]) -> Option<i64> {
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (two(bytes, 0)? * 100 + two(bytes, 2)?, two(bytes, 5)?, two(bytes, 8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    (1..=days).contains(&day).then(|| days_from_civil(year, month, day))
}

/// Reads `2013-01-31` as days since 1970.
pub(crate) fn date(text: &str) -> Result<i32, String> {
    let days = civil(text.as_bytes()).and_then(|days| i32::try_from(days).ok());
    days.ok_or_else(|| format!("{} is no date: write it as 2013-01-31", quote(text)))
}

/// Reads `05:15:00` with up to nine digits of a second as units since midnight.
pub(crate) fn time_of_day(text: &str, unit: Unit) -> Result<i64, String> {
    match clock(text.as_bytes(), unit)? {
        Some((count, used)) if used == text.len() => Ok(count),
        _ => Err(format!("{} is no time of day: write it as 05:15:00", quote(text))),
    }
}

/// Units since midnight and the bytes that they took; `None` if that's no time.
fn clock(bytes: &[u8], unit: Unit) -> Result<Option<(i64, usize)>, String> {
    let (Some(hour), Some(minute), Some(second)) = (two(bytes, 0), two(bytes, 3), two(bytes, 6)) else {
        return Ok(None);
    };
    if bytes[2] != b':' || bytes[5] != b':' || hour > 23 || minute > 59 || second > 59 {
        return Ok(None);
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    let per_second = unit.per_second();
    if bytes.get(8) != Some(&b'.') {
        return Ok(Some((seconds * per_second, 8)));
    }
    let mut count = 0;
    let mut worth = per_second;
    let mut at = 9;
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        worth /= 10;
        if worth == 0 && *digit != b'0' {
            let (of, other) = match unit {
                Unit::Millis => ("milliseconds", "round it, or give the field the -micros type"),
                Unit::Micros => ("microseconds", "round it"),
            };
            return Err(format!("the text is finer than the type's {of}: {other}"));
        }
        count += i64::from(digit - b'0') * worth;
        at += 1;
    }
    Ok((at > 9).then_some((seconds * per_second + count, at)))
}

/// Reads RFC 3339 (a space may stand for the `T`) as units since 1970.
pub(crate) fn timestamp(text: &str, unit: Unit, zone: Zone) -> Result<i64, String> {
    let bytes = text.as_bytes();
    let misfit = || match zone {
        Zone::Utc => format!(
            "{} is no point in time: write it as 2013-01-31T05:15:00Z, or with an offset such as +01:00",
            quote(text)
        ),
        Zone::Local => format!("{} is no local time: write it as 2013-01-31T05:15:00, without an offset", quote(text)),
    };
    if !matches!(bytes.get(10), Some(b'T' | b't' | b' ')) {
        return Err(misfit());
    }
    let days = civil(&bytes[..10]).ok_or_else(misfit)?;
    let (count, used) = clock(&bytes[11..], unit)?.ok_or_else(misfit)?;
    let offset = match (&bytes[11 + used..], zone) {
        ([b'Z' | b'z'], Zone::Utc) | ([], Zone::Local) => 0,
        ([], Zone::Utc) => return Err(format!("{} has no offset: add Z, or one such as +01:00", quote(text))),
        (rest @ [sign @ (b'+' | b'-'), ..], Zone::Utc) => {
            let fits = rest.len() == 6 && rest[3] == b':';
            let (hours, minutes) = two(rest, 1).zip(two(rest, 4)).filter(|_| fits).ok_or_else(misfit)?;
            if hours > 23 || minutes > 59 {
                return Err(misfit());
            }
            (hours * 60 + minutes) * if *sign == b'+' { 60 } else { -60 }
        }
        _ => return Err(misfit()),
    };
    Ok((days * 86_400 - offset) * unit.per_second() + count)
}

/// The digits of a decimal: a number whose value is the first times ten to the power of less the second.
pub(crate) type Digits = (i128, i64);

/// Reads a decimal number of up to 38 digits, exactly; `None` if it is no number or has more.
pub(crate) fn digits(text: &str) -> Option<Digits> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let mut value = 0i128;
    let mut scale = -i64::from(exponent);
    let mut point = false;
    let mut any = false;
    for byte in mantissa.bytes() {
        match byte {
            b'0'..=b'9' => {
                any = true;
                value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                scale += i64::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    any.then_some((if negative { -value } else { value }, scale))
}

/// Returns the number at another scale, if that is exact and fits.
pub(crate) fn rescale((mut value, scale): Digits, to: i64) -> Option<i128> {
    if value == 0 {
        return Some(0);
    }
    let mut steps = to.checked_sub(scale)?;
    // 38 digits fit; more steps can't be exact.
    if steps.abs() > 76 {
        return None;
    }
    while steps > 0 {
        value = value.checked_mul(10)?;
        steps -= 1;
    }
    while steps < 0 {
        if value % 10 != 0 {
            return None;
        }
        value /= 10;
        steps += 1;
    }
    Some(value)
}

/// Reads a decimal as its unscaled number.
pub(crate) fn decimal(text: &str, precision: u32, scale: u32) -> Result<i128, String> {
    let number = digits(text).ok_or_else(|| format!("{} is no decimal number of up to 38 digits", quote(text)))?;
    let value = rescale(number, i64::from(scale))
        .ok_or_else(|| format!("{} does not fit a decimal with {scale} digits behind the point", quote(text)))?;
    if precision < 39 && value.unsigned_abs() >= 10u128.pow(precision) {
        return Err(format!("{} has more than the {precision} digits of its decimal", quote(text)));
    }
    Ok(value)
}

/// The shortest big-endian two's complement of a number: the place in the 16 bytes where it begins.
pub(crate) fn shortest(value: i128) -> ([u8; 16], usize) {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let mut start = 0;
    while start < 15 && bytes[start] == sign && (bytes[start + 1] ^ sign) < 0x80 {
        start += 1;
    }
    (bytes, start)
}

/// Reads big-endian two's complement of any length whose value has at most 128 bits.
pub(crate) fn unscaled(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
    let (extra, kept) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut wide = [sign; 16];
    wide[16 - kept.len()..].copy_from_slice(kept);
    let fits = extra.iter().all(|byte| *byte == sign) && (extra.is_empty() || (kept[0] ^ sign) < 0x80);
    fits.then(|| i128::from_be_bytes(wide))
}

/// Writes an unscaled number with its point.
pub(crate) fn write_decimal(value: i128, scale: u32, out: &mut String) {
    let digits = value.unsigned_abs().to_string();
    let scale = scale as usize;
    if value < 0 {
        out.push('-');
    }
    if scale == 0 {
        out.push_str(&digits);
        return;
    }
    let whole = digits.len().saturating_sub(scale);
    out.push_str(if whole == 0 { "0" } else { &digits[..whole] });
    out.push('.');
    for _ in digits.len()..scale {
        out.push('0');
    }
    out.push_str(&digits[whole..]);
}

/// Whether the text is a uuid: 36 letters, hexadecimal but for the hyphens.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A user's text for an error: in backticks, printable, and not long.
pub(crate) fn quote(text: &str) -> String {
    const LETTERS_MAX: usize = 40;
    match text.char_indices().nth(LETTERS_MAX) {
        Some((end, _)) => format!("`{}...`", text[..end].escape_debug()),
        None => format!("`{}`", text.escape_debug()),
    }
}

/// Refuses what is no time within a day.
pub(crate) fn check_time_of_day(count: i64, unit: Unit) -> Result<(), String> {
    if (0..86_400 * unit.per_second()).contains(&count) {
        return Ok(());
    }
    Err(format!("{count} is no time within a day"))
}

/// Writes days since 1970 as a date, if its year has four digits.
pub(crate) fn format_date(days: i64) -> Option<String> {
    let (year, month, day) = civil_from_days(days);
    (0..=9999).contains(&year).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// Writes units since midnight.
pub(crate) fn format_time(count: i64, unit: Unit) -> String {
    let (seconds, rest) = (count / unit.per_second(), count % unit.per_second());
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let text = format!("{hour:02}:{minute:02}:{second:02}");
    match unit {
        _ if rest == 0 => text,
        Unit::Millis => format!("{text}.{rest:03}"),
        Unit::Micros => format!("{text}.{rest:06}"),
    }
}

/// Writes units since 1970 as RFC 3339, if the year has four digits.
pub(crate) fn format_timestamp(count: i64, unit: Unit, zone: Zone) -> Option<String> {
    let per_day = 86_400 * unit.per_second();
    let date = format_date(count.div_euclid(per_day))?;
    let time = format_time(count.rem_euclid(per_day), unit);
    Some(format!("{date}T{time}{}", if zone == Zone::Utc { "Z" } else { "" }))
}

/// Microseconds of a timestamp: refuses one that has no place in a column.
#[inline]
pub(crate) fn micros(count: i64, unit: Unit) -> Result<i64, &'static str> {
    match unit {
        Unit::Micros => Ok(count),
        Unit::Millis => count.checked_mul(1000).ok_or("the timestamp is beyond the microseconds of 64 bits"),
    }
}

/// Reads a decimal's bytes: refuses one of more digits than it may have, or than 38.
pub(crate) fn decimal_of(bytes: &[u8], precision: u32) -> Result<i128, String> {
    let digits = precision.min(38);
    let value = unscaled(bytes).filter(|value| value.unsigned_abs() < 10u128.pow(digits));
    value.ok_or_else(|| format!("the decimal has more than its {digits} digits"))
}
