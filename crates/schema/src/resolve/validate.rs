//! The check that untrusted bytes are a record: lengths, numbers, texts, depth, and that decimals and timestamps have a
//! place in a column. What passes is decoded to columns without fail, if the schema has columns.

use weir_types::limits::NESTING_MAX;

use crate::binary::{Cursor, Items};
use crate::schema::{Kind, Logical, NodeId};
use crate::text::{self, Unit};
use crate::{Fault, RecordError, Schema};

/// Returns how many bytes the record at the beginning of `bytes` takes.
///
/// # Errors
/// If no record of the schema stands there: it is cut off, a length or a number is out of range, a text is not UTF-8, or
/// values nest too deep.
pub fn validate(schema: &Schema, bytes: &[u8]) -> Result<usize, RecordError> {
    let mut cursor = Cursor::new(bytes);
    skip(schema, schema.root_id(), &mut cursor, 0).map_err(|fault| *fault)?;
    Ok(cursor.at())
}

/// Goes over one value, and checks it.
pub(crate) fn skip(schema: &Schema, id: NodeId, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Fault> {
    let node = schema.node(id);
    match &node.kind {
        Kind::Null => {}
        Kind::Boolean => {
            cursor.boolean()?;
        }
        Kind::Int => {
            cursor.int()?;
        }
        Kind::Long => {
            let value = cursor.long()?;
            if let Some(Logical::TimestampMillis | Logical::LocalTimestampMillis) = node.logical {
                text::micros(value, Unit::Millis)?;
            }
        }
        Kind::Float => {
            cursor.take(4)?;
        }
        Kind::Double => {
            cursor.take(8)?;
        }
        Kind::Bytes => {
            let bytes = cursor.bytes()?;
            if let Some(Logical::Decimal { precision, .. }) = node.logical {
                text::decimal_of(bytes, precision)?;
            }
        }
        Kind::String => {
            cursor.utf8()?;
        }
        Kind::Fixed(fixed) => {
            let bytes = cursor.take(fixed.size)?;
            if let Some(Logical::Decimal { precision, .. }) = node.logical {
                text::decimal_of(bytes, precision)?;
            }
        }
        Kind::Enum(symbols) => {
            let index = cursor.long()?;
            if usize::try_from(index).map_or(true, |index| index >= symbols.symbols.len()) {
                return Err(format!("{index} is the number of no symbol of the enum").into());
            }
        }
        Kind::Union(branches) => {
            let index = cursor.long()?;
            let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
            let branch = branch.ok_or_else(|| format!("{index} is the number of no branch of the union"))?;
            skip(schema, *branch, cursor, depth)?;
        }
        // Whatever its fields are, they have no bytes to be wrong.
        Kind::Record(_) if node.empty => {}
        Kind::Record(record) => {
            let depth = deeper(depth)?;
            for field in &record.fields {
                if let Err(fault) = skip(schema, field.node, cursor, depth) {
                    return Err(fault.within_field(&field.name));
                }
            }
        }
        Kind::Array(inner) => {
            let depth = deeper(depth)?;
            let mut items = Items::new(schema.node(*inner).empty);
            let mut index = 0;
            loop {
                let count = cursor.block(&mut items)?;
                if count == 0 {
                    break;
                }
                for _ in 0..count {
                    skip(schema, *inner, cursor, depth).map_err(|fault| fault.within_item(index))?;
                    index += 1;
                }
            }
        }
        Kind::Map(inner) => {
            let depth = deeper(depth)?;
            let mut items = Items::new(false);
            loop {
                let count = cursor.block(&mut items)?;
                if count == 0 {
                    break;
                }
                for _ in 0..count {
                    let key = cursor.text()?;
                    skip(schema, *inner, cursor, depth).map_err(|fault| fault.within_key(key))?;
                }
            }
        }
    }
    Ok(())
}

/// Records, arrays and maps are levels, as in JSON; unions are none.
pub(crate) fn deeper(depth: usize) -> Result<usize, Fault> {
    if depth >= NESTING_MAX {
        Err(format!("values are nested more than {NESTING_MAX} deep").into())
    } else {
        Ok(depth + 1)
    }
}
