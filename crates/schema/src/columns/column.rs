//! One column that grows by a value of Avro binary at a time.

use arrow::array::{BooleanBufferBuilder, NullBufferBuilder};

use crate::Fault;
use crate::binary::{Cursor, Items};
use crate::json::{Plan, write_value};
use crate::resolve::skip;
use crate::schema::NodeId;
use crate::text::{self, Unit};

/// A column. Invariant: between records, all columns of a batch have the same length, and a parent's length tells its
/// children's.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: Box<str>,
    /// The union's branch that is null, if the value is one of two.
    pub(super) null: Option<i64>,
    /// For nullable columns: which values are there.
    pub(super) validity: Option<NullBufferBuilder>,
    pub(super) values: Values,
}

#[derive(Debug)]
pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    Int(Vec<i32>),
    Long(Vec<i64>),
    /// Milliseconds become microseconds.
    Millis(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        size: Option<usize>,
        precision: u32,
    },
    Text(Bytes),
    Binary(Bytes),
    Fixed {
        size: usize,
        bytes: Bytes,
    },
    Enum {
        symbols: Vec<Box<str>>,
        bytes: Bytes,
    },
    /// The value of any type as JSON.
    Json {
        node: NodeId,
        null: Option<i64>,
        bytes: Bytes,
    },
    /// A field that is always null.
    Null(Bytes),
    List {
        offsets: Vec<i32>,
        item: Box<Column>,
        empty: bool,
    },
    Map {
        offsets: Vec<i32>,
        keys: Bytes,
        value: Box<Column>,
    },
    Struct {
        length: usize,
        fields: Vec<Column>,
    },
}

/// Byte strings one after another. `ends` begins with 0.
#[derive(Debug)]
pub(super) struct Bytes {
    pub(super) ends: Vec<i32>,
    pub(super) bytes: Vec<u8>,
}

const TOO_MUCH: &str = "the batch has no room for more than 2 GiB in one column: flush it first";

impl Bytes {
    pub(super) fn new() -> Self {
        Self { ends: vec![0], bytes: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len() - 1
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.bytes.extend_from_slice(bytes);
        self.end()
    }

    /// Ends the string that has been written to `bytes`.
    #[inline]
    fn end(&mut self) -> Result<(), Fault> {
        self.ends.push(i32::try_from(self.bytes.len()).map_err(|_| TOO_MUCH)?);
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        self.ends.truncate(length + 1);
        self.bytes.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }
}

impl Column {
    /// Adds the value that stands at the cursor.
    #[inline]
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>, plan: &Plan, depth: usize) -> Result<(), Fault> {
        let Some(null) = self.null else { return self.read_value(cursor, plan, depth) };
        let branch = cursor.long()?;
        if branch == null {
            self.push_null();
            return Ok(());
        }
        if branch != 1 - null {
            return Err(no_branch(branch));
        }
        self.read_value(cursor, plan, depth)
    }

    #[inline]
    fn read_value(&mut self, cursor: &mut Cursor<'_>, plan: &Plan, depth: usize) -> Result<(), Fault> {
        match &mut self.values {
            Values::Int(values) => values.push(cursor.int()?),
            Values::Long(values) => values.push(cursor.long()?),
            Values::Text(texts) => texts.push(cursor.utf8()?)?,
            Values::Double(values) => values.push(f64::from_le_bytes(cursor.array()?)),
            Values::Millis(values) => values.push(text::micros(cursor.long()?, Unit::Millis)?),
            Values::Boolean(values) => values.append(cursor.boolean()?),
            Values::Float(values) => values.push(f32::from_le_bytes(cursor.array()?)),
            Values::Decimal { values, size, precision } => {
                let bytes = match size {
                    Some(size) => cursor.take(*size)?,
                    None => cursor.bytes()?,
                };
                values.push(text::decimal_of(bytes, *precision)?);
            }
            Values::Binary(strings) => strings.push(cursor.bytes()?)?,
            Values::Fixed { size, bytes } => bytes.push(cursor.take(*size)?)?,
            Values::Enum { symbols, bytes } => {
                let index = cursor.long()?;
                let symbol = usize::try_from(index).ok().and_then(|index| symbols.get(index));
                let symbol = symbol.ok_or_else(|| no_symbol(index))?;
                bytes.push(symbol.as_bytes())?;
            }
            Values::Struct { length, fields } => {
                *length += 1;
                for field in fields {
                    if let Err(fault) = field.read(cursor, plan, depth + 1) {
                        return Err(fault.within_field(&field.name));
                    }
                }
            }
            _ => return self.read_nested(cursor, plan, depth),
        }
        if let Some(validity) = &mut self.validity {
            validity.append_non_null();
        }
        Ok(())
    }

