//! Rows in the binary form.
//!
//! A row is a zero byte, a bit for each column that is null (behind two that are not used), and the values of the others. Invariant:
//! a value is decoded without loss, or is an error that says what to write instead. The zero date, MySQL's "none"
//! in columns that may not be null, is null.

use std::borrow::Cow;

use weir_types::civil;

use super::column::{Column, Form};
use super::packet::Reader;
use crate::database::DatabaseError;
use crate::rows::{Builder, Cell, Rows};

const MICROS_OF_DAY: i64 = 86_400_000_000;

type Reason = Cow<'static, str>;

/// Why a value was not decoded.
enum Wrong {
    Packet(DatabaseError),
    Value(Reason),
}

impl From<DatabaseError> for Wrong {
    fn from(error: DatabaseError) -> Self {
        Self::Packet(error)
    }
}

impl From<&'static str> for Wrong {
    fn from(reason: &'static str) -> Self {
        Self::Value(reason.into())
    }
}

/// Decodes a row.
pub(super) fn row(
    packet: &[u8],
    columns: &[Column],
    rows: &mut Rows,
    zero_dates: &mut u64,
) -> Result<(), DatabaseError> {
    let number = rows.row();
    let mut reader = Reader(packet);
    if reader.byte()? != 0 {
        return Err(DatabaseError::Protocol { reason: "a row is none" });
    }
    let nulls = reader.bytes((columns.len() + 2).div_ceil(8))?;
    for (index, (column, builder)) in columns.iter().zip(&mut rows.builders).enumerate() {
        let bit = index + 2;
        let is_null = nulls[bit / 8] >> (bit % 8) & 1 == 1;
        let decoded = match is_null {
            true => builder.push(Cell::Null).map_err(Wrong::from),
            false => value(column.form, &mut reader, builder, zero_dates),
        };
        decoded.map_err(|wrong| match wrong {
            Wrong::Packet(error) => error,
            Wrong::Value(reason) => {
                DatabaseError::Value { column: column.name.clone(), row: number, reason: reason.into() }
            }
        })?;
    }
    Ok(())
}

fn value(form: Form, reader: &mut Reader<'_>, builder: &mut Builder, zero_dates: &mut u64) -> Result<(), Wrong> {
    let text;
    let cell = match form {
        Form::Boolean => match reader.byte()? {
            0 => Cell::Boolean(false),
            1 => Cell::Boolean(true),
            other => {
                let other = other.cast_signed();
                let reason = format!("{other} is no boolean, as which tinyint(1) is read; write `cast(... as signed)`");
                return Err(Wrong::Value(reason.into()));
            }
        },
        Form::Tiny { unsigned: true } => Cell::Int(reader.byte()?.into()),
        Form::Tiny { unsigned: false } => Cell::Int(reader.byte()?.cast_signed().into()),
        Form::Short { unsigned: true } => Cell::Int(u16::from_le_bytes(reader.array()?).into()),
        Form::Short { unsigned: false } => Cell::Int(i16::from_le_bytes(reader.array()?).into()),
        Form::Int { unsigned: true } => Cell::Long(u32::from_le_bytes(reader.array()?).into()),
        Form::Int { unsigned: false } => Cell::Int(i32::from_le_bytes(reader.array()?)),
        Form::Long => Cell::Long(i64::from_le_bytes(reader.array()?)),
        Form::UnsignedLong => Cell::Decimal(u64::from_le_bytes(reader.array()?).into()),
        Form::Float => Cell::Float(f32::from_le_bytes(reader.array()?)),
        Form::Double => Cell::Double(f64::from_le_bytes(reader.array()?)),
        Form::Decimal { precision, scale } => Cell::Decimal(decimal(reader.sized()?, precision, scale)?),
        Form::Text => Cell::Text(utf8(reader.sized()?)?),
        Form::Bytes => Cell::Binary(reader.sized()?),
        Form::Bit => Cell::Boolean(bits(reader.sized()?)? != 0),
        Form::Bits => Cell::Long(bits(reader.sized()?)?),
        Form::Date => match moment(reader)? {
            Some((days, 0)) => Cell::Date(days),
            Some(_) => return Err("a date has a time".into()),
            None => zero_date(zero_dates),
        },
        Form::Timestamp => match moment(reader)? {
            Some((days, micros)) => Cell::Timestamp(i64::from(days) * MICROS_OF_DAY + micros),
            None => zero_date(zero_dates),
        },
        Form::Time => {
            text = time(reader)?;
            Cell::Text(&text)
        }
        Form::Nothing => return Err("a value is of the type of null".into()),
    };
    builder.push(cell).map_err(Wrong::from)
}

