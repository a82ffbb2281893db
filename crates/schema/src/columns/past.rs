//! What a schema says of columns that it has not always had: the names that they had before, and their defaults.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Fields};

use super::build::column;
use super::{Branches, ColumnError, arrow_schema, branches};
use crate::Schema;
use crate::binary::Cursor;
use crate::json::Plan;
use crate::schema::{Kind, NodeId};

/// A column's place: names from the top; `element` and `value` stand for what lists and maps hold.
pub type Path = Vec<String>;

/// What a schema says of columns as they were before.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Names that a column had before: its field's aliases, in their order.
    pub renamed: BTreeMap<Path, Vec<String>>,
    /// What stands for a column in a record that has no such field: an array of one value.
    pub filled: BTreeMap<Path, ArrayRef>,
}

/// Reads what a schema says of its columns' past.
///
/// # Errors
/// If the schema has no columns.
pub fn past(schema: &Schema) -> Result<Past, ColumnError> {
    let columns = arrow_schema(schema)?;
    let mut reader = Reader { schema, plan: Plan::new(schema), past: Past::default() };
    reader.record(schema.root_id(), columns.fields(), &[])?;
    Ok(reader.past)
}

struct Reader<'a> {
    schema: &'a Schema,
    plan: Plan,
    past: Past,
}

impl Reader<'_> {
    fn record(&mut self, id: NodeId, columns: &Fields, path: &[String]) -> Result<(), ColumnError> {
        let Kind::Record(record) = &self.schema.node(id).kind else { return Ok(()) };
        for (field, of) in record.fields.iter().zip(columns) {
            let path = [path, std::slice::from_ref(&field.name)].concat();
            if !field.aliases.is_empty() {
                self.past.renamed.insert(path.clone(), field.aliases.clone());
            }
            if let Some(default) = &field.default {
                let value = self.value(field.node, of, default, &path)?;
                self.past.filled.insert(path.clone(), value);
            }
            self.inside(field.node, of.data_type(), &path)?;
        }
        Ok(())
    }

    /// Looks into what a column holds. What has become text has no columns of its own.
    fn inside(&mut self, id: NodeId, data_type: &DataType, path: &[String]) -> Result<(), ColumnError> {
        match (&self.schema.node(id).kind, data_type) {
            (Kind::Union(of), _) => match branches(self.schema, of) {
                Branches::Nullable { inner, .. } => self.inside(inner, data_type, path),
                Branches::Json { .. } => Ok(()),
            },
            (Kind::Record(_), DataType::Struct(fields)) => self.record(id, fields, path),
            (Kind::Array(items), DataType::List(item)) => {
                self.inside(*items, item.data_type(), &[path, &["element".to_owned()]].concat())
            }
            (Kind::Map(values), DataType::Map(entries, _)) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {
                    self.inside(*values, fields[1].data_type(), &[path, &["value".to_owned()]].concat())
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn value(&self, id: NodeId, of: &Field, default: &[u8], path: &[String]) -> Result<ArrayRef, ColumnError> {
        let failed = |reason: String| ColumnError { field: path.join("."), reason };
        let mut column = column(self.schema, id, of);
        let read = column.read(&mut Cursor::new(default), &self.plan, path.len());
        read.map_err(|fault| failed(format!("its default can't be read: {}", fault.reason)))?;
        column.finish(of.data_type()).map_err(|error| failed(format!("its default has no column: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::display::array_value_to_string;

    use super::*;

    #[test]
    fn old_names_and_defaults_are_found_wherever_fields_are() {
        let schema = Schema::parse(
            r#"{"type": "record", "name": "R", "fields": [
                {"name": "id", "type": "int", "aliases": ["key", "number"]},
                {"name": "site", "type": "string", "default": "main"},
                {"name": "note", "type": ["null", "string"], "default": null},
                {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["A", "B"]}, "default": "B"},
                {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
                 "default": "\u0001\u0000"},
                {"name": "stops", "type": {"type": "array", "items": {"type": "record", "name": "S", "fields": [
                    {"name": "at", "type": "long", "default": 7, "aliases": ["when"]}]}}, "default": []},
                {"name": "tree", "type": ["null", "R"], "default": null},
                {"name": "by", "type": {"type": "map", "values": ["null", "S"]}, "default": {}}]}"#,
        )
        .unwrap();
        let past = past(&schema).unwrap();
        let shown: Vec<String> = past
            .filled
            .iter()
            .map(|(path, value)| format!("{}={}", path.join("."), array_value_to_string(value, 0).unwrap()))
            .collect();
        assert_eq!(
            shown,
            [
                "by={}",
                "by.value.at=7",
                "kind=B",
                "note=",
                "price=2.56",
                "site=main",
                "stops=[]",
                "stops.element.at=7",
                "tree="
            ]
        );
        let renamed: Vec<(String, Vec<String>)> =
            past.renamed.into_iter().map(|(path, names)| (path.join("."), names)).collect();
        let when = vec!["when".to_owned()];
        assert_eq!(
            renamed,
            [
                ("by.value.at".to_owned(), when.clone()),
                ("id".to_owned(), vec!["key".to_owned(), "number".to_owned()]),
                ("stops.element.at".to_owned(), when),
            ]
        );
    }
}
