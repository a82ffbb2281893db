//! Records as Arrow columns and back: one mapping, for SQL and for tables.
//!
//! | Avro | Arrow |
//! | --- | --- |
//! | boolean, int, long, float, double | Boolean, Int32, Int64, Float32, Float64 |
//! | string, enum, uuid | Utf8 |
//! | bytes, fixed | Binary |
//! | decimal of up to 38 digits | Decimal128; of more, it is refused |
//! | date | Date32 |
//! | time-millis, time-micros | Int32, Int64: the number itself, since Delta has no time of day |
//! | timestamp-millis, -micros | Timestamp(Microsecond, "UTC") |
//! | local-timestamp-millis, -micros | Timestamp(Microsecond) |
//! | record, array, map | Struct, List of `element`, Map of `key` and `value` |
//! | union of null and one more | that one, nullable |
//! | null | Utf8, always null |
//! | any other union; a record inside itself | Utf8: the value as JSON, in the form of [`json::write`](crate::json::write) |
//!
//! The builders are our own: see `docs/decisions/0003-schemas-and-records.md` for the numbers.

mod build;
mod column;
mod decode;
mod encode;
mod misfits;
mod past;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, SchemaRef, TimeUnit};
pub use decode::ColumnDecoder;
pub use encode::{EncodedRecords, encode_batch};
pub use misfits::{Misfit, misfits};
pub use past::{Past, past};

use crate::Schema;
use crate::schema::{Kind, Logical, NodeId};

/// A schema that has no columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", place(field))]
pub struct ColumnError {
    /// The field's path with dots, empty for the whole.
    pub field: String,
    /// Why.
    pub reason: String,
}

fn place(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("field `{field}`: ") }
}

/// Returns the columns that a record's fields become.
///
/// # Errors
/// If the schema is not of a record, or has a decimal of more than 38 digits.
pub fn arrow_schema(schema: &Schema) -> Result<SchemaRef, ColumnError> {
    let Kind::Record(record) = &schema.root().kind else {
        let reason = format!("a {} has no columns: only a record has", schema.root().kind.word());
        return Err(ColumnError { field: String::new(), reason });
    };
    let mut mapping = Mapping { schema, open: vec![schema.root_id()] };
    let mut fields = Vec::with_capacity(record.fields.len());
    for field in &record.fields {
        fields.push(mapping.field(&field.name, field.node)?);
    }
    Ok(Arc::new(arrow::datatypes::Schema::new(fields)))
}

/// How a union becomes a column.
pub(crate) enum Branches {
    /// The type of the other branch, nullable.
    Nullable { null: i64, inner: NodeId },
    /// JSON text; null if that branch is taken.
    Json { null: Option<i64> },
}

pub(crate) fn branches(schema: &Schema, branches: &[NodeId]) -> Branches {
    let null = branches.iter().position(|branch| matches!(schema.node(*branch).kind, Kind::Null));
    match (null, branches) {
        (Some(null), [a, b]) => Branches::Nullable { null: null as i64, inner: if null == 0 { *b } else { *a } },
        _ => Branches::Json { null: null.map(|null| null as i64) },
    }
}

struct Mapping<'a> {
    schema: &'a Schema,
    /// The records around us.
    open: Vec<NodeId>,
}

impl Mapping<'_> {
    fn field(&mut self, name: &str, id: NodeId) -> Result<Field, ColumnError> {
        let (data_type, nullable) = self.data_type(id).map_err(|mut error| {
            error.field = if error.field.is_empty() { name.to_owned() } else { format!("{name}.{}", error.field) };
            error
        })?;
        Ok(Field::new(name, data_type, nullable))
    }

    fn data_type(&mut self, id: NodeId) -> Result<(DataType, bool), ColumnError> {
        let node = self.schema.node(id);
        let data_type = match &node.kind {
            Kind::Null => return Ok((DataType::Utf8, true)),
            Kind::Union(of) => match branches(self.schema, of) {
                Branches::Nullable { inner, .. } => return Ok((self.data_type(inner)?.0, true)),
                Branches::Json { null } => return Ok((DataType::Utf8, null.is_some())),
            },
            Kind::Record(_) if self.open.contains(&id) => DataType::Utf8,
            Kind::Record(record) => {
                self.open.push(id);
                let fields = record.fields.iter().map(|field| self.field(&field.name, field.node));
                let fields = fields.collect::<Result<Vec<_>, _>>();
                self.open.pop();
                DataType::Struct(Fields::from(fields?))
            }
            Kind::Array(items) => DataType::List(Arc::new(self.field("element", *items)?)),
            Kind::Map(values) => {
                let entries = vec![Field::new("key", DataType::Utf8, false), self.field("value", *values)?];
                let entries = Field::new("key_value", DataType::Struct(Fields::from(entries)), false);
                DataType::Map(Arc::new(entries), false)
            }
            kind => scalar(kind, node.logical)?,
        };
        Ok((data_type, false))
    }
}

fn scalar(kind: &Kind, logical: Option<Logical>) -> Result<DataType, ColumnError> {
    Ok(match (kind, logical) {
        (_, Some(Logical::Decimal { precision, scale })) => match u8::try_from(precision) {
            Ok(precision) if precision <= 38 => DataType::Decimal128(precision, scale as i8),
            _ => {
                let reason = format!("a decimal of {precision} digits has no column: 38 are the most");
                return Err(ColumnError { field: String::new(), reason });
            }
        },
        (_, Some(Logical::Date)) => DataType::Date32,
        (_, Some(Logical::TimestampMillis | Logical::TimestampMicros)) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        (_, Some(Logical::LocalTimestampMillis | Logical::LocalTimestampMicros)) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        (Kind::Boolean, _) => DataType::Boolean,
        (Kind::Int, _) => DataType::Int32,
        (Kind::Long, _) => DataType::Int64,
        (Kind::Float, _) => DataType::Float32,
        (Kind::Double, _) => DataType::Float64,
        (Kind::Bytes | Kind::Fixed(_), _) => DataType::Binary,
        _ => DataType::Utf8,
    })
}
