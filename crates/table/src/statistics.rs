//! Statistics of a data file, as the Delta log has them: so that readers skip files without opening them.
//!
//! They are taken from the row groups that Parquet's writer has just described. Source of the form: the Delta protocol,
//! "Per-file Statistics": nulls per column, least and greatest values of columns that have an order, timestamps cut to
//! milliseconds.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, StructArray};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, TimeUnit};
use chrono::DateTime;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics as Chunk;

use crate::time::DAY_US;

/// Columns that get statistics: Delta's default. The event time gets them wherever it stands.
pub(crate) const INDEXED_COLUMNS: usize = 32;

/// One end of a column's range.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(crate) enum Value {
    Int(i64),
    Float(f64),
    Text(String),
    Day(i32),
    Micros(i64),
}

/// What is known of one column.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Column {
    pub(crate) nulls: Option<i64>,
    pub(crate) range: Option<(Value, Value)>,
}

/// What is known of one file: per top-level column, in the table's order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Statistics {
    columns: Vec<Column>,
}

impl Statistics {
    /// Reads them from a finished file's footer.
    pub(crate) fn of(schema: &Schema, metadata: &ParquetMetaData) -> Self {
        let mut columns = Vec::with_capacity(schema.fields().len());
        let mut leaf = 0;
        for field in schema.fields() {
            let leaves = leaves(field.data_type());
            columns.push(if field.data_type().is_nested() { Column::default() } else { column(field, metadata, leaf) });
            leaf += leaves;
        }
        Self { columns }
    }

    /// Reads them from the footer of a file that has the columns of `has`, for a table that has those of `columns`: of what
    /// the file lacks nothing is known.
    pub(crate) fn by_name(columns: &Schema, has: &Schema, metadata: &ParquetMetaData) -> Self {
        let found = Self::of(has, metadata).columns;
        let of = |field: &Arc<Field>| has.index_of(field.name()).ok().and_then(|index| found.get(index).cloned());
        Self { columns: columns.fields().iter().map(|field| of(field).unwrap_or_default()).collect() }
    }

    /// Returns the event times' range in microseconds.
    pub(crate) fn times(&self, schema: &Schema, column: &str) -> Option<(i64, i64)> {
        let index = schema.index_of(column).ok()?;
        let (least, most) = self.columns.get(index)?.range.as_ref()?;
        Some((least.to_micros()?, most.to_micros()?))
    }
}

impl Value {
    /// Returns the microseconds that an event time stands for.
    fn to_micros(&self) -> Option<i64> {
        match self {
            Self::Int(millis) => Some(millis.saturating_mul(1000)),
            Self::Day(day) => Some(i64::from(*day) * DAY_US),
            Self::Micros(micros) => Some(*micros),
            Self::Float(_) | Self::Text(_) => None,
        }
    }
}

/// Returns the ends of a row group's event times in microseconds; none if they are not known, or some are null.
pub(crate) fn times_of_group(event_time: &Field, group: &RowGroupMetaData) -> Option<(i64, i64)> {
    let path = |column: &&ColumnChunkMetaData| {
        let parts = column.column_path().parts();
        parts.len() == 1 && parts[0] == *event_time.name()
    };
    let chunk = group.columns().iter().find(path)?.statistics()?;
    if chunk.null_count_opt() != Some(0) {
        return None;
    }
    let (least, most) = ends(event_time.data_type(), chunk)?;
    Some((least.to_micros()?, most.to_micros()?))
}

/// Returns which of a file's leaf columns a plain top-level column is.
pub(crate) fn leaf_of(schema: &Schema, column: &str) -> Option<usize> {
    let index = schema.index_of(column).ok()?;
    let before = &schema.fields()[..index];
    (!schema.field(index).data_type().is_nested()).then(|| before.iter().map(|field| leaves(field.data_type())).sum())
}

fn leaves(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        DataType::List(item) => leaves(item.data_type()),
        DataType::Map(entries, _) => leaves(entries.data_type()),
        _ => 1,
    }
}

