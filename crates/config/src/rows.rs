//! What columns must be like so that a table can hold them.
//!
//! Tables are Delta Lake's: its types, names that differ in more than case, and a few names that are weir's own.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};

/// The columns that partitions and buckets add to a table.
pub(crate) const RESERVED: [&str; 3] = ["_day", "_hour", "_bucket"];

/// Characters that Delta and Parquet keep out of names.
const FORBIDDEN: [char; 11] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '\r', '='];

pub(crate) const TIME_HINT: &str = "a time is a timestamp, a date, or a long of milliseconds since 1970: in the schema, {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}";

/// Whether values of the type are points in time.
pub(crate) fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Int64)
}

/// Says what a type is, in SQL's words.
pub(crate) fn describe(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "text".to_owned(),
        DataType::Binary => "bytes".to_owned(),
        DataType::Boolean => "a boolean".to_owned(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => "an integer".to_owned(),
        DataType::Float32 | DataType::Float64 => "a floating-point number".to_owned(),
        DataType::Decimal128(..) => "a decimal".to_owned(),
        DataType::List(_) => "a list".to_owned(),
        DataType::Struct(_) => "a struct".to_owned(),
        DataType::Map(..) => "a map".to_owned(),
        DataType::Timestamp(..) => "a time".to_owned(),
        DataType::Date32 => "a date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "a time of day".to_owned(),
        DataType::Duration(_) | DataType::Interval(_) => "a length of time".to_owned(),
        DataType::UInt64 => "an unsigned integer".to_owned(),
        DataType::Null => "null without a type".to_owned(),
        other => other.to_string(),
    }
}

/// A column that a table can't hold.
pub(crate) struct Refused {
    pub(crate) column: String,
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// Says how a column of one type becomes another.
pub(crate) fn cast_hint(column: &str, found: &DataType, wanted: &DataType) -> String {
    match wanted {
        DataType::Timestamp(..) if found.is_numeric() => {
            format!("say what it counts: `to_timestamp_millis({column}) as {column}`")
        }
        DataType::Int32 | DataType::Int64 if found.is_floating() => {
            format!("round it: `cast(round({column}) as bigint) as {column}`")
        }
        _ => match sql_name(wanted) {
            Some(name) => format!("cast it: `cast({column} as {name}) as {column}`"),
            None => "select it in another form, or change the field's type in the stream's schema".to_owned(),
        },
    }
}

fn sql_name(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Utf8 => "varchar".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::Binary => "bytea".to_owned(),
        _ => return None,
    })
}

/// Returns the columns that can't be told apart by their names.
pub(crate) fn nameless(schema: &Schema) -> Vec<Refused> {
    let mut seen: HashSet<&str> = HashSet::new();
    let twice = schema.fields().iter().filter(|field| !seen.insert(field.name()));
    let refused = twice.map(|field| Refused {
        column: field.name().clone(),
        message: format!("two columns are named `{}`", field.name()),
        hint: "name one of them otherwise: `... as other_name`".to_owned(),
    });
    refused.collect()
}

/// Returns the columns that a table can't hold.
pub(crate) fn refused(schema: &Schema) -> Vec<Refused> {
    let mut found = Vec::new();
    check_names(schema.fields(), None, &mut found);
    for field in schema.fields() {
        let name = field.name();
        let mut refuse = |message: String, hint: String| found.push(Refused { column: name.clone(), message, hint });
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            refuse(
                format!("a column can't be named `{name}`: partitions and buckets use it"),
                format!("name it otherwise, such as `{}`", name.trim_start_matches('_')),
            );
        }
        if let Some(part) = unfit(field) {
            refuse(
                format!("a table can't hold column `{name}`: it is {}", describe(part)),
                format!("cast it to a type that tables have, such as `cast({name} as varchar) as {name}`"),
            );
        }
    }
    found
}

/// Checks the names of columns, or of the fields of structs inside the column `within`.
fn check_names(fields: &Fields, within: Option<&str>, found: &mut Vec<Refused>) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for field in fields {
        let name = field.name();
        let column = within.unwrap_or(name);
        let place = within.map_or(String::new(), |column| format!(" in column `{column}`"));
        let mut refuse = |message: String, hint: &str| {
            found.push(Refused { column: column.to_owned(), message: message + &place, hint: hint.to_owned() });
        };
        match seen.insert(name.to_lowercase(), name) {
            Some(first) if first == name => {
                refuse(format!("two columns are named `{name}`"), "name one of them otherwise: `... as other_name`");
            }
            Some(first) => refuse(
                format!("columns `{first}` and `{name}` differ in case alone"),
                "name one of them otherwise: `... as other_name`",
            ),
            None => {}
        }
        if name.is_empty() || name.contains(FORBIDDEN) {
            refuse(format!("a table can't have a column named `{name}`"), "give the expression a name: `... as name`");
        }
        match field.data_type() {
            DataType::Struct(inner) => check_names(inner, Some(column), found),
            // An item's own name is Arrow's, and not stored.
            DataType::List(item) => {
                if let DataType::Struct(inner) = item.data_type() {
                    check_names(inner, Some(column), found);
                }
            }
            _ => {}
        }
    }
}

/// Returns the part of a column's type that tables don't have.
fn unfit(field: &Field) -> Option<&DataType> {
    match field.data_type() {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32
        | DataType::Timestamp(TimeUnit::Microsecond, _)
        | DataType::Decimal128(..) => None,
        DataType::List(item) => unfit(item),
        DataType::Struct(fields) if !fields.is_empty() => fields.iter().find_map(|field| unfit(field)),
        DataType::Map(entries, _) => unfit(entries),
        other => Some(other),
    }
}
