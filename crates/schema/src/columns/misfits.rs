//! Whether columns can become records, before there are any.

use arrow::datatypes::{DataType, Schema as Columns};

use super::encode::{called, check_cast};
use super::{ColumnError, arrow_schema};
use crate::Schema;
use crate::json::{Plan, Shape};

/// A column, or a field without one, that keeps rows from becoming records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// The schema has no such field.
    Unknown {
        /// The column.
        column: String,
    },
    /// No column has the name of this field, which has neither a default nor null in its type.
    Missing {
        /// The field.
        field: String,
    },
    /// A column's type is not the field's, and is not cast to it.
    Type {
        /// The column.
        column: String,
        /// The column's type.
        found: DataType,
        /// What the field is as a column.
        wanted: DataType,
    },
}

/// Returns what keeps rows of these columns from becoming records of the schema: none, and [`encode_batch`] takes every
/// row whose values fit.
///
/// Stricter than [`encode_batch`] in what would be a guess: text is not read as a number or a time, and a bare number is
/// not taken for a time, since its unit is not known. Null values are not looked for: a column says too often that it
/// may be null.
///
/// # Errors
/// If the schema has no columns.
///
/// [`encode_batch`]: super::encode_batch
pub fn misfits(schema: &Schema, columns: &Columns) -> Result<Vec<Misfit>, ColumnError> {
    let wanted = arrow_schema(schema)?;
    let plan = Plan::new(schema);
    let mut found = Vec::new();
    for column in columns.fields() {
        let field = schema.field_called(column.name()).map_or(column.name().as_str(), |field| field.name.as_str());
        match wanted.field_with_name(field) {
            Err(_) => found.push(Misfit::Unknown { column: column.name().clone() }),
            Ok(field) if !fits(column.data_type(), field.data_type()) => found.push(Misfit::Type {
                column: column.name().clone(),
                found: column.data_type().clone(),
                wanted: field.data_type().clone(),
            }),
            Ok(_) => {}
        }
    }
    if let Shape::Record(shape) = plan.shape(plan.schema.root_id()) {
        for (field, named) in shape.fields.iter().zip(schema.fields()) {
            let column = called(schema, named, |name| columns.field_with_name(name).ok());
            if field.absent.is_none() && column.is_none() {
                found.push(Misfit::Missing { field: field.name.to_string() });
            }
        }
    }
    Ok(found)
}

fn fits(found: &DataType, wanted: &DataType) -> bool {
    let guessed = match (found, wanted) {
        (DataType::Utf8, wanted) => *wanted != DataType::Utf8,
        (found, DataType::Timestamp(..) | DataType::Date32) => found.is_numeric(),
        _ => false,
    };
    !guessed && check_cast(found, wanted).is_ok()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, TimeUnit};

    use super::*;

    const SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [
        {"name": "id", "type": "int"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "note", "type": ["null", "string"], "default": null},
        {"name": "level", "type": "string", "default": "info"}]}"#;

    fn found(columns: &[(&str, DataType)]) -> Vec<Misfit> {
        let fields: Vec<Field> = columns.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect();
        misfits(&Schema::parse(SCHEMA).unwrap(), &Columns::new(fields)).unwrap()
    }

    #[test]
    fn only_fields_without_default_and_null_are_missed() {
        assert_eq!(
            found(&[("id", DataType::Int64)]),
            [Misfit::Missing { field: "at".into() }],
            "a wider integer is cast, and overflows row by row"
        );
    }

    #[test]
    fn what_would_be_a_guess_is_a_misfit() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for (column, of, wanted) in [
            ("id", DataType::Utf8, DataType::Int32),
            ("id", DataType::Float64, DataType::Int32),
            ("at", DataType::Int64, time.clone()),
            ("at", DataType::Boolean, time.clone()),
            ("level", DataType::Struct(vec![Field::new("a", DataType::Utf8, true)].into()), DataType::Utf8),
        ] {
            let mut columns = vec![("id", DataType::Int32), ("at", time.clone())];
            columns.retain(|(name, _)| *name != column);
            columns.push((column, of.clone()));
            assert_eq!(found(&columns), [Misfit::Type { column: column.into(), found: of, wanted }]);
        }
    }

    #[test]
    fn a_column_that_the_schema_lacks_is_named() {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        assert_eq!(
            found(&[("id", DataType::Int32), ("at", time), ("nots", DataType::Utf8)]),
            [Misfit::Unknown { column: "nots".into() }]
        );
    }
}
