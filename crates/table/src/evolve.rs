//! Working out how stored columns become wanted ones, and doing it to a batch.
//!
//! ```text
//!   stored columns, wanted columns, old names, defaults --plan--> new columns, changes, a way per column
//!                                                                                        |
//!                            rows of a file, as stored --------------------------- apply-+--> rows as wanted
//! ```
//!
//! Pure: no I/O, no table. Columns keep their order, so that a rewritten file lies as the one before; new ones come last.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::array::{UInt32Array, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use weir_types::TableName;

use crate::columns::widens;
use crate::error::GrowError;
use crate::evolution::{ColumnChange, Evolution};

/// How stored columns become wanted ones.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What the table will have.
    pub(crate) columns: SchemaRef,
    pub(crate) changes: Vec<ColumnChange>,
    ways: Vec<FieldWay>,
}

/// Where a field comes from, and what happens to it on the way.
#[derive(Debug, Clone)]
struct FieldWay {
    to: FieldRef,
    /// Its place among the stored fields; none: it is new.
    from: Option<usize>,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Same,
    Cast,
    /// The value that older rows get; none: null.
    Fill(Option<ArrayRef>),
    Struct(Vec<FieldWay>),
    List(Box<Way>),
    Map(Box<Way>),
}

impl Plan {
    /// Works out the way.
    ///
    /// # Errors
    /// The first column that can't follow.
    pub(crate) fn new(
        table: &TableName,
        has: &Schema,
        wants: &Schema,
        evolution: &Evolution,
    ) -> Result<Self, GrowError> {
        let mut planner = Planner { table, evolution, changes: Vec::new() };
        let ways = planner.fields(has.fields(), wants.fields(), &[], &[])?;
        let columns = Arc::new(Schema::new(ways.iter().map(|way| way.to.clone()).collect::<Vec<_>>()));
        Ok(Self { columns, changes: planner.changes, ways })
    }

    /// Whether files that are there have to be written anew.
    pub(crate) fn rewrites(&self) -> bool {
        self.changes.iter().any(ColumnChange::rewrites)
    }

    /// Returns the stored name of a wanted column.
    pub(crate) fn stored_name<'a>(&'a self, has: &'a Schema, column: &str) -> Option<&'a str> {
        let way = self.ways.iter().find(|way| way.to.name() == column)?;
        has.fields().get(way.from?).map(|field| field.name().as_str())
    }

    /// Brings rows in the stored form into the wanted one.
    ///
    /// # Errors
    /// If a value has no equal in the wider type, which none of the changes that are planned can cause.
    pub(crate) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let arrays = run_fields(&self.ways, batch.columns(), batch.num_rows())?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.columns.clone(), arrays, &options)
    }
}

struct Planner<'a> {
    table: &'a TableName,
    evolution: &'a Evolution,
    changes: Vec<ColumnChange>,
}

