//! `at(yyyy-mm-ddThh:mm:ss)`: once, at a time of the zone.

use chrono::{NaiveDate, NaiveDateTime};

use crate::error::{Field, ParseError, Piece};

/// Reads what stands within the parentheses.
pub(crate) fn parse(inner: Piece<'_>) -> Result<NaiveDateTime, ParseError> {
    let inner = inner.at(inner.part.len() - inner.part.trim_start().len(), inner.part.trim().len());
    let zoned = inner.part.ends_with('Z') || inner.part.get(19..).is_some_and(|rest| rest.starts_with(['+', '-']));
    let hint = zoned.then(|| "give the zone beside the expression".to_owned());
    read(inner.part).ok_or_else(|| inner.refuse(Field::DateTime, hint))
}

fn read(text: &str) -> Option<NaiveDateTime> {
    // The form is fixed: digits stand where digits stand here, and every other character is the same.
    let form = "0000-00-00T00:00:00";
    let fits = |(found, wanted): (u8, u8)| if wanted == b'0' { found.is_ascii_digit() } else { found == wanted };
    if text.len() != form.len() || !text.bytes().zip(form.bytes()).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u32>().ok();
    let year = i32::try_from(number(0, 4)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(5, 7)?, number(8, 10)?)?;
    date.and_hms_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?)
}
