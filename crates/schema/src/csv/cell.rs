//! A row's cells into the fields of a record.

use weir_types::limits::RECORD_BYTES_MAX;

use super::{Columns, Row};
use crate::Fault;
use crate::binary::{write_bytes, write_long};
use crate::json::{Plan, Shape, State, double, encode_value, unknown_symbol, write_decimal};
use crate::limits::CSV_COLUMNS_MAX;
use crate::schema::NodeId;
use crate::text::{self, quote};

pub(super) struct Writer<'a> {
    pub(super) plan: &'a Plan,
    pub(super) state: &'a mut State,
    pub(super) null: Option<&'a str>,
}

impl Writer<'_> {
    pub(super) fn record(&mut self, row: &Row, columns: &Columns, out: &mut Vec<u8>) -> Result<(), Fault> {
        let plan = self.plan;
        let Shape::Record(shape) = plan.shape(plan.schema.root_id()) else { return Ok(()) };
        if row.overlong {
            return Err(format!("the record has more than {RECORD_BYTES_MAX} bytes or {CSV_COLUMNS_MAX} cells").into());
        }
        if row.cells != columns.count {
            return Err(format!("the row has {} cells, and the header has {}", row.cells, columns.count).into());
        }
        for (field, column) in shape.fields.iter().zip(&columns.of_field) {
            match column {
                // The header's check has seen that there is one.
                None => out.extend_from_slice(field.absent.as_deref().unwrap_or_default()),
                Some(column) => {
                    let text = std::str::from_utf8(row.cell(*column));
                    let text =
                        text.map_err(|_| Fault::from("the cell is not valid UTF-8").within_field(&field.name))?;
                    self.cell(field.node, text, out).map_err(|fault| fault.within_field(&field.name))?;
                }
            }
        }
        if out.len() > RECORD_BYTES_MAX {
            return Err(
                format!("the record takes {} bytes as Avro, and {RECORD_BYTES_MAX} are allowed", out.len()).into()
            );
        }
        Ok(())
    }

    fn is_null(&self, text: &str) -> bool {
        self.null == Some(text)
    }

    fn cell(&mut self, id: NodeId, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self.plan.shape(id) {
            Shape::String => write_bytes(text.as_bytes(), out),
            Shape::Nullable { null, branch, inner } => {
                let is_text = matches!(self.plan.shape(*inner), Shape::String);
                if self.is_null(text) || (text.is_empty() && !is_text) {
                    out.push(null * 2);
                    return Ok(());
                }
                out.push(branch * 2);
                self.cell(*inner, text, out)?;
            }
            Shape::Int => {
                let value = whole(text)?;
                let value = i32::try_from(value).map_err(|_| format!("{value} does not fit the 32 bits of an int"))?;
                write_long(i64::from(value), out);
            }
            Shape::Long => write_long(whole(text)?, out),
            Shape::Float => {
                let value = number(text)?;
                if (value as f32).is_infinite() && value.is_finite() {
                    return Err("the number is too large for a float: give the field the type double".into());
                }
                out.extend((value as f32).to_le_bytes());
            }
            Shape::Double => out.extend(number(text)?.to_le_bytes()),
            Shape::Boolean => {
                let value = text.eq_ignore_ascii_case("true");
                if !value && !text.eq_ignore_ascii_case("false") {
                    return Err(format!("{} is neither true nor false", quote(text)).into());
                }
                out.push(u8::from(value));
            }
            Shape::Null => {
                if !text.is_empty() && !self.is_null(text) {
                    return Err(format!("{} stands in a field that is always null", quote(text)).into());
                }
            }
            Shape::Date => {
                let days = if counts(text) { whole(text)? } else { i64::from(text::date(text)?) };
                let days = i32::try_from(days).map_err(|_| format!("{days} days do not fit the 32 bits of a date"))?;
                write_long(i64::from(days), out);
            }
            Shape::Time(unit) => {
                let count = if counts(text) { whole(text)? } else { text::time_of_day(text, *unit)? };
                text::check_time_of_day(count, *unit)?;
                write_long(count, out);
            }
            Shape::Timestamp(unit, zone) => {
                let count = if counts(text) { whole(text)? } else { text::timestamp(text, *unit, *zone)? };
                text::micros(count, *unit)?;
                write_long(count, out);
            }
            Shape::Decimal { precision, scale, size } => {
                write_decimal(text::decimal(text, *precision, *scale)?, *size, out)?;
            }
            Shape::Uuid => {
                if !text::is_uuid(text) {
                    return Err(format!("{} is no uuid: write 36 letters, hexadecimal and hyphens", quote(text)).into());
                }
                write_bytes(text.as_bytes(), out);
            }
            Shape::Enum { by_symbol } => match by_symbol.get(text) {
                Some(index) => write_long(i64::from(*index), out),
                None => return Err(unknown_symbol(text, by_symbol.keys().map(AsRef::as_ref))),
            },
            Shape::Bytes => write_bytes(&latin1(text)?, out),
            Shape::Fixed(size) => {
                let bytes = latin1(text)?;
                if bytes.len() != *size {
                    return Err(format!("the text stands for {} bytes, and the fixed has {size}", bytes.len()).into());
                }
                out.extend(bytes);
            }
            Shape::Union { branches, null } => self.union(branches, *null, text, out)?,
            Shape::Array { .. } | Shape::Map { .. } | Shape::Record(_) => {
                self.state.begin();
                encode_value(self.plan, self.state, id, text, out)?;
            }
        }
        Ok(())
    }

    fn union(&mut self, branches: &[NodeId], null: Option<usize>, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = out.len();
        if let Some(null) = null
            && self.is_null(text)
        {
            write_long(null as i64, out);
            return Ok(());
        }
        for (index, branch) in branches.iter().enumerate() {
            write_long(index as i64, out);
            match self.cell(*branch, text, out) {
                Ok(()) => return Ok(()),
                Err(_) => out.truncate(start),
            }
        }
        let names: Vec<&str> = branches.iter().map(|branch| self.plan.schema.node(*branch).branch_name()).collect();
        Err(format!("{} fits no branch of the union ({})", quote(text), names.join(", ")).into())
    }
}

/// Whether the text is a plain count, as a date or a time may be.
fn counts(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn whole(text: &str) -> Result<i64, Fault> {
    // All that fits 64 bits, and no sign but a minus, as in JSON.
    if !text.starts_with('+')
        && let Ok(value) = text.parse()
    {
        return Ok(value);
    }
    let misfit = || Fault::from(format!("{} is not a whole number of 64 bits", quote(text)));
    let exact = text::digits(text).and_then(|digits| text::rescale(digits, 0)).ok_or_else(misfit)?;
    i64::try_from(exact).map_err(|_| misfit())
}

fn number(text: &str) -> Result<f64, Fault> {
    match text {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return Ok(f64::INFINITY),
        "-Infinity" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    let letters = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    let value = if letters && text.bytes().any(|byte| byte.is_ascii_digit()) { parse(text) } else { None };
    value
        .filter(|value| value.is_finite())
        .ok_or_else(|| format!("{} is not a number that a double holds", quote(text)).into())
}

fn parse(text: &str) -> Option<f64> {
    // The fast way takes digits with at most one point; Rust's reader judges all else.
    let plain = text.bytes().skip(usize::from(text.starts_with('-'))).all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain && text.bytes().filter(|byte| *byte == b'.').count() <= 1 { Some(double(text)) } else { text.parse().ok() }
}

fn latin1(text: &str) -> Result<Vec<u8>, Fault> {
    let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
    bytes.ok_or_else(|| "the text stands for bytes, so that each letter is one of U+0000 to U+00FF".into())
}
