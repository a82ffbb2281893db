//! Times as vendors write them: RFC 3339, and the common parts of ISO 8601 around it.
//!
//! A time remembers its form, so that one that is computed from it is written alike: vendors that take
//! `2024-01-01T00:00:00+02:00` need not take `...Z`. Without an offset a time is taken as UTC.

use weir_types::civil::{civil_from_days, days_from_civil};

const NANOS: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * NANOS;

/// A point in time, and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instant {
    /// Nanoseconds since 1970 in UTC.
    pub(crate) nanos: i128,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Date,
    Time { separator: char, seconds: Precision, offset: String, offset_seconds: i64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Minutes,
    Seconds,
    /// Digits behind the point.
    Fraction(usize),
}

impl Instant {
    /// Reads `2024-01-01`, `2024-01-01T10:00`, `2024-01-01 10:00:00.123+02:00` and the like; none if it is no time.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (year, rest) = digits(text, 4)?;
        let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
        let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
        let days = days_from_civil(year, month, day);
        if civil_from_days(days) != (year, month, day) {
            return None;
        }
        let midnight = i128::from(days) * DAY;
        let Some(separator) = rest.chars().next() else { return Some(Self { nanos: midnight, form: Form::Date }) };
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let (hour, rest) = digits(rest, 2)?;
        let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
        let (second, nanos, seconds, rest) = seconds(rest)?;
        // 60: a leap second, which is counted as the next one's beginning.
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let offset_seconds = offset(rest)?;
        let clock = i128::from(hour * 3600 + minute * 60 + second - offset_seconds) * NANOS + nanos;
        let form = Form::Time { separator, seconds, offset: rest.to_owned(), offset_seconds };
        Some(Self { nanos: midnight + clock, form })
    }

    /// Returns another time in this one's form. What the form can't say is cut off, so that it is never later.
    pub(crate) fn at(&self, nanos: i128) -> Self {
        Self { nanos, form: self.form.clone() }
    }

    /// Returns a time in the form of RFC 3339, in UTC and whole seconds.
    pub(crate) fn utc(nanos: i128) -> Self {
        let form =
            Form::Time { separator: 'T', seconds: Precision::Seconds, offset: "Z".to_owned(), offset_seconds: 0 };
        Self { nanos, form }
    }
}

impl std::fmt::Display for Instant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shift = if let Form::Time { offset_seconds, .. } = &self.form { *offset_seconds } else { 0 };
        let local = self.nanos + i128::from(shift) * NANOS;
        let days = i64::try_from(local.div_euclid(DAY)).unwrap_or_default();
        let (year, month, day) = civil_from_days(days);
        write!(f, "{year:04}-{month:02}-{day:02}")?;
        let Form::Time { separator, seconds, offset, .. } = &self.form else { return Ok(()) };
        let clock = local.rem_euclid(DAY);
        let (whole, nanos) = (clock / NANOS, clock % NANOS);
        write!(f, "{separator}{:02}:{:02}", whole / 3600, whole / 60 % 60)?;
        match seconds {
            Precision::Minutes => {}
            Precision::Seconds => write!(f, ":{:02}", whole % 60)?,
            Precision::Fraction(count) => write!(f, ":{:02}.{}", whole % 60, &format!("{nanos:09}")[..*count])?,
        }
        f.write_str(offset)
    }
}

fn digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (head, rest) = text.split_at_checked(count)?;
    head.bytes().all(|byte| byte.is_ascii_digit()).then(|| head.parse().ok().map(|number| (number, rest)))?
}

/// Reads seconds and their fraction, which may both be left out. Digits beyond the ninth don't count.
fn seconds(text: &str) -> Option<(i64, i128, Precision, &str)> {
    let Some(rest) = text.strip_prefix(':') else { return Some((0, 0, Precision::Minutes, text)) };
    let (second, rest) = digits(rest, 2)?;
    let Some(fraction) = rest.strip_prefix(['.', ',']) else { return Some((second, 0, Precision::Seconds, rest)) };
    let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let kept = &fraction[..count.min(9)];
    let nanos = format!("{kept:0<9}").parse().ok()?;
    (count > 0).then(|| (second, nanos, Precision::Fraction(kept.len()), &fraction[count..]))
}

/// Reads `Z`, `+02:00`, `+0200`, `+02` or nothing, in seconds.
fn offset(text: &str) -> Option<i64> {
    if text.is_empty() || text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, rest) = digits(&text[1..], 2)?;
    let (minutes, rest) = if rest.is_empty() { (0, "") } else { digits(rest.strip_prefix(':').unwrap_or(rest), 2)? };
    (rest.is_empty() && hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_in_their_own_form() {
        let table = [
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("2024-02-29T10:30", "2024-02-29T10:30:00Z"),
            ("2024-02-29 10:30:15", "2024-02-29T10:30:15Z"),
            ("2024-02-29T10:30:15.120Z", "2024-02-29T10:30:15Z"),
            ("2024-02-29T10:30:15+02:00", "2024-02-29T08:30:15Z"),
            ("2024-02-29T23:30:15-0130", "2024-03-01T01:00:15Z"),
            ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59Z"),
        ];
        for (text, utc) in table {
            let instant = Instant::parse(text).expect(text);
            assert_eq!(instant.to_string(), text);
            assert_eq!(Instant::utc(instant.nanos).to_string(), utc);
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2024",
            "2024-13-01",
            "2023-02-29",
            "2024-01-01T25:00",
            "2024-01-01X10:00",
            "12345678-1-1",
            "2024-01-01T10:00:00.Z",
            "2024-01-01T10:00:00+2",
            "2024-01-01T",
            "２０２４-01-01",
            "20240101",
        ] {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_none(text in "\\PC{0,30}|[0-9T:.+Z -]{0,30}") {
            if let Some(instant) = Instant::parse(&text) {
                let again = Instant::parse(&instant.to_string()).expect("its own text");
                proptest::prop_assert!(again.nanos <= instant.nanos && instant.nanos - again.nanos < 1000);
            }
        }

        #[test]
        fn forms_agree_on_the_time(nanos in -60_000_000_000_i64..4_000_000_000, form in 0_usize..4) {
            let forms = ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000000000+05:30", "2024-01-01 00:00:00-11:00", "2024-01-01T00:00:00"];
            let nanos = i128::from(nanos) * NANOS;
            let text = Instant::parse(forms[form]).unwrap().at(nanos).to_string();
            proptest::prop_assert_eq!(Instant::parse(&text).unwrap().nanos, nanos);
        }
    }
}
