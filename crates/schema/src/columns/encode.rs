//! Batches, such as functions return them, into records.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::record_batch::RecordBatch;

use super::{Branches, arrow_schema, branches};
use crate::binary::{write_bytes, write_long};
use crate::json::{Plan, Shape, State, encode_value, unknown_symbol, write_decimal};
use crate::schema::{Field, NodeId};
use crate::text::{self, Unit};
use crate::{Fault, RecordError, Schema};

/// Records one after another in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodedRecords {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl EncodedRecords {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the records in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// Turns each row of a batch into a record. Columns are found by name; types that are not the mapping's are cast: what
/// overflows is an error, and so is a column of floats where whole numbers, decimals or times are wanted; times finer than
/// microseconds are cut to these. Whole numbers where a timestamp is wanted count the units of the field's own type, as in
/// JSON. A missing column is what a missing field is in JSON; a column that the schema doesn't know is an error.
///
/// # Errors
/// If a column does not fit, or a row does not: the reason names the row, from 1.
pub fn encode_batch(schema: &Schema, batch: &RecordBatch) -> Result<EncodedRecords, RecordError> {
    let wanted = arrow_schema(schema).map_err(|error| RecordError::at(error.field, error.reason))?;
    let plan = Plan::new(schema);
    if let Some(unknown) = batch.schema().fields().iter().find(|field| schema.field_called(field.name()).is_none()) {
        let near = weir_types::nearest(unknown.name(), wanted.fields().iter().map(|field| field.name().as_str()));
        let hint = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        return Err(RecordError::at(unknown.name(), format!("the schema has no field for the column{hint}")));
    }
    let mut taken = HashSet::new();
    let names = batch.schema_ref().fields().iter().filter_map(|column| schema.field_called(column.name()));
    if let Some(twice) = names.map(|field| field.name.as_str()).find(|name| !taken.insert(*name)) {
        return Err(RecordError::at(twice, "two columns are called by its names"));
    }
    let mut columns = Vec::with_capacity(wanted.fields().len());
    for (field, named) in wanted.fields().iter().zip(schema.fields()) {
        let column = called(schema, named, |name| batch.column_by_name(name));
        columns.push(
            column
                .map(|column| fit(&plan, named.node, column, field.data_type()))
                .transpose()
                .map_err(|reason| RecordError::at(field.name(), reason))?,
        );
    }
    let mut writer = Writer { state: State::new(&plan), plan: &plan };
    let mut records = EncodedRecords::default();
    for row in 0..batch.num_rows() {
        let result = writer.row(&columns, row, &mut records.bytes);
        result.map_err(|mut fault| {
            fault.reason = format!("row {}: {}", row + 1, fault.reason);
            *fault
        })?;
        records.ends.push(records.bytes.len());
    }
    Ok(records)
}

/// Finds what is called by a field's name, or else by one that it had.
pub(super) fn called<T>(schema: &Schema, field: &Field, find: impl Fn(&str) -> Option<T>) -> Option<T> {
    let own = |name: &&String| schema.field_called(name).is_some_and(|found| found.name == field.name);
    find(&field.name).or_else(|| field.aliases.iter().filter(own).find_map(|alias| find(alias)))
}

fn fit(plan: &Plan, id: NodeId, column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, String> {
    let found = column.data_type();
    if found == wanted {
        return Ok(column.clone());
    }
    check_cast(found, wanted)?;
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let counted = counted(plan, id, found, wanted);
    let cast = cast_with_options(column, &counted, &options);
    let cast = cast.and_then(|column| cast_with_options(&column, wanted, &options));
    cast.map_err(|source| format!("a column of {found} can't become one of {wanted}: {source}"))
}

/// Returns the type that a column of bare numbers is, by the units of the schema's timestamps. A cast alone would take each
/// number for microseconds, as which columns have all times.
fn counted(plan: &Plan, id: NodeId, found: &DataType, wanted: &DataType) -> DataType {
    match (plan.shape(id), found, wanted) {
        (Shape::Nullable { inner, .. }, ..) => counted(plan, *inner, found, wanted),
        (Shape::Timestamp(Unit::Millis, _), found, DataType::Timestamp(_, zone)) if found.is_integer() => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        (Shape::Array { items }, DataType::List(from), DataType::List(to)) => {
            let of = counted(plan, *items, from.data_type(), to.data_type());
            DataType::List(Arc::new(to.as_ref().clone().with_data_type(of)))
        }
        (Shape::Record(shape), DataType::Struct(from), DataType::Struct(to)) => {
            let fields = shape.fields.iter().zip(to).map(|(field, to)| match from.find(to.name()) {
                Some((_, from)) => {
                    let of = counted(plan, field.node, from.data_type(), to.data_type());
                    Arc::new(to.as_ref().clone().with_data_type(of))
                }
                None => to.clone(),
            });
            DataType::Struct(fields.collect())
        }
        _ => wanted.clone(),
    }
}

/// Tells whether columns of one type are cast to another, whatever their values.
pub(super) fn check_cast(found: &DataType, wanted: &DataType) -> Result<(), String> {
    if found.is_floating() && (wanted.is_integer() || wanted.is_decimal() || wanted.is_temporal()) {
        return Err(format!("a column of {found} would lose its fractions as {wanted}: round and cast it first"));
    }
    if found != wanted && !can_cast_types(found, wanted) {
        return Err(format!("a column of {found} can't become one of {wanted}"));
    }
    Ok(())
}

struct Writer<'a> {
    plan: &'a Plan,
    state: State,
}