fn column(field: &Field, metadata: &ParquetMetaData, leaf: usize) -> Column {
    let mut nulls = Some(0i64);
    let mut range: Option<(Value, Value)> = None;
    let mut whole = true;
    for group in metadata.row_groups() {
        let Some(chunk) = group.columns().get(leaf).and_then(|column| column.statistics()) else {
            return Column::default();
        };
        let count = chunk.null_count_opt().and_then(|count| i64::try_from(count).ok());
        nulls = nulls.zip(count).map(|(a, b)| a + b);
        match ends(field.data_type(), chunk) {
            Some((least, most)) => {
                range = Some(match range {
                    None => (least, most),
                    Some((low, high)) => (if least < low { least } else { low }, if most > high { most } else { high }),
                });
            }
            // A row group of nulls has no range, and hides nothing.
            None => whole &= count.is_some_and(|count| count == group.num_rows()),
        }
    }
    Column { nulls, range: range.filter(|_| whole) }
}

fn ends(data_type: &DataType, chunk: &Chunk) -> Option<(Value, Value)> {
    match (data_type, chunk) {
        (DataType::Int8 | DataType::Int16 | DataType::Int32, Chunk::Int32(c)) => {
            Some((Value::Int((*c.min_opt()?).into()), Value::Int((*c.max_opt()?).into())))
        }
        (DataType::Int64, Chunk::Int64(c)) => Some((Value::Int(*c.min_opt()?), Value::Int(*c.max_opt()?))),
        (DataType::Date32, Chunk::Int32(c)) => Some((Value::Day(*c.min_opt()?), Value::Day(*c.max_opt()?))),
        (DataType::Timestamp(TimeUnit::Microsecond, _), Chunk::Int64(c)) => {
            Some((Value::Micros(*c.min_opt()?), Value::Micros(*c.max_opt()?)))
        }
        // Infinity is no number in JSON.
        (DataType::Float32, Chunk::Float(c)) => finite((*c.min_opt()?).into(), (*c.max_opt()?).into()),
        (DataType::Float64, Chunk::Double(c)) => finite(*c.min_opt()?, *c.max_opt()?),
        (DataType::Utf8, Chunk::ByteArray(c)) => {
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(|text| Value::Text(text.to_owned()));
            Some((text(c.min_opt()?.data())?, text(c.max_opt()?.data())?))
        }
        _ => None,
    }
}

fn finite(least: f64, most: f64) -> Option<(Value, Value)> {
    (least.is_finite() && most.is_finite()).then_some((Value::Float(least), Value::Float(most)))
}

/// Returns the `stats` column of files that are being added: a struct that becomes JSON.
pub(crate) fn to_array(schema: &Schema, event_time: Option<&str>, files: &[(u64, &Statistics)]) -> StructArray {
    let rows: ArrayRef = Arc::new(files.iter().map(|(rows, _)| i64::try_from(*rows).ok()).collect::<Int64Array>());
    let tight: ArrayRef = Arc::new(files.iter().map(|_| Some(true)).collect::<BooleanArray>());
    let mut nulls = Vec::new();
    let (mut least, mut most) = (Vec::new(), Vec::new());
    for (index, field) in schema.fields().iter().enumerate() {
        if index >= INDEXED_COLUMNS && event_time != Some(field.name().as_str()) || field.data_type().is_nested() {
            continue;
        }
        let columns: Vec<Option<&Column>> = files.iter().map(|(_, statistics)| statistics.columns.get(index)).collect();
        let counts: Int64Array = columns.iter().map(|column| column.and_then(|column| column.nulls)).collect();
        nulls.push((Arc::new(Field::new(field.name(), DataType::Int64, true)), Arc::new(counts) as ArrayRef));
        let range = |pick: fn(&(Value, Value)) -> &Value| {
            columns.iter().map(|column| column.and_then(|column| column.range.as_ref()).map(pick)).collect::<Vec<_>>()
        };
        if let (Some(low), Some(high)) = (
            ends_array(field.data_type(), &range(|ends| &ends.0)),
            ends_array(field.data_type(), &range(|ends| &ends.1)),
        ) {
            least.push((Arc::new(Field::new(field.name(), low.data_type().clone(), true)), low));
            most.push((Arc::new(Field::new(field.name(), high.data_type().clone(), true)), high));
        }
    }
    let mut columns = vec![(Arc::new(Field::new("numRecords", DataType::Int64, true)), rows)];
    for (name, children) in [("minValues", least), ("maxValues", most), ("nullCount", nulls)] {
        if !children.is_empty() {
            let array: ArrayRef = Arc::new(StructArray::from(children));
            columns.push((Arc::new(Field::new(name, array.data_type().clone(), true)), array));
        }
    }
    columns.push((Arc::new(Field::new("tightBounds", DataType::Boolean, true)), tight));
    StructArray::from(columns)
}

