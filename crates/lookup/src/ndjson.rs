//! Reference tables in NDJSON: an object per line; types are told by all values.
//!
//! Numbers are long where all of a column's are whole, and double otherwise; a column of numbers and texts is text. Objects
//! and arrays keep their form. Invariant: nothing is lost by the choice: a whole number beyond 64 bits is refused, and
//! where one field holds objects and scalars both, so is the file.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema_from_iterator;
use bytes::Bytes;
use serde_json::Value;

use crate::error::LoadError;
use crate::rows::bytes_of;
use crate::source::Limits;

/// Rows of one batch.
const BATCH_ROWS: usize = 65_536;

/// Reads the rows of some files, which are named for errors.
pub(crate) fn read(files: &[(String, Bytes)], place: &str, limits: Limits) -> Result<Vec<RecordBatch>, LoadError> {
    let mut wrong = None;
    let mut rows = 0;
    let lines = files.iter().flat_map(|(place, bytes)| {
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        lines.filter(|(_, line)| !line.trim_ascii().is_empty()).map(move |(index, line)| (place, index + 1, line))
    });
    let objects = lines.map_while(|(place, number, line)| {
        rows += 1;
        match object(line) {
            _ if rows > limits.rows_max => {
                wrong = Some(LoadError::TooManyRows { place: place.clone(), rows_max: limits.rows_max });
                None
            }
            Ok(object) => Some(Ok::<_, ArrowError>(object)),
            Err(reason) => {
                wrong = Some(LoadError::Json { place: place.clone(), reason: format!("line {number}: {reason}") });
                None
            }
        }
    });
    let inferred = infer_json_schema_from_iterator(objects);
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let json = |reason: String| LoadError::Json { place: place.to_owned(), reason };
    let inferred = inferred.map_err(|error| json(told(&error)))?;
    let columns: SchemaRef = Arc::new(Schema::new(inferred.fields().iter().map(without_null).collect::<Vec<_>>()));
    let mut batches = Vec::new();
    for (place, bytes) in files {
        let reader = ReaderBuilder::new(columns.clone()).with_batch_size(BATCH_ROWS).with_coerce_primitive(true);
        let wrong = |error: ArrowError| LoadError::Json { place: place.clone(), reason: told(&error) };
        for batch in reader.build(Cursor::new(bytes)).map_err(wrong)? {
            batches.push(batch.map_err(wrong)?);
            if bytes_of(&batches) > limits.bytes_max {
                return Err(LoadError::TooLarge { place: place.clone(), bytes_max: limits.bytes_max });
            }
        }
    }
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(columns));
    }
    Ok(batches)
}

fn told(error: &ArrowError) -> String {
    match error {
        ArrowError::JsonError(reason) => reason.clone(),
        other => other.to_string(),
    }
}

fn object(line: &[u8]) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        // The parser counts lines of its own, of which there is one.
        let text = error.to_string();
        text.split_once(" at line ")
            .map_or(text.clone(), |(reason, _)| format!("{reason} at column {}", error.column()))
    })?;
    match &value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if has_huge_number(value) {
                    return Err(format!("`{name}` has a whole number beyond 64 bits; write it in quotes"));
                }
            }
            Ok(value)
        }
        _ => Err("it is no object".to_owned()),
    }
}

fn has_huge_number(value: &Value) -> bool {
    match value {
        // A whole number beyond both forms of 64 bits has become a double, as whole as it is.
        Value::Number(number) => match number.as_f64() {
            Some(double) if number.is_f64() => double.fract() == 0.0 && double.abs() >= i64::MAX as f64,
            _ => !number.is_i64(),
        },
        Value::Array(items) => items.iter().any(has_huge_number),
        Value::Object(fields) => fields.values().any(has_huge_number),
        _ => false,
    }
}

/// What is null in every row is text, as in CSV.
fn without_null(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Null => DataType::Utf8,
        DataType::List(item) => DataType::List(without_null(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(without_null).collect()),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<RecordBatch, LoadError> {
        let files = [("a.ndjson".to_owned(), Bytes::copy_from_slice(text.as_bytes()))];
        read(&files, "a.ndjson", Limits { rows_max: 3, ..Limits::default() }).map(|mut batches| batches.remove(0))
    }

    #[test]
    fn types_are_told_by_all_values() {
        let text = "{\"i\":1,\"f\":1,\"s\":\"x\",\"m\":1,\"n\":null,\"l\":[1],\"o\":{\"a\":true}}\n\n\
                    {\"i\":-2,\"f\":1.5,\"m\":\"x\",\"late\":1}\r\n";
        let batch = read_text(text).unwrap();
        let schema = batch.schema();
        let types: Vec<String> = schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
        assert_eq!(batch.num_rows(), 2);
        for wanted in ["i Int64", "f Float64", "s Utf8", "m Utf8", "n Utf8", "late Int64"] {
            assert!(types.iter().any(|found| found == wanted), "{wanted} in {types:?}");
        }
        assert!(matches!(schema.field_with_name("l").unwrap().data_type(), DataType::List(_)));
        assert!(matches!(schema.field_with_name("o").unwrap().data_type(), DataType::Struct(_)));
    }

    #[test]
    fn errors_name_the_line() {
        let error = |text: &str| read_text(text).unwrap_err().to_string();
        assert!(error("{\"a\":1}\n{\"a\":\n").contains("line 2: EOF"), "{}", error("{\"a\":1}\n{\"a\":\n"));
        assert!(error("[1]\n").contains("line 1: it is no object"));
        assert!(error("{\"a\":18446744073709551615}\n").contains("line 1: `a` has a whole number beyond 64 bits"));
        assert!(error("{\"a\":1e30}\n{\"a\":100000000000000000000000}\n").contains("beyond 64 bits"));
        assert!(matches!(read_text(&"{\"a\":1}\n".repeat(4)), Err(LoadError::TooManyRows { rows_max: 3, .. })));
    }
}
