//! The columns of a table: which Arrow types are stored as what, how a schema grows, and how a batch is brought into
//! form.
//!
//! A table stores Delta's types alone. What has an exact equal is converted on the way in (dictionaries, views, large
//! and fixed-size forms, small unsigned integers, timestamps of any unit: Delta's have microseconds, finer ones are
//! rounded down); the rest is refused with the column's name. Every column is nullable, nested ones too, so that a
//! schema only ever grows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use weir_types::TableName;
use weir_types::limits::NESTING_MAX;

use crate::error::{AppendError, GrowError};
use crate::place::{BUCKET_COLUMN, DAY_COLUMN, HOUR_COLUMN};
use crate::spec::SpecError;

const UTC: &str = "UTC";

/// Characters that Parquet names can't have in a Delta table without column mapping.
const FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// Returns the type that a column is stored as, or what to do instead.
pub(crate) fn stored_type(data_type: &DataType) -> Result<DataType, &'static str> {
    stored_at(data_type, 0)
}

fn stored_at(data_type: &DataType, depth: usize) -> Result<DataType, &'static str> {
    use DataType as T;
    if depth > NESTING_MAX {
        return Err("it is nested too deeply: flatten it");
    }
    let list = |item: &FieldRef| stored_item("element", item, depth).map(T::List);
    Ok(match data_type {
        T::Boolean
        | T::Int8
        | T::Int16
        | T::Int32
        | T::Int64
        | T::Float32
        | T::Float64
        | T::Utf8
        | T::Binary
        | T::Date32 => data_type.clone(),
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(20, 0),
        T::Float16 => T::Float32,
        T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Date64 => T::Date32,
        T::Timestamp(_, zone) => T::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| UTC.into())),
        T::Decimal32(precision, scale) | T::Decimal64(precision, scale) | T::Decimal128(precision, scale) => {
            if *scale < 0 {
                return Err("Delta's decimals have no negative scale: cast it to one with scale 0");
            }
            T::Decimal128(*precision, *scale)
        }
        T::Decimal256(..) => return Err("Delta's decimals have at most 38 digits: cast it to decimal(38, s)"),
        T::Dictionary(_, value) => stored_at(value, depth)?,
        T::RunEndEncoded(_, value) => stored_at(value.data_type(), depth)?,
        T::Struct(fields) => T::Struct(stored_fields(fields, depth)?),
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) | T::ListView(item) | T::LargeListView(item) => {
            list(item)?
        }
        T::Map(entries, _) => {
            let T::Struct(fields) = entries.data_type() else { return Err("a map without entries can't be stored") };
            let [key, value] = fields.as_ref() else { return Err("a map without keys and values can't be stored") };
            let key = Arc::new(Field::new("key", stored_at(key.data_type(), depth + 1)?, false));
            let value = stored_item("value", value, depth)?;
            T::Map(Arc::new(Field::new("key_value", T::Struct(vec![key, value].into()), false)), false)
        }
        T::Null => return Err("a column of nulls has no type: cast it, such as `cast(null as varchar)`"),
        T::Time32(_) | T::Time64(_) => return Err("Delta has no time of day: cast it to text, or to a timestamp"),
        T::Duration(_) | T::Interval(_) => return Err("Delta has no lengths of time: cast it to a number"),
        T::Union(..) => return Err("Delta has no unions: make it a struct with a field per variant"),
    })
}

fn stored_item(name: &str, item: &FieldRef, depth: usize) -> Result<FieldRef, &'static str> {
    Ok(Arc::new(Field::new(name, stored_at(item.data_type(), depth + 1)?, true)))
}

fn stored_fields(fields: &Fields, depth: usize) -> Result<Fields, &'static str> {
    fields
        .iter()
        .map(|field| Ok(Arc::new(Field::new(field.name(), stored_at(field.data_type(), depth + 1)?, true))))
        .collect()
}

/// Returns the columns as they are stored.
pub(crate) fn stored_schema(table: &TableName, columns: &Schema) -> Result<SchemaRef, SpecError> {
    check_names(table, columns.fields(), "")?;
    let mut stored = Vec::with_capacity(columns.fields().len());
    for field in columns.fields() {
        let data_type = stored_type(field.data_type()).map_err(|hint| SpecError::ColumnType {
            table: table.clone(),
            column: field.name().clone(),
            data_type: field.data_type().to_string(),
            hint,
        })?;
        stored.push(Field::new(field.name(), data_type, true));
    }
    Ok(Arc::new(Schema::new(stored)))
}