fn ends_array(data_type: &DataType, ends: &[Option<&Value>]) -> Option<ArrayRef> {
    Some(match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let int = |end: &Option<&Value>| if let Some(Value::Int(int)) = end { Some(*int) } else { None };
            Arc::new(ends.iter().map(int).collect::<Int64Array>())
        }
        DataType::Float32 | DataType::Float64 => {
            let float = |end: &Option<&Value>| if let Some(Value::Float(float)) = end { Some(*float) } else { None };
            Arc::new(ends.iter().map(float).collect::<Float64Array>())
        }
        DataType::Utf8 | DataType::Date32 | DataType::Timestamp(..) => {
            Arc::new(ends.iter().map(|end| end.and_then(|end| text(data_type, end))).collect::<StringArray>())
        }
        _ => return None,
    })
}

fn text(data_type: &DataType, end: &Value) -> Option<String> {
    match end {
        Value::Text(text) => Some(text.clone()),
        Value::Day(day) => Date32Type::to_naive_date_opt(*day).map(|day| day.to_string()),
        Value::Micros(micros) => {
            // Cut, not rounded, at both ends: readers expect the greatest value to be short by less than a millisecond.
            let zone = if matches!(data_type, DataType::Timestamp(_, Some(_))) { "Z" } else { "" };
            let time = DateTime::from_timestamp_millis(micros.div_euclid(1000))?;
            Some(format!("{}{zone}", time.format("%Y-%m-%dT%H:%M:%S%.3f")))
        }
        Value::Int(_) | Value::Float(_) => None,
    }
}

/// What a file's `stats` in the Delta log say: its rows, and its event times in microseconds, rounded outwards.
pub(crate) fn parse(stats: &str, event_time: Option<&str>) -> (Option<u64>, Option<(i64, i64)>) {
    let Ok(stats) = serde_json::from_str::<serde_json::Value>(stats) else { return (None, None) };
    let rows = stats.get("numRecords").and_then(serde_json::Value::as_u64);
    let end = |ends: &str| stats.get(ends)?.get(event_time?).and_then(micros);
    let times = end("minValues").zip(end("maxValues")).map(|((low, _), (_, high))| (low, high));
    (rows, times)
}

/// Returns the microseconds that a value in the log may stand for.
fn micros(value: &serde_json::Value) -> Option<(i64, i64)> {
    if let Some(millis) = value.as_i64() {
        let micros = millis.saturating_mul(1000);
        return Some((micros, micros));
    }
    let text = value.as_str()?;
    if let Ok(day) = text.parse::<chrono::NaiveDate>() {
        let micros = i64::from(Date32Type::from_naive_date(day)) * DAY_US;
        return Some((micros, micros));
    }
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_micros()).or_else(|_| {
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
            .map(|time| time.and_utc().timestamp_micros())
    });
    time.ok().map(|micros| (micros, micros.saturating_add(999)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_the_log_are_read_outwards() {
        let stats = r#"{"numRecords":7,"minValues":{"at":"2013-01-01T05:00:00.001Z"},"maxValues":{"at":"2013-01-01T06:00:00.002Z"}}"#;
        let (rows, times) = parse(stats, Some("at"));
        assert_eq!(rows, Some(7));
        assert_eq!(times, Some((1_357_016_400_001_000, 1_357_020_000_002_999)));
        assert_eq!(parse(stats, None), (Some(7), None));
        let stats = r#"{"minValues":{"at":"2013-01-01"},"maxValues":{"at":"2013-01-02"}}"#;
        assert_eq!(parse(stats, Some("at")).1, Some((1_356_998_400_000_000, 1_357_084_800_000_000)));
        let stats = r#"{"minValues":{"at":"2013-01-01T05:00:00"},"maxValues":{"at":"2013-01-01T06:00:00"}}"#;
        assert_eq!(parse(stats, Some("at")).1, Some((1_357_016_400_000_000, 1_357_020_000_000_999)));
        assert_eq!(parse("damaged", Some("at")), (None, None));
    }
}
