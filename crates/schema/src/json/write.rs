//! Avro binary as JSON, in the forms that [`JsonEncoder`](super::JsonEncoder) reads back.
//!
//! Dates and times are text, decimals too (a number might be read as a double); a union of null and one more is the bare
//! value, any other has its branch named.

use std::io::Write as _;

use weir_types::limits::NESTING_MAX;

use super::plan::{Plan, Shape};
use crate::binary::{Cursor, Items};
use crate::schema::{Kind, NodeId};
use crate::text::{self, Unit, Zone};
use crate::{Fault, RecordError, Schema};

/// Appends the JSON of a record, without line breaks, to `out`.
///
/// Compiles the schema on each call; it is meant for dead letters, tails and messages, not for bulk.
///
/// # Errors
/// If the bytes are no record of the schema; `out` is then as it was.
pub fn write(schema: &Schema, record: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    let plan = Plan::new(schema);
    let start = out.len();
    let mut cursor = Cursor::new(record);
    let result = write_value(&plan, schema.root_id(), &mut cursor, 0, out).and_then(|()| match cursor.rest() {
        0 => Ok(()),
        rest => Err(format!("{rest} bytes are left behind the record").into()),
    });
    result.map_err(|fault| {
        out.truncate(start);
        *fault
    })
}

/// Appends the JSON of the value that stands at the cursor.
pub(crate) fn write_value(
    plan: &Plan,
    id: NodeId,
    cursor: &mut Cursor<'_>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    if depth > NESTING_MAX {
        return Err(format!("values are nested more than {NESTING_MAX} deep").into());
    }
    let node = plan.schema.node(id);
    match plan.shape(id) {
        Shape::Null => out.extend(b"null"),
        Shape::Boolean => out.extend(if cursor.boolean()? { &b"true"[..] } else { b"false" }),
        Shape::Int => number(cursor.int()?, out),
        Shape::Long => number(cursor.long()?, out),
        Shape::Float => {
            let value = f32::from_le_bytes(cursor.array()?);
            float(f64::from(value), || format!("{value:?}"), out);
        }
        Shape::Double => {
            let value = f64::from_le_bytes(cursor.array()?);
            float(value, || format!("{value:?}"), out);
        }
        Shape::Bytes => latin1(cursor.bytes()?, out),
        Shape::String | Shape::Uuid => string(cursor.text()?, out),
        Shape::Fixed(size) => latin1(cursor.take(*size)?, out),
        Shape::Date => date(i64::from(cursor.int()?), out),
        Shape::Time(unit) => {
            let count = if *unit == Unit::Millis { i64::from(cursor.int()?) } else { cursor.long()? };
            match text::check_time_of_day(count, *unit) {
                Ok(()) => string(&text::format_time(count, *unit), out),
                Err(_) => number(count, out),
            }
        }
        Shape::Timestamp(unit, zone) => timestamp(cursor.long()?, *unit, *zone, out),
        Shape::Decimal { scale, size, .. } => {
            let bytes = match size {
                Some(size) => cursor.take(*size)?,
                None => cursor.bytes()?,
            };
            let value = text::unscaled(bytes).ok_or("a decimal has more than 38 digits")?;
            let mut written = String::new();
            text::write_decimal(value, *scale, &mut written);
            string(&written, out);
        }
        Shape::Enum { .. } => {
            let Kind::Enum(symbols) = &node.kind else { return Ok(()) };
            let index = usize::try_from(cursor.int()?).ok();
            string(index.and_then(|index| symbols.symbols.get(index)).ok_or("an enum's number has no symbol")?, out);
        }
        Shape::Nullable { null, inner, .. } => match branch(cursor, 2)? {
            index if index == usize::from(*null) => out.extend(b"null"),
            _ => write_value(plan, *inner, cursor, depth, out)?,
        },
        Shape::Union { branches, null } => {
            let index = branch(cursor, branches.len())?;
            if Some(index) == *null {
                out.extend(b"null");
                return Ok(());
            }
            out.push(b'{');
            string(plan.schema.node(branches[index]).branch_name(), out);
            out.push(b':');
            write_value(plan, branches[index], cursor, depth, out)?;
            out.push(b'}');
        }
        Shape::Array { items } => {
            out.push(b'[');
            blocks(plan, *items, cursor, |cursor, index| {
                separate(index, out);
                write_value(plan, *items, cursor, depth + 1, out).map_err(|fault| fault.within_item(index))
            })?;
            out.push(b']');
        }
        Shape::Map { values } => {
            out.push(b'{');
            let mut seen = hashbrown::HashSet::new();
            blocks_of_map(cursor, |cursor, index| {
                separate(index, out);
                let key = cursor.text()?;
                if !seen.insert(key.to_owned()) {
                    return Err(Fault::from("a map has the same key twice").within_key(key));
                }
                string(key, out);
                out.push(b':');
                write_value(plan, *values, cursor, depth + 1, out).map_err(|fault| fault.within_key(key))
            })?;
            out.push(b'}');
        }
        Shape::Record(shape) => {
            out.push(b'{');
            for (field, index) in shape.fields.iter().zip(0..) {
                separate(index, out);
                string(&field.name, out);
                out.push(b':');
                write_value(plan, field.node, cursor, depth + 1, out)
                    .map_err(|fault| fault.within_field(&field.name))?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn blocks<'a>(
    plan: &Plan,
    items: NodeId,
    cursor: &mut Cursor<'a>,
    each: impl FnMut(&mut Cursor<'a>, u64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    every(Items::new(plan.schema.node(items).empty), cursor, each)
}

fn blocks_of_map<'a>(
    cursor: &mut Cursor<'a>,
    each: impl FnMut(&mut Cursor<'a>, u64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    // A map's item has at least its key's length.
    every(Items::new(false), cursor, each)
}

fn every<'a>(
    mut items: Items,
    cursor: &mut Cursor<'a>,
    mut each: impl FnMut(&mut Cursor<'a>, u64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut index = 0;
    loop {
        let count = cursor.block(&mut items)?;
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            each(cursor, index)?;
            index += 1;
        }
    }
}

fn branch(cursor: &mut Cursor<'_>, branches: usize) -> Result<usize, Fault> {
    let index = usize::try_from(cursor.long()?).ok().filter(|index| *index < branches);
    index.ok_or_else(|| "a union's number has no branch".into())
}

fn separate(index: u64, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn number(value: impl Into<i64>, out: &mut Vec<u8>) {
    // Writing to a vector can't fail.
    let _ = write!(out, "{}", value.into());
}

fn float(value: f64, text: impl Fn() -> String, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend(b"\"NaN\"");
    } else if value.is_infinite() {
        out.extend(if value > 0.0 { &b"\"Infinity\""[..] } else { b"\"-Infinity\"" });
    } else {
        out.extend(text().as_bytes());
    }
}

fn date(days: i64, out: &mut Vec<u8>) {
    match text::format_date(days) {
        Some(text) => string(&text, out),
        None => number(days, out),
    }
}

fn timestamp(count: i64, unit: Unit, zone: Zone, out: &mut Vec<u8>) {
    match text::format_timestamp(count, unit, zone) {
        Some(text) => string(&text, out),
        None => number(count, out),
    }
}

fn latin1(bytes: &[u8], out: &mut Vec<u8>) {
    string(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>(), out);
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend(b"\\\""),
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..0x20 => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