impl Planner<'_> {
    /// `path` has the wanted names, by which rules are found; `shown` is what people call the parent.
    fn fields(
        &mut self,
        has: &Fields,
        wants: &Fields,
        path: &[String],
        shown: &[String],
    ) -> Result<Vec<FieldWay>, GrowError> {
        let sources = self.sources(has, wants, path, shown)?;
        let mut ways: Vec<Option<FieldWay>> = vec![None; has.len()];
        let mut added = Vec::new();
        for (want, source) in wants.iter().zip(&sources) {
            let under = [path, std::slice::from_ref(want.name())].concat();
            let column = [shown, std::slice::from_ref(want.name())].concat();
            let Some(from) = *source else {
                added.push(self.add(want, &under, &column));
                continue;
            };
            let held = &has[from];
            if held.name() != want.name() {
                let from = [shown, std::slice::from_ref(held.name())].concat().join(".");
                self.changes.push(ColumnChange::Renamed { from, to: column.join(".") });
            }
            let (data_type, way) = self.data_type(held.data_type(), want.data_type(), &under, &column)?;
            let to = Arc::new(Field::new(want.name(), data_type, true));
            ways[from] = Some(FieldWay { to, from: Some(from), way });
        }
        let kept = ways.into_iter().enumerate().map(|(from, way)| match way {
            Some(way) => way,
            None => {
                let column = [shown, std::slice::from_ref(has[from].name())].concat().join(".");
                self.changes.push(ColumnChange::Kept { column });
                FieldWay { to: has[from].clone(), from: Some(from), way: Way::Same }
            }
        });
        let mut ways: Vec<FieldWay> = kept.collect();
        ways.extend(added);
        Ok(ways)
    }

    /// Finds the stored field of each wanted one: of its name, else of a name that it had, if nobody has that one.
    fn sources(
        &self,
        has: &Fields,
        wants: &Fields,
        path: &[String],
        shown: &[String],
    ) -> Result<Vec<Option<usize>>, GrowError> {
        let mut taken = HashSet::new();
        let mut sources = Vec::with_capacity(wants.len());
        for want in wants {
            let found = has.iter().position(|held| held.name().eq_ignore_ascii_case(want.name()));
            // Another case of a name would be another column to Arrow, and the same one to Delta.
            if let Some(held) = found.map(|index| &has[index]).filter(|held| held.name() != want.name()) {
                let column = [shown, std::slice::from_ref(want.name())].concat();
                return Err(self.refuse(
                    &column,
                    format!("named `{}`", held.name()),
                    format!("named `{}`", want.name()),
                ));
            }
            taken.extend(found);
            sources.push(found);
        }
        for (want, source) in wants.iter().zip(&mut sources).filter(|(_, source)| source.is_none()) {
            let under = [path, std::slice::from_ref(want.name())].concat();
            let old = self.evolution.renamed.get(&under).into_iter().flatten();
            let mut found = old.filter_map(|old| has.iter().position(|held| held.name() == old));
            *source = found.find(|found| taken.insert(*found));
        }
        Ok(sources)
    }

    fn add(&mut self, want: &FieldRef, path: &[String], column: &[String]) -> FieldWay {
        let fill = self.evolution.filled.get(path).filter(|value| value.len() == 1);
        let fill = fill.and_then(|value| cast_exactly(value, want.data_type()).ok()).filter(|value| value.is_valid(0));
        let (column, is) = (column.join("."), describe(want.data_type()));
        self.changes.push(match &fill {
            Some(_) => ColumnChange::Filled { column, is },
            None => ColumnChange::Added { column, is },
        });
        FieldWay { to: want.clone(), from: None, way: Way::Fill(fill) }
    }

    fn data_type(
        &mut self,
        has: &DataType,
        wants: &DataType,
        path: &[String],
        column: &[String],
    ) -> Result<(DataType, Way), GrowError> {
        let under = |name: &str| ([path, &[name.to_owned()]].concat(), [column, &[name.to_owned()]].concat());
        match (has, wants) {
            (DataType::Struct(has), DataType::Struct(wants)) => {
                let ways = self.fields(has, wants, path, column)?;
                let fields: Fields = ways.iter().map(|way| way.to.clone()).collect();
                Ok((DataType::Struct(fields), Way::Struct(ways)))
            }
            (DataType::List(has), DataType::List(wants)) => {
                let (path, column) = under("element");
                let (item, way) = self.data_type(has.data_type(), wants.data_type(), &path, &column)?;
                let item = Arc::new(Field::new(has.name(), item, true));
                Ok((DataType::List(item), Way::List(Box::new(way))))
            }
            (DataType::Map(has, ordered), DataType::Map(wants, _)) => {
                let (DataType::Struct(held), DataType::Struct(wants)) = (has.data_type(), wants.data_type()) else {
                    return Err(self.refuse(column, describe(has.data_type()), describe(wants.data_type())));
                };
                let [key, value] = held.as_ref() else { return Ok((DataType::Map(has.clone(), *ordered), Way::Same)) };
                let [wanted_key, wanted_value] = wants.as_ref() else {
                    return Ok((DataType::Map(has.clone(), *ordered), Way::Same));
                };
                if key.data_type() != wanted_key.data_type() {
                    let (_, column) = under("key");
                    return Err(self.refuse(&column, describe(key.data_type()), describe(wanted_key.data_type())));
                }
                let (path, column) = under("value");
                let (data_type, way) = self.data_type(value.data_type(), wanted_value.data_type(), &path, &column)?;
                let value = Arc::new(Field::new(value.name(), data_type, true));
                let entries = DataType::Struct(vec![key.clone(), value].into());
                let entries = Arc::new(Field::new(has.name(), entries, false));
                Ok((DataType::Map(entries, *ordered), Way::Map(Box::new(way))))
            }
            (has, wants) if has == wants || widens(wants, has) => Ok((has.clone(), Way::Same)),
            (has, wants) => {
                let Some(becomes) = promoted(has, wants) else {
                    return Err(self.refuse(column, describe(has), describe(wants)));
                };
                let (column, from, to) = (column.join("."), describe(has), describe(&becomes));
                self.changes.push(ColumnChange::Widened { column, from, to });
                Ok((becomes, Way::Cast))
            }
        }
    }

    fn refuse(&self, column: &[String], has: String, wants: String) -> GrowError {
        GrowError::Incompatible { table: self.table.clone(), column: column.join("."), has, wants }
    }
}