fn check_names(table: &TableName, fields: &Fields, parent: &str) -> Result<(), SpecError> {
    let mut seen = HashSet::new();
    for field in fields {
        let column = format!("{parent}{}", field.name());
        let refuse = |reason| Err(SpecError::ColumnName { table: table.clone(), column: column.clone(), reason });
        if field.name().is_empty() {
            return refuse("a name is empty: give it an alias");
        }
        if field.name().contains(FORBIDDEN) {
            return refuse("Parquet names have no spaces and none of `,;{}()=`: give it an alias");
        }
        if parent.is_empty()
            && [DAY_COLUMN, HOUR_COLUMN, BUCKET_COLUMN].iter().any(|own| own.eq_ignore_ascii_case(field.name()))
        {
            return refuse("`_day`, `_hour` and `_bucket` are the partition columns: give it an alias");
        }
        if !seen.insert(field.name().to_lowercase()) {
            return refuse("another column has this name, or differs in upper and lower case alone: give it an alias");
        }
        match field.data_type() {
            DataType::Struct(fields) => check_names(table, fields, &format!("{column}."))?,
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                if let DataType::Struct(fields) = item.data_type() {
                    check_names(table, fields, &format!("{column}.element."))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A column that a schema is to get: the path of its parent (`element`, `key` and `value` stand for what lists and maps
/// hold), and itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Addition {
    pub(crate) parent: Vec<String>,
    pub(crate) field: FieldRef,
}

/// Returns the columns that `has` needs to hold all of `wants` (both as stored).
pub(crate) fn additions(table: &TableName, has: &Schema, wants: &Schema) -> Result<Vec<Addition>, GrowError> {
    let mut additions = Vec::new();
    grow_fields(table, has.fields(), wants.fields(), &[], &mut additions)?;
    Ok(additions)
}

fn grow_fields(
    table: &TableName,
    has: &Fields,
    wants: &Fields,
    parent: &[String],
    additions: &mut Vec<Addition>,
) -> Result<(), GrowError> {
    for want in wants {
        let Some(held) = has.iter().find(|held| held.name().eq_ignore_ascii_case(want.name())) else {
            additions.push(Addition { parent: parent.to_vec(), field: want.clone() });
            continue;
        };
        let path = [parent, &[want.name().clone()]].concat();
        // Another case of a name would be another column to Arrow, and the same one to Delta.
        if held.name() != want.name() {
            return Err(GrowError::Incompatible {
                table: table.clone(),
                column: path.join("."),
                has: format!("named `{}`", held.name()),
                wants: format!("named `{}`", want.name()),
            });
        }
        grow_type(table, held.data_type(), want.data_type(), &path, additions)?;
    }
    Ok(())
}

fn grow_type(
    table: &TableName,
    has: &DataType,
    wants: &DataType,
    path: &[String],
    additions: &mut Vec<Addition>,
) -> Result<(), GrowError> {
    let under = |name: &str| [path, &[name.to_owned()]].concat();
    match (has, wants) {
        (DataType::Struct(has), DataType::Struct(wants)) => grow_fields(table, has, wants, path, additions),
        (DataType::List(has), DataType::List(wants)) => {
            grow_type(table, has.data_type(), wants.data_type(), &under("element"), additions)
        }
        (DataType::Map(has, _), DataType::Map(wants, _)) => {
            let (DataType::Struct(has), DataType::Struct(wants)) = (has.data_type(), wants.data_type()) else {
                return Ok(());
            };
            for ((has, wants), name) in has.iter().zip(wants).zip(["key", "value"]) {
                grow_type(table, has.data_type(), wants.data_type(), &under(name), additions)?;
            }
            Ok(())
        }
        (has, wants) if has == wants || widens(wants, has) => Ok(()),
        _ => Err(GrowError::Incompatible {
            table: table.clone(),
            column: path.join("."),
            has: has.to_string(),
            wants: wants.to_string(),
        }),
    }
}

/// Whether every value of `from` is a value of `to`.
pub(crate) fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64};
    match (from, to) {
        (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) => true,
        (Int8 | Int16, Float32) | (Int8 | Int16 | Int32 | Float32, Float64) => true,
        (Decimal128(p, s), Decimal128(wider, scale)) => s == scale && p <= wider,
        _ => false,
    }
}

/// Brings a batch into the table's form: the table's columns, in its order and types, missing ones as nulls.
pub(crate) fn conform(table: &TableName, columns: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, AppendError> {
    if batch.schema_ref() == columns {
        return Ok(batch.clone());
    }
    for field in batch.schema_ref().fields() {
        if columns.field_with_name(field.name()).is_err() {
            return Err(AppendError::UnknownColumn { table: table.clone(), column: field.name().clone() });
        }
    }
    let mut arrays = Vec::with_capacity(columns.fields().len());
    for field in columns.fields() {
        arrays.push(match batch.column_by_name(field.name()) {
            None => new_null_array(field.data_type(), batch.num_rows()),
            Some(array) => conform_array(table, field.name(), array, field.data_type())?,
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(columns.clone(), arrays, &options).map_err(|source| AppendError::Cast {
        table: table.clone(),
        column: "*".to_owned(),
        source,
    })
}

fn conform_array(table: &TableName, column: &str, array: &ArrayRef, to: &DataType) -> Result<ArrayRef, AppendError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    let mismatch = || AppendError::ColumnType {
        table: table.clone(),
        column: column.to_owned(),
        has: array.data_type().to_string(),
        wants: to.to_string(),
    };
    let failed = |source| AppendError::Cast { table: table.clone(), column: column.to_owned(), source };
    let cast = |array: &ArrayRef, to: &DataType| {
        cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() }).map_err(failed)
    };
    let stored = stored_type(array.data_type()).map_err(|_| mismatch())?;
    match (&stored, to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let array = array.as_struct_opt().ok_or_else(mismatch)?;
            let mut children = Vec::with_capacity(fields.len());
            for field in array.fields() {
                if fields.find(field.name()).is_none() {
                    return Err(AppendError::UnknownColumn {
                        table: table.clone(),
                        column: format!("{column}.{}", field.name()),
                    });
                }
            }
            for field in fields {
                children.push(match array.column_by_name(field.name()) {
                    None => new_null_array(field.data_type(), array.len()),
                    Some(child) => {
                        conform_array(table, &format!("{column}.{}", field.name()), child, field.data_type())?
                    }
                });
            }
            let array = StructArray::try_new_with_length(fields.clone(), children, array.nulls().cloned(), array.len());
            Ok(Arc::new(array.map_err(failed)?))
        }
        (DataType::List(_), DataType::List(item)) => {
            // Other list forms become plain ones first, with the items as they are.
            let plain = match array.data_type() {
                DataType::List(_) => array.clone(),
                DataType::LargeList(had)
                | DataType::FixedSizeList(had, _)
                | DataType::ListView(had)
                | DataType::LargeListView(had) => cast(array, &DataType::List(had.clone()))?,
                _ => return Err(mismatch()),
            };
            let plain: &ListArray = plain.as_list();
            let values = conform_array(table, &format!("{column}.element"), plain.values(), item.data_type())?;
            let array = ListArray::try_new(item.clone(), plain.offsets().clone(), values, plain.nulls().cloned());
            Ok(Arc::new(array.map_err(failed)?))
        }
        (DataType::Map(..), DataType::Map(entries, ordered)) => {
            let array = array.as_map_opt().ok_or_else(mismatch)?;
            let DataType::Struct(fields) = entries.data_type() else { return Err(mismatch()) };
            let [key, value] = fields.as_ref() else { return Err(mismatch()) };
            let keys = conform_array(table, &format!("{column}.key"), array.keys(), key.data_type())?;
            let values = conform_array(table, &format!("{column}.value"), array.values(), value.data_type())?;
            let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None).map_err(failed)?;
            let array =
                MapArray::try_new(entries.clone(), array.offsets().clone(), pairs, array.nulls().cloned(), *ordered);
            Ok(Arc::new(array.map_err(failed)?))
        }
        (stored, to) if stored == to || widens(stored, to) => cast(array, to),
        _ => Err(mismatch()),
    }
}

/// Brings a batch of an earlier schema of the table into a later one.
pub(crate) fn widen(batch: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.schema_ref() == columns {
        return Ok(batch.clone());
    }
    let array = StructArray::from(batch.clone());
    let widened = widen_array(&(Arc::new(array) as ArrayRef), &DataType::Struct(columns.fields().clone()))?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(columns.clone(), widened.as_struct().columns().to_vec(), &options)
}

fn widen_array(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    match to {
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let children = fields.iter().map(|field| match array.column_by_name(field.name()) {
                None => Ok(new_null_array(field.data_type(), array.len())),
                Some(child) => widen_array(child, field.data_type()),
            });
            let children = children.collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                children,
                array.nulls().cloned(),
                array.len(),
            )?))
        }
        DataType::List(item) => {
            let array = array.as_list::<i32>();
            let values = widen_array(array.values(), item.data_type())?;
            Ok(Arc::new(ListArray::try_new(item.clone(), array.offsets().clone(), values, array.nulls().cloned())?))
        }
        DataType::Map(entries, ordered) => {
            let array = array.as_map();
            let pairs = widen_array(&(Arc::new(array.entries().clone()) as ArrayRef), entries.data_type())?;
            let (offsets, nulls) = (array.offsets().clone(), array.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, pairs.as_struct().clone(), nulls, *ordered)?))
        }
        _ => Err(ArrowError::SchemaError(format!("a column that was {} can't have become {to}", array.data_type()))),
    }
}
