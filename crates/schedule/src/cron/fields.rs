//! Reads one field: lists of values, ranges and steps.
//!
//! ```text
//! list  = item ("," item)*
//! item  = ("*" | value | value "-" value) ("/" step)?
//! ```
//!
//! A range may wrap around, as Quartz has it: `22-2` is 22, 23, 0, 1, 2. Years don't. `value/step` runs from the value
//! to the end of the field.

use crate::error::{Field, ParseError, Piece};

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Reads a field whose values are below 64.
pub(super) fn bits(piece: Piece<'_>, field: Field, range: (u32, u32)) -> Result<u64, ParseError> {
    Ok(set(piece, field, range)?.into_iter().fold(0, |bits, value| bits | 1 << value))
}

/// Reads a field: its values, ascending, each once.
pub(super) fn set(piece: Piece<'_>, field: Field, range: (u32, u32)) -> Result<Vec<u32>, ParseError> {
    let mut values = Vec::new();
    for piece in piece.split(|character| character == ',') {
        values.extend(item(piece, field, range)?);
    }
    values.sort_unstable();
    values.dedup();
    Ok(values)
}

/// Reads one item of a list: its values, in the order of the item.
pub(super) fn item(piece: Piece<'_>, field: Field, range: (u32, u32)) -> Result<Vec<u32>, ParseError> {
    let (low, high) = range;
    let (values, step) = match piece.split_once('/') {
        Some((values, step)) => (values, Some(step)),
        None => (piece, None),
    };
    let (from, to) = if values.part == "*" {
        range
    } else if let Some((from, to)) = values.split_once('-') {
        (value(from, field, range)?, value(to, field, range)?)
    } else {
        let from = value(values, field, range)?;
        (from, if step.is_some() { high } else { from })
    };
    let span = high - low + 1;
    let step = match step {
        None => 1,
        Some(piece) => number(piece.part)
            .filter(|step| (1..=span).contains(step))
            .ok_or_else(|| piece.refuse(field, Some(format!("a step is 1 to {span}"))))?,
    };
    if from > to && field == Field::Year {
        return Err(values.refuse(field, Some("years don't wrap around".to_owned())));
    }
    let length = if from <= to { to - from } else { span - from + to };
    Ok((0..=length).step_by(step as usize).map(|ahead| low + (from - low + ahead) % span).collect())
}

/// Reads one value: a number or, for months and days of the week, a name.
pub(super) fn value(piece: Piece<'_>, field: Field, range: (u32, u32)) -> Result<u32, ParseError> {
    let names: &[&str] = match field {
        Field::Month => &MONTHS,
        Field::DayOfWeek => &DAYS,
        _ => &[],
    };
    let named = names.iter().position(|name| name.eq_ignore_ascii_case(piece.part));
    let found = match named {
        Some(place) => u32::try_from(place).ok().map(|place| range.0 + place),
        None => number(piece.part),
    };
    found.filter(|value| (range.0..=range.1).contains(value)).ok_or_else(|| {
        let hint = match (field, piece.part) {
            (_, "?") => Some("`?` is for one of the day fields".to_owned()),
            (Field::DayOfWeek, "0") => Some("days count from 1, which is SUN".to_owned()),
            (_, "") => Some("something is missing here".to_owned()),
            (_, part) => weir_types::nearest(part, names.iter().copied()).map(|name| format!("did you mean `{name}`?")),
        };
        piece.refuse(field, hint)
    })
}

/// Digits and nothing else: `+5` is no number here.
pub(super) fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