/// Names a type as SQL does.
fn describe(data_type: &DataType) -> String {
    match data_type {
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 => "text".to_owned(),
        DataType::Binary => "bytes".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        DataType::Timestamp(_, None) => "timestamp without zone".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Struct(_) => "a record".to_owned(),
        DataType::List(_) => "a list".to_owned(),
        DataType::Map(..) => "a map".to_owned(),
        other => other.to_string(),
    }
}

/// Returns what a stored type becomes, so that it holds its own values and those of another one: what widens, and what Avro
/// promotes. A whole number that becomes a float is stored as a double: digits that a float has not would be lost for good.
fn promoted(from: &DataType, to: &DataType) -> Option<DataType> {
    use DataType::{Binary, Float32, Float64, Int32, Int64, Utf8};
    match (from, to) {
        (Int32 | Int64, Float32) => Some(Float64),
        (Int64, Float64) | (Utf8, Binary) => Some(to.clone()),
        _ => widens(from, to).then(|| to.clone()),
    }
}

/// Casts without making nulls of what doesn't fit.
fn cast_exactly(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

fn run_fields(ways: &[FieldWay], columns: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
    let lacks = |name: &str| ArrowError::SchemaError(format!("the rows have no column for `{name}`"));
    let mut arrays = Vec::with_capacity(ways.len());
    for FieldWay { to, from, way } in ways {
        arrays.push(match (from, way) {
            (Some(from), way) => {
                let array = columns.get(*from).ok_or_else(|| lacks(to.name()))?;
                run(way, array, to.data_type())?
            }
            (None, Way::Fill(Some(value))) => take(value, &UInt32Array::from(vec![0; rows]), None)?,
            (None, _) => new_null_array(to.data_type(), rows),
        });
    }
    Ok(arrays)
}

fn run(way: &Way, array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match (way, to) {
        (Way::Cast, to) => cast_exactly(array, to),
        (Way::Struct(ways), DataType::Struct(fields)) => {
            let array = array.as_struct();
            let children = run_fields(ways, array.columns(), array.len())?;
            let nulls = array.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), children, nulls, array.len())?))
        }
        (Way::List(way), DataType::List(item)) => {
            let array = array.as_list::<i32>();
            let values = run(way, array.values(), item.data_type())?;
            Ok(Arc::new(ListArray::try_new(item.clone(), array.offsets().clone(), values, array.nulls().cloned())?))
        }
        (Way::Map(way), DataType::Map(entries, ordered)) => {
            let array = array.as_map();
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(ArrowError::SchemaError("a map has no entries".to_owned()));
            };
            let value_type = fields.last().map_or(&DataType::Null, |field| field.data_type());
            let values = run(way, array.values(), value_type)?;
            let pairs = StructArray::try_new(fields.clone(), vec![array.keys().clone(), values], None)?;
            let (offsets, nulls) = (array.offsets().clone(), array.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, *ordered)?))
        }
        _ => Ok(array.clone()),
    }
}

#[cfg(test)]
mod tests;
