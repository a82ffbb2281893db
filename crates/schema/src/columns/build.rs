//! Columns from a schema, and arrays from columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int32Array, Int64Array, ListArray, MapArray, NullBufferBuilder, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use super::column::{Bytes, Column, Values};
use super::{Branches, branches};
use crate::Schema;
use crate::schema::{Kind, Logical, NodeId};

/// Makes an empty column for a type; `field` is what [`arrow_schema`](super::arrow_schema) made of it.
pub(super) fn column(schema: &Schema, id: NodeId, field: &Field) -> Column {
    let node = schema.node(id);
    let (null, id) = match &node.kind {
        Kind::Union(of) => match branches(schema, of) {
            Branches::Nullable { null, inner } => (Some(null), inner),
            Branches::Json { .. } => (None, id),
        },
        _ => (None, id),
    };
    Column {
        name: field.name().as_str().into(),
        null,
        validity: field.is_nullable().then(|| NullBufferBuilder::new(0)),
        values: values(schema, id, field.data_type()),
    }
}

fn values(schema: &Schema, id: NodeId, data_type: &DataType) -> Values {
    let node = schema.node(id);
    match (&node.kind, node.logical, data_type) {
        (Kind::Bytes, Some(Logical::Decimal { precision, .. }), _) => {
            Values::Decimal { values: Vec::new(), size: None, precision }
        }
        (Kind::Fixed(fixed), Some(Logical::Decimal { precision, .. }), _) => {
            Values::Decimal { values: Vec::new(), size: Some(fixed.size), precision }
        }
        (Kind::Long, Some(Logical::TimestampMillis | Logical::LocalTimestampMillis), _) => Values::Millis(Vec::new()),
        (Kind::Null, ..) => Values::Null(Bytes::new()),
        (Kind::Boolean, ..) => Values::Boolean(BooleanBufferBuilder::new(0)),
        (Kind::Int, ..) => Values::Int(Vec::new()),
        (Kind::Long, ..) => Values::Long(Vec::new()),
        (Kind::Float, ..) => Values::Float(Vec::new()),
        (Kind::Double, ..) => Values::Double(Vec::new()),
        (Kind::Bytes, ..) => Values::Binary(Bytes::new()),
        (Kind::String, ..) => Values::Text(Bytes::new()),
        (Kind::Fixed(fixed), ..) => Values::Fixed { size: fixed.size, bytes: Bytes::new() },
        (Kind::Enum(symbols), ..) => {
            let symbols = symbols.symbols.iter().map(|symbol| symbol.as_str().into()).collect();
            Values::Enum { symbols, bytes: Bytes::new() }
        }
        (Kind::Record(record), _, DataType::Struct(of)) => {
            let fields = record.fields.iter().zip(of).map(|(field, of)| column(schema, field.node, of)).collect();
            Values::Struct { length: 0, fields }
        }
        (Kind::Array(items), _, DataType::List(of)) => Values::List {
            offsets: vec![0],
            item: Box::new(column(schema, *items, of)),
            empty: schema.node(*items).empty,
        },
        (Kind::Map(values), _, DataType::Map(of, _)) => {
            // `arrow_schema` gives a map's entries a key and a value.
            let value = match of.data_type() {
                DataType::Struct(of) => column(schema, *values, &of[1]),
                _ => column(schema, *values, of),
            };
            Values::Map { offsets: vec![0], keys: Bytes::new(), value: Box::new(value) }
        }
        (kind, ..) => {
            let null = match kind {
                Kind::Union(of) => match branches(schema, of) {
                    Branches::Nullable { null, .. } => Some(null),
                    Branches::Json { null } => null,
                },
                _ => None,
            };
            Values::Json { node: id, null, bytes: Bytes::new() }
        }
    }
}

impl Column {
    /// Makes an array of the values, and leaves the column empty.
    pub(super) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let nulls = self.validity.as_mut().and_then(NullBufferBuilder::finish);
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values) => {
                let values = ScalarBuffer::from(take(values));
                match data_type {
                    DataType::Date32 => Arc::new(Date32Array::try_new(values, nulls)?),
                    _ => Arc::new(Int32Array::try_new(values, nulls)?),
                }
            }
            Values::Long(values) | Values::Millis(values) => {
                let values = ScalarBuffer::from(take(values));
                match data_type {
                    DataType::Timestamp(_, zone) => {
                        Arc::new(TimestampMicrosecondArray::try_new(values, nulls)?.with_timezone_opt(zone.clone()))
                    }
                    _ => Arc::new(Int64Array::try_new(values, nulls)?),
                }
            }
            Values::Float(values) => Arc::new(Float32Array::try_new(ScalarBuffer::from(take(values)), nulls)?),
            Values::Double(values) => Arc::new(Float64Array::try_new(ScalarBuffer::from(take(values)), nulls)?),
            Values::Decimal { values, .. } => {
                let array = Decimal128Array::try_new(ScalarBuffer::from(take(values)), nulls)?;
                Arc::new(array.with_data_type(data_type.clone()))
            }
            Values::Text(bytes) | Values::Enum { bytes, .. } | Values::Json { bytes, .. } | Values::Null(bytes) => {
                let (offsets, bytes) = bytes.take();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Values::Binary(bytes) | Values::Fixed { bytes, .. } => {
                let (offsets, bytes) = bytes.take();
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Values::List { offsets, item, .. } => {
                let DataType::List(field) = data_type else { return Err(mismatch(data_type)) };
                let items = item.finish(field.data_type())?;
                Arc::new(ListArray::try_new(field.clone(), take_offsets(offsets), items, nulls)?)
            }
            Values::Map { offsets, keys, value } => {
                let DataType::Map(field, sorted) = data_type else { return Err(mismatch(data_type)) };
                let DataType::Struct(of) = field.data_type() else { return Err(mismatch(data_type)) };
                let (ends, bytes) = keys.take();
                let keys: ArrayRef = Arc::new(StringArray::try_new(ends, bytes, None)?);
                let values = value.finish(of[1].data_type())?;
                let entries = StructArray::try_new(of.clone(), vec![keys, values], None)?;
                Arc::new(MapArray::try_new(field.clone(), take_offsets(offsets), entries, nulls, *sorted)?)
            }
            Values::Struct { length, fields } => {
                let DataType::Struct(of) = data_type else { return Err(mismatch(data_type)) };
                let mut arrays = Vec::with_capacity(fields.len());
                for (column, field) in fields.iter_mut().zip(of) {
                    arrays.push(column.finish(field.data_type())?);
                }
                let length = std::mem::take(length);
                Arc::new(StructArray::try_new_with_length(of.clone(), arrays, nulls, length)?)
            }
        })
    }
}

fn mismatch(data_type: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a column of {data_type} was built as another type"))
}

/// Takes the values, and leaves room for as many: the next batch is likely as long.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room)
}

fn take_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let taken = take(offsets);
    offsets.push(0);
    // Offsets begin with 0 and only grow: the one way they are written.
    OffsetBuffer::new(ScalarBuffer::from(taken))
}

impl Bytes {
    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        (take_offsets(&mut self.ends), Buffer::from_vec(take(&mut self.bytes)))
    }
}