    #[inline(never)]
    fn read_nested(&mut self, cursor: &mut Cursor<'_>, plan: &Plan, depth: usize) -> Result<(), Fault> {
        if nested_is_null(&self.values, cursor) {
            if let Values::Json { node, .. } = &self.values {
                skip(&plan.schema, *node, cursor, depth)?;
            }
            self.push_null();
            return Ok(());
        }
        match &mut self.values {
            Values::Json { node, bytes, .. } => {
                write_value(plan, *node, cursor, depth, &mut bytes.bytes)?;
                bytes.end()?;
            }
            Values::List { offsets, item, empty } => {
                let mut items = Items::new(*empty);
                let mut index = 0;
                loop {
                    let count = cursor.block(&mut items)?;
                    if count == 0 {
                        break;
                    }
                    for _ in 0..count {
                        item.read(cursor, plan, depth + 1).map_err(|fault| fault.within_item(index))?;
                        index += 1;
                    }
                }
                offsets.push(i32::try_from(item.len()).map_err(|_| TOO_MUCH)?);
            }
            Values::Map { offsets, keys, value } => {
                let mut items = Items::new(false);
                loop {
                    let count = cursor.block(&mut items)?;
                    if count == 0 {
                        break;
                    }
                    for _ in 0..count {
                        let key = cursor.text()?;
                        keys.push(key.as_bytes())?;
                        value.read(cursor, plan, depth + 1).map_err(|fault| fault.within_key(key))?;
                    }
                }
                offsets.push(i32::try_from(keys.len()).map_err(|_| TOO_MUCH)?);
            }
            // All others are read above.
            _ => {}
        }
        if let Some(validity) = &mut self.validity {
            validity.append_non_null();
        }
        Ok(())
    }

    /// Adds a null: an empty value that is marked as not there. Children get one too.
    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int(values) => values.push(0),
            Values::Long(values) | Values::Millis(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Text(bytes)
            | Values::Binary(bytes)
            | Values::Null(bytes)
            | Values::Fixed { bytes, .. }
            | Values::Enum { bytes, .. }
            | Values::Json { bytes, .. } => repeat_last(&mut bytes.ends),
            Values::List { offsets, .. } | Values::Map { offsets, .. } => repeat_last(offsets),
            Values::Struct { length, fields } => {
                *length += 1;
                fields.iter_mut().for_each(Column::push_null);
            }
        }
        // A field that can't be null is, where the record around it is.
        if let Some(validity) = &mut self.validity {
            validity.append_null();
        }
    }

    /// The number of values, of a column whose last value is whole.
    pub(super) fn len(&self) -> usize {
        match &self.values {
            Values::Boolean(values) => values.len(),
            Values::Int(values) => values.len(),
            Values::Long(values) | Values::Millis(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Double(values) => values.len(),
            Values::Decimal { values, .. } => values.len(),
            Values::Text(bytes)
            | Values::Binary(bytes)
            | Values::Null(bytes)
            | Values::Fixed { bytes, .. }
            | Values::Enum { bytes, .. }
            | Values::Json { bytes, .. } => bytes.len(),
            Values::List { offsets, .. } | Values::Map { offsets, .. } => offsets.len() - 1,
            Values::Struct { length, .. } => *length,
        }
    }

    /// Forgets what lies beyond `length` values: a record that turned out not to be one.
    pub(super) fn truncate(&mut self, length: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(length),
            Values::Int(values) => values.truncate(length),
            Values::Long(values) | Values::Millis(values) => values.truncate(length),
            Values::Float(values) => values.truncate(length),
            Values::Double(values) => values.truncate(length),
            Values::Decimal { values, .. } => values.truncate(length),
            Values::Text(bytes)
            | Values::Binary(bytes)
            | Values::Null(bytes)
            | Values::Fixed { bytes, .. }
            | Values::Enum { bytes, .. }
            | Values::Json { bytes, .. } => bytes.truncate(length),
            Values::List { offsets, item, .. } => item.truncate(cut(offsets, length)),
            Values::Map { offsets, keys, value } => {
                let entries = cut(offsets, length);
                keys.truncate(entries);
                value.truncate(entries);
            }
            Values::Struct { length: own, fields } => {
                *own = length.min(*own);
                fields.iter_mut().for_each(|field| field.truncate(length));
            }
        }
        if let Some(validity) = &mut self.validity {
            validity.truncate(length);
        }
    }
}

#[cold]
fn no_branch(index: i64) -> Fault {
    format!("{index} is the number of no branch of the union").into()
}

#[cold]
fn no_symbol(index: i64) -> Fault {
    format!("{index} is the number of no symbol of the enum").into()
}

/// Whether a general union's value, or a null's, is null; nothing is taken from the cursor.
fn nested_is_null(values: &Values, cursor: &Cursor<'_>) -> bool {
    match values {
        Values::Null(_) => true,
        Values::Json { null: Some(null), .. } => {
            let mut ahead = *cursor;
            ahead.long() == Ok(*null)
        }
        _ => false,
    }
}

fn repeat_last(offsets: &mut Vec<i32>) {
    offsets.push(offsets.last().copied().unwrap_or(0));
}

/// Cuts offsets to `length` lists, and returns the items of these.
fn cut(offsets: &mut Vec<i32>, length: usize) -> usize {
    offsets.truncate(length + 1);
    offsets.last().map_or(0, |end| *end as usize)
}
