//! Rows that come one by one, built into batches within limits.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int32Builder, Int64Builder, ListArray, NullBufferBuilder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::columns::Kind;
use crate::error::LoadError;
use crate::source::{COLUMNS_MAX, Limits};

/// Rows of one batch.
const BATCH_ROWS: usize = 65_536;
/// Bytes of one batch, about.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// One value, in the type of its column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Boolean(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    /// Digits without the point.
    Decimal(i128),
    Text(&'a str),
    Binary(&'a [u8]),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970, in UTC or local.
    Timestamp(i64),
}

/// What a column's values are collected in.
pub(crate) enum Builder {
    Boolean(BooleanBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    List(Box<List>),
}

/// A column of lists.
pub(crate) struct List {
    pub(crate) items: Builder,
    item: Arc<Field>,
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
}

impl List {
    /// Ends a list: what was pushed since the last one are its items.
    pub(crate) fn close(&mut self) -> Result<(), &'static str> {
        let end = i32::try_from(self.items.len()).map_err(|_| "lists have more than 2^31 items")?;
        self.offsets.push(end);
        self.valid.append_non_null();
        Ok(())
    }

    fn close_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or_default());
        self.valid.append_null();
    }
}

impl Builder {
    fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
            Kind::Int => Self::Int(Int32Builder::new()),
            Kind::Long => Self::Long(Int64Builder::new()),
            Kind::Float => Self::Float(Float32Builder::new()),
            Kind::Double => Self::Double(Float64Builder::new()),
            Kind::Decimal { .. } => Self::Decimal(Decimal128Builder::new().with_data_type(kind.data_type())),
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Binary => Self::Binary(BinaryBuilder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Timestamp | Kind::LocalTimestamp => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(kind.data_type()))
            }
            Kind::List(item) => Self::List(Box::new(List {
                items: Self::new(item),
                item: Arc::new(Field::new("item", item.data_type(), true)),
                offsets: vec![0],
                valid: NullBufferBuilder::new(BATCH_ROWS),
            })),
        }
    }

    fn len(&self) -> usize {
        use arrow::array::ArrayBuilder;

        match self {
            Self::Boolean(builder) => builder.len(),
            Self::Int(builder) => builder.len(),
            Self::Long(builder) => builder.len(),
            Self::Float(builder) => builder.len(),
            Self::Double(builder) => builder.len(),
            Self::Decimal(builder) => builder.len(),
            Self::Text(builder) => builder.len(),
            Self::Binary(builder) => builder.len(),
            Self::Date(builder) => builder.len(),
            Self::Timestamp(builder) => builder.len(),
            Self::List(list) => list.offsets.len() - 1,
        }
    }

    /// Adds a value.
    ///
    /// # Errors
    /// If the value is of another type than the column; a decoder never gives one.
    pub(crate) fn push(&mut self, cell: Cell<'_>) -> Result<(), &'static str> {
        match (self, cell) {
            (Self::Boolean(builder), Cell::Boolean(value)) => builder.append_value(value),
            (Self::Boolean(builder), Cell::Null) => builder.append_null(),
            (Self::Int(builder), Cell::Int(value)) => builder.append_value(value),
            (Self::Int(builder), Cell::Null) => builder.append_null(),
            (Self::Long(builder), Cell::Long(value)) => builder.append_value(value),
            (Self::Long(builder), Cell::Null) => builder.append_null(),
            (Self::Float(builder), Cell::Float(value)) => builder.append_value(value),
            (Self::Float(builder), Cell::Null) => builder.append_null(),
            (Self::Double(builder), Cell::Double(value)) => builder.append_value(value),
            (Self::Double(builder), Cell::Null) => builder.append_null(),
            (Self::Decimal(builder), Cell::Decimal(value)) => builder.append_value(value),
            (Self::Decimal(builder), Cell::Null) => builder.append_null(),
            (Self::Text(builder), Cell::Text(value)) => builder.append_value(value),
            (Self::Text(builder), Cell::Null) => builder.append_null(),
            (Self::Binary(builder), Cell::Binary(value)) => builder.append_value(value),
            (Self::Binary(builder), Cell::Null) => builder.append_null(),
            (Self::Date(builder), Cell::Date(value)) => builder.append_value(value),
            (Self::Date(builder), Cell::Null) => builder.append_null(),
            (Self::Timestamp(builder), Cell::Timestamp(value)) => builder.append_value(value),
            (Self::Timestamp(builder), Cell::Null) => builder.append_null(),
            (Self::List(list), Cell::Null) => list.close_null(),
            _ => return Err("the value is of another type than its column"),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        let mut array: ArrayRef = match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Long(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Double(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Binary(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
            Self::List(list) => {
                let offsets = OffsetBuffer::new(std::mem::replace(&mut list.offsets, vec![0]).into());
                Arc::new(ListArray::new(Arc::clone(&list.item), offsets, list.items.finish(), list.valid.finish()))
            }
        };
        // Builders double what they hold; a lookup stays in memory.
        array.shrink_to_fit();
        array
    }
}

/// Rows of a source, as far as they have come.
pub(crate) struct Rows {
    place: String,
    limits: Limits,
    columns: SchemaRef,
    pub(crate) builders: Vec<Builder>,
    batches: Vec<RecordBatch>,
    rows: u64,
    bytes: usize,
    pending_rows: usize,
    pending_bytes: usize,
}

impl Rows {
    /// Begins with no rows.
    ///
    /// # Errors
    /// If there are too many columns, or two of one name.
    pub(crate) fn new(place: String, limits: Limits, columns: &[(String, Kind)]) -> Result<Self, LoadError> {
        let schema = schema(&place, columns)?;
        let builders = columns.iter().map(|(_, kind)| Builder::new(kind)).collect();
        let batches = Vec::new();
        let (rows, bytes, pending_rows, pending_bytes) = (0, 0, 0, 0);
        Ok(Self { place, limits, columns: schema, builders, batches, rows, bytes, pending_rows, pending_bytes })
    }

    /// Returns the number of the row that is being built, from 1.
    pub(crate) fn row(&self) -> u64 {
        self.rows + 1
    }

    /// Ends a row of about so many bytes. Each column has got its value.
    ///
    /// # Errors
    /// If the rows are more than the limits allow.
    pub(crate) fn end_row(&mut self, bytes: usize) -> Result<(), LoadError> {
        self.rows += 1;
        self.pending_rows += 1;
        self.pending_bytes += bytes;
        if self.rows > self.limits.rows_max {
            return Err(LoadError::TooManyRows { place: self.place.clone(), rows_max: self.limits.rows_max });
        }
        if (self.bytes + self.pending_bytes) as u64 > self.limits.bytes_max {
            return Err(LoadError::TooLarge { place: self.place.clone(), bytes_max: self.limits.bytes_max });
        }
        if self.pending_rows >= BATCH_ROWS || self.pending_bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LoadError> {
        let columns: Vec<ArrayRef> = self.builders.iter_mut().map(Builder::finish).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.columns), columns)
            .map_err(|source| LoadError::Build { place: self.place.clone(), source })?;
        self.bytes += batch.get_array_memory_size();
        (self.pending_rows, self.pending_bytes) = (0, 0);
        self.batches.push(batch);
        if self.bytes as u64 > self.limits.bytes_max {
            return Err(LoadError::TooLarge { place: self.place.clone(), bytes_max: self.limits.bytes_max });
        }
        Ok(())
    }

    /// Returns the rows; without any, a batch that has the columns.
    ///
    /// # Errors
    /// As of [`Rows::end_row`].
    pub(crate) fn finish(mut self) -> Result<Vec<RecordBatch>, LoadError> {
        if self.pending_rows > 0 || self.batches.is_empty() {
            self.flush()?;
        }
        Ok(self.batches)
    }
}

/// Returns the columns in Arrow. Each may be null: what the source says of its columns now may change.
pub(crate) fn schema(place: &str, columns: &[(String, Kind)]) -> Result<SchemaRef, LoadError> {
    let fields = columns.iter().map(|(name, kind)| Field::new(name, kind.data_type(), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    check_names(place, &schema)?;
    Ok(Arc::new(schema))
}

/// Refuses too many columns, and two of one name.
pub(crate) fn check_names(place: &str, columns: &Schema) -> Result<(), LoadError> {
    if columns.fields().len() > COLUMNS_MAX {
        return Err(LoadError::TooWide { place: place.to_owned(), columns: columns.fields().len() });
    }
    let mut seen = std::collections::HashSet::new();
    match columns.fields().iter().find(|field| !seen.insert(field.name().as_str())) {
        Some(field) => Err(LoadError::Twice { place: place.to_owned(), column: field.name().clone() }),
        None => Ok(()),
    }
}

/// Returns what a batch holds in memory.
pub(crate) fn bytes_of(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.get_array_memory_size() as u64).sum()
}

/// Names a type as errors do.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "long".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 => "string".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        DataType::Timestamp(_, None) => "local_timestamp".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::List(item) => format!("{}[]", type_name(item.data_type())),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(limits: Limits) -> Rows {
        let columns = [("id".to_owned(), Kind::Long), ("tags".to_owned(), Kind::List(Box::new(Kind::Text)))];
        Rows::new("test".to_owned(), limits, &columns).unwrap()
    }

    fn push(rows: &mut Rows, id: i64) -> Result<(), LoadError> {
        rows.builders[0].push(Cell::Long(id)).unwrap();
        if let Builder::List(list) = &mut rows.builders[1] {
            list.items.push(Cell::Text("a")).unwrap();
            list.items.push(Cell::Null).unwrap();
            list.close().unwrap();
        }
        rows.end_row(20)
    }

    #[test]
    fn rows_are_cut_into_batches_and_none_is_lost() {
        let mut rows = rows(Limits::default());
        (0..150_000).for_each(|id| push(&mut rows, id).unwrap());
        let batches = rows.finish().unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [65_536, 65_536, 18_928]);
        let lists = batches[2].column(1).as_any().downcast_ref::<ListArray>().unwrap().clone();
        assert_eq!((lists.value_length(18_927), lists.value(0).null_count()), (2, 1));
    }

    #[test]
    fn rows_beyond_a_limit_are_refused() {
        let mut few = rows(Limits { rows_max: 2, ..Limits::default() });
        push(&mut few, 1).unwrap();
        push(&mut few, 2).unwrap();
        assert!(matches!(push(&mut few, 3), Err(LoadError::TooManyRows { rows_max: 2, .. })));
        let mut small = rows(Limits { bytes_max: 50, ..Limits::default() });
        push(&mut small, 1).unwrap();
        push(&mut small, 2).unwrap();
        assert!(matches!(push(&mut small, 3), Err(LoadError::TooLarge { .. })));
    }

    #[test]
    fn no_rows_still_have_columns() {
        let batches = rows(Limits::default()).finish().unwrap();
        assert_eq!((batches.len(), batches[0].num_rows(), batches[0].num_columns()), (1, 0, 2));
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        assert!(rows(Limits::default()).builders[0].push(Cell::Text("1")).is_err());
    }

    #[test]
    fn two_columns_of_one_name_are_refused() {
        let columns = [("a".to_owned(), Kind::Long), ("a".to_owned(), Kind::Text)];
        let refused = Rows::new("db".to_owned(), Limits::default(), &columns).err().unwrap();
        assert_eq!(refused.to_string(), "`db` has column `a` twice: give one of the two another name");
    }
}