fn zero_date(zero_dates: &mut u64) -> Cell<'static> {
    *zero_dates += 1;
    Cell::Null
}

fn utf8(bytes: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "the text is not UTF-8; write `cast(... as binary)`")
}

fn bits(bytes: &[u8]) -> Result<i64, &'static str> {
    let mut word = [0; 8];
    let from = word.len().checked_sub(bytes.len()).ok_or("there are more than 64 bits")?;
    word[from..].copy_from_slice(bytes);
    Ok(i64::from_be_bytes(word))
}

/// Reads a date with a time: days since 1970 and microseconds of the day; `None` is the zero date.
fn moment(reader: &mut Reader<'_>) -> Result<Option<(i32, i64)>, Wrong> {
    let length = reader.byte()?;
    if !matches!(length, 0 | 4 | 7 | 11) {
        return Err(Wrong::Packet(DatabaseError::Protocol { reason: "a date has a length of its own" }));
    }
    let mut fields = Reader(reader.bytes(length.into())?);
    if length == 0 {
        return Ok(None);
    }
    let year = u16::from_le_bytes(fields.array()?);
    let [month, day] = fields.array()?;
    let [hour, minute, second] = if length >= 7 { fields.array()? } else { [0; 3] };
    let micros = if length == 11 { u32::from_le_bytes(fields.array()?) } else { 0 };
    let seconds = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
    let micros = seconds * 1_000_000 + i64::from(micros);
    if (year, month, day, micros) == (0, 0, 0, 0) {
        return Ok(None);
    }
    match days(year, month, day) {
        Some(days) => Ok(Some((days, micros))),
        None => {
            let reason = format!(
                "{year:04}-{month:02}-{day:02} is no day of a calendar; write `nullif`, or `cast(... as char)`"
            );
            Err(Wrong::Value(reason.into()))
        }
    }
}

/// Returns the days since 1970 of a day that is in the calendar.
fn days(year: u16, month: u8, day: u8) -> Option<i32> {
    let date = (i64::from(year), i64::from(month), i64::from(day));
    let days = civil::days_from_civil(date.0, date.1, date.2);
    (civil::civil_from_days(days) == date).then(|| i32::try_from(days).ok()).flatten()
}

/// Reads a time, which may be negative and have more than 24 hours.
fn time(reader: &mut Reader<'_>) -> Result<String, Wrong> {
    let length = reader.byte()?;
    let mut fields = Reader(reader.bytes(length.into())?);
    if length == 0 {
        return Ok("00:00:00".to_owned());
    }
    let sign = if fields.byte()? == 1 { "-" } else { "" };
    let days = u64::from(u32::from_le_bytes(fields.array()?));
    let [hour, minute, second] = fields.array()?;
    let hours = days * 24 + u64::from(hour);
    if length < 12 {
        return Ok(format!("{sign}{hours:02}:{minute:02}:{second:02}"));
    }
    let micros = u32::from_le_bytes(fields.array()?);
    Ok(format!("{sign}{hours:02}:{minute:02}:{second:02}.{micros:06}"))
}

/// Reads `-12.30` as an integer of the scale's digits behind the point.
pub(super) fn decimal(text: &[u8], precision: u8, scale: u8) -> Result<i128, Reason> {
    let wrong = || -> Reason {
        let text = String::from_utf8_lossy(text);
        format!("{text} does not fit decimal({precision}, {scale})").into()
    };
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let (whole, fraction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let scale = usize::from(scale);
    if whole.is_empty() && fraction.is_empty() || fraction.iter().skip(scale).any(|digit| *digit != b'0') {
        return Err(wrong());
    }
    let padding = std::iter::repeat_n(&b'0', scale.saturating_sub(fraction.len()));
    let mut value: i128 = 0;
    for digit in whole.iter().chain(fraction.iter().take(scale)).chain(padding) {
        if !digit.is_ascii_digit() {
            return Err(wrong());
        }
        let next = value.checked_mul(10).and_then(|value| value.checked_add((digit - b'0').into()));
        value = next.ok_or_else(wrong)?;
    }
    let limit = 10_i128.checked_pow(precision.into()).ok_or_else(wrong)?;
    if value >= limit {
        return Err(wrong());
    }
    Ok(if negative { -value } else { value })
}

impl From<Reason> for Wrong {
    fn from(reason: Reason) -> Self {
        Self::Value(reason)
    }
}