impl Writer<'_> {
    fn row(&mut self, columns: &[Option<ArrayRef>], row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let plan = self.plan;
        let Shape::Record(shape) = plan.shape(plan.schema.root_id()) else { return Ok(()) };
        let start = out.len();
        for (field, column) in shape.fields.iter().zip(columns) {
            match column {
                Some(column) => self.value(field.node, column, row, out),
                None => match &field.absent {
                    Some(absent) => {
                        out.extend_from_slice(absent);
                        Ok(())
                    }
                    None => Err("there is no such column, and the field has neither a default nor null".into()),
                },
            }
            .map_err(|fault| fault.within_field(&field.name))?;
        }
        let bytes = out.len() - start;
        if bytes > weir_types::limits::RECORD_BYTES_MAX {
            return Err(format!("the record takes {bytes} bytes as Avro, and that is more than allowed").into());
        }
        Ok(())
    }

    fn value(&mut self, id: NodeId, array: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let plan = self.plan;
        let is_null = array.is_null(row);
        match plan.shape(id) {
            Shape::Nullable { null, branch, inner } => {
                if is_null {
                    out.push(null * 2);
                    return Ok(());
                }
                out.push(branch * 2);
                return self.value(*inner, array, row, out);
            }
            Shape::Union { branches: of, .. } => {
                let null = match branches(&plan.schema, of) {
                    Branches::Nullable { null, .. } => Some(null),
                    Branches::Json { null } => null,
                };
                if let (true, Some(null)) = (is_null, null) {
                    write_long(null, out);
                    return Ok(());
                }
            }
            Shape::Null => {
                return if is_null { Ok(()) } else { Err("the field is always null, and the value is not".into()) };
            }
            _ => {}
        }
        if is_null {
            return Err("the value is null, and the field's type does not allow that".into());
        }
        match plan.shape(id) {
            Shape::Boolean => out.push(u8::from(array.as_boolean().value(row))),
            Shape::Int => write_long(i64::from(array.as_primitive::<Int32Type>().value(row)), out),
            Shape::Date => write_long(i64::from(array.as_primitive::<Date32Type>().value(row)), out),
            Shape::Time(Unit::Millis) => write_long(i64::from(array.as_primitive::<Int32Type>().value(row)), out),
            Shape::Long | Shape::Time(Unit::Micros) => write_long(array.as_primitive::<Int64Type>().value(row), out),
            Shape::Timestamp(unit, _) => {
                let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
                match unit {
                    Unit::Micros => write_long(micros, out),
                    Unit::Millis if micros % 1000 == 0 => write_long(micros / 1000, out),
                    Unit::Millis => {
                        return Err("the timestamp is finer than the type's milliseconds: round it, or give the field the type timestamp-micros".into());
                    }
                }
            }
            Shape::Float => out.extend(array.as_primitive::<Float32Type>().value(row).to_le_bytes()),
            Shape::Double => out.extend(array.as_primitive::<Float64Type>().value(row).to_le_bytes()),
            Shape::String => write_bytes(array.as_string::<i32>().value(row).as_bytes(), out),
            Shape::Uuid => {
                let text = array.as_string::<i32>().value(row);
                if !text::is_uuid(text) {
                    return Err(format!("{} is no uuid", text::quote(text)).into());
                }
                write_bytes(text.as_bytes(), out);
            }
            Shape::Bytes => write_bytes(array.as_binary::<i32>().value(row), out),
            Shape::Fixed(size) => {
                let bytes = array.as_binary::<i32>().value(row);
                if bytes.len() != *size {
                    return Err(format!("the value has {} bytes, and the fixed has {size}", bytes.len()).into());
                }
                out.extend_from_slice(bytes);
            }
            Shape::Decimal { size, .. } => {
                write_decimal(array.as_primitive::<Decimal128Type>().value(row), *size, out)?;
            }
            Shape::Enum { by_symbol } => {
                let text = array.as_string::<i32>().value(row);
                match by_symbol.get(text) {
                    Some(index) => write_long(i64::from(*index), out),
                    None => return Err(unknown_symbol(text, by_symbol.keys().map(AsRef::as_ref))),
                }
            }
            Shape::Array { items } => {
                let list = array.as_list::<i32>().value(row);
                self.block(list.len(), out, |writer, index, out| writer.value(*items, &list, index, out))?;
            }
            Shape::Map { values } => {
                let entries = array.as_map().value(row);
                let (keys, of) = (entries.column(0).as_string::<i32>(), entries.column(1));
                self.block(entries.len(), out, |writer, index, out| {
                    write_bytes(keys.value(index).as_bytes(), out);
                    writer.value(*values, of, index, out).map_err(|fault| fault.within_key(keys.value(index)))
                })?;
            }
            Shape::Record(shape) if matches!(array.data_type(), DataType::Struct(_)) => {
                for (field, column) in shape.fields.iter().zip(array.as_struct().columns()) {
                    self.value(field.node, column, row, out).map_err(|fault| fault.within_field(&field.name))?;
                }
            }
            // JSON text, as the mapping has it.
            Shape::Record(_) | Shape::Union { .. } => {
                self.state.begin();
                encode_value(plan, &mut self.state, id, array.as_string::<i32>().value(row), out)?;
            }
            Shape::Null | Shape::Nullable { .. } => {}
        }
        Ok(())
    }

    fn block(
        &mut self,
        items: usize,
        out: &mut Vec<u8>,
        each: impl Fn(&mut Self, usize, &mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if items > 0 {
            write_long(items as i64, out);
        }
        for index in 0..items {
            each(self, index, out).map_err(|fault| fault.within_item(index as u64))?;
        }
        out.push(0);
        Ok(())
    }
}
