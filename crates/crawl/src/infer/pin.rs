//! A pinned schema, and what makes items fit it.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::name::legal;
use super::{NAME, NAMED_MAX};

/// Types inside of types.
const NESTING_MAX: usize = 256;

/// Why a text is no pin.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It is no JSON.
    #[error("the schema is no JSON")]
    Json(#[source] serde_json::Error),
    /// It is no Avro record.
    #[error("the schema is no Avro record: {0}")]
    NoRecord(String),
}

/// A schema as far as items need it: which fields there are, what they are called, and which are texts.
///
/// Any Avro schema of a record is one, inferred or written by hand. What it says of types is the encoder's to check.
#[derive(Debug)]
pub struct Pin {
    records: Vec<Record>,
    root: usize,
}

/// An item that fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The item: fields under their Avro names, without those that the pin lacks.
    pub item: Value,
    /// Paths of fields that the pin lacks, the first [`NAMED_MAX`].
    pub new: Vec<String>,
    /// How many there were.
    pub new_count: u64,
}

#[derive(Debug, Default)]
struct Record {
    /// By name in JSON.
    fields: HashMap<String, Field>,
}

#[derive(Debug, Clone)]
struct Field {
    name: String,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    /// As it is.
    Any,
    /// Texts as they are, other values as JSON.
    Text,
    Nullable(Box<Shape>),
    Record(usize),
    List(Box<Shape>),
    Map(Box<Shape>),
}

impl Pin {
    /// Reads an Avro schema's JSON text.
    ///
    /// # Errors
    /// If it is none of a record.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let schema: Value = serde_json::from_str(text).map_err(PinError::Json)?;
        let mut compile = Compile { records: Vec::new(), names: HashMap::new() };
        match compile.shape(&schema, "", 0)? {
            Shape::Record(root) => Ok(Self { records: compile.records, root }),
            _ => Err(PinError::NoRecord("it is of another type".to_owned())),
        }
    }

    /// Makes an item fit: names become Avro's, what stands where the pin has a text becomes one, and what the pin
    /// lacks is left out and named.
    pub fn fit(&self, item: Value) -> Fitted {
        let mut new = New::default();
        let item = self.value(&Shape::Record(self.root), item, &Path::Root, &mut new);
        Fitted { item, new: new.paths, new_count: new.count }
    }

    fn value(&self, shape: &Shape, value: Value, path: &Path<'_>, new: &mut New) -> Value {
        match (shape, value) {
            (Shape::Nullable(_), Value::Null) => Value::Null,
            (Shape::Nullable(inner), value) => self.value(inner, value, path, new),
            (Shape::Text, value @ (Value::String(_) | Value::Null)) => value,
            (Shape::Text, value) => Value::String(value.to_string()),
            (Shape::Record(index), Value::Object(object)) => Value::Object(self.record(*index, object, path, new)),
            (Shape::List(inner), Value::Array(list)) => {
                let path = Path::Item(path);
                Value::Array(list.into_iter().map(|item| self.value(inner, item, &path, new)).collect())
            }
            (Shape::Map(inner), Value::Object(object)) => {
                let fitted = object.into_iter().map(|(key, value)| {
                    let value = self.value(inner, value, &Path::Field(path, &key), new);
                    (key, value)
                });
                Value::Object(fitted.collect())
            }
            (_, value) => value,
        }
    }

    fn record(&self, index: usize, object: Map<String, Value>, path: &Path<'_>, new: &mut New) -> Map<String, Value> {
        let record = &self.records[index];
        let mut fitted = Map::new();
        let mut others = Vec::new();
        for (key, value) in object {
            match record.fields.get(&key) {
                Some(field) => {
                    let value = self.value(&field.shape, value, &Path::Field(path, &key), new);
                    fitted.insert(field.name.clone(), value);
                }
                None => others.push((key, value)),
            }
        }
        // A schema written by hand has no attributes: what comes closest is meant, unless the item has that one too.
        for (key, value) in others {
            let at = Path::Field(path, &key);
            match record.fields.get(&legal(&key)) {
                Some(field) if !fitted.contains_key(&field.name) => {
                    let value = self.value(&field.shape, value, &at, new);
                    fitted.insert(field.name.clone(), value);
                }
                _ => new.add(&at),
            }
        }
        fitted
    }
}

/// Returns the paths of what an item has and the pin lacks, the first [`NAMED_MAX`].
pub fn compare(pin: &Pin, item: &Value) -> Vec<String> {
    pin.fit(item.clone()).new
}

#[derive(Default)]
struct New {
    paths: Vec<String>,
    count: u64,
}

impl New {
    fn add(&mut self, path: &Path<'_>) {
        self.count += 1;
        if self.paths.len() < NAMED_MAX {
            let path = path.to_string();
            // The same one, in each item of a list.
            if !self.paths.contains(&path) {
                self.paths.push(path);
            }
        }
    }
}

/// Where a value stands; written out only where it is needed.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>),
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(outer, name) => write!(f, "{outer}.{name}"),
            Self::Item(outer) => write!(f, "{outer}[]"),
        }
    }
}

struct Compile {
    records: Vec<Record>,
    names: HashMap<String, usize>,
}

impl Compile {
    fn shape(&mut self, schema: &Value, namespace: &str, depth: usize) -> Result<Shape, PinError> {
        if depth > NESTING_MAX {
            return Err(PinError::NoRecord(format!("types are nested more than {NESTING_MAX} deep")));
        }
        match schema {
            Value::String(name) => Ok(self.named(name, namespace)),
            Value::Array(branches) => self.union(branches, namespace, depth),
            Value::Object(object) => self.object(object, namespace, depth),
            _ => Err(PinError::NoRecord(format!("`{schema}` is no type"))),
        }
    }

    fn named(&self, name: &str, namespace: &str) -> Shape {
        if name == "string" {
            return Shape::Text;
        }
        let found = self.names.get(&qualified(name, namespace)).or_else(|| self.names.get(name));
        found.map_or(Shape::Any, |index| Shape::Record(*index))
    }

    /// Of several branches the encoder chooses one, by the value as it is.
    fn union(&mut self, branches: &[Value], namespace: &str, depth: usize) -> Result<Shape, PinError> {
        let mut others = Vec::new();
        for branch in branches {
            let shape = self.shape(branch, namespace, depth + 1)?;
            if branch != "null" {
                others.push(shape);
            }
        }
        Ok(match <[Shape; 1]>::try_from(others) {
            Ok([Shape::Any]) | Err(_) => Shape::Any,
            Ok([shape]) => Shape::Nullable(Box::new(shape)),
        })
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str, depth: usize) -> Result<Shape, PinError> {
        let inner = |key: &str| object.get(key).ok_or_else(|| PinError::NoRecord(format!("a type has no `{key}`")));
        match inner("type")? {
            Value::String(word) if word == "record" || word == "error" => self.record(object, namespace, depth),
            Value::String(word) if word == "array" => {
                Ok(Shape::List(Box::new(self.shape(inner("items")?, namespace, depth + 1)?)))
            }
            Value::String(word) if word == "map" => {
                Ok(Shape::Map(Box::new(self.shape(inner("values")?, namespace, depth + 1)?)))
            }
            Value::String(word) => Ok(self.named(word, namespace)),
            nested => self.shape(nested, namespace, depth + 1),
        }
    }

    fn record(&mut self, object: &Map<String, Value>, outer: &str, depth: usize) -> Result<Shape, PinError> {
        let name = object.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| PinError::NoRecord("a record has no name".to_owned()))?;
        let namespace = match object.get("namespace").and_then(Value::as_str) {
            Some(namespace) => namespace,
            None => name.rsplit_once('.').map_or(outer, |(namespace, _)| namespace),
        };
        let index = self.records.len();
        self.records.push(Record::default());
        self.names.insert(qualified(name, namespace), index);
        let fields = object.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or_else(|| PinError::NoRecord(format!("record `{name}` has no fields")))?;
        for field in fields {
            let named = field.get("name").and_then(Value::as_str);
            let (Some(name), Some(inner)) = (named, field.get("type")) else {
                return Err(PinError::NoRecord(format!("a field of record `{name}` has no name, or no type")));
            };
            let shape = self.shape(inner, namespace, depth + 1)?;
            let original = field.get(NAME).and_then(Value::as_str);
            let aliases =
                field.get("aliases").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            let field = Field { name: name.to_owned(), shape };
            let known = &mut self.records[index].fields;
            for alias in aliases {
                known.entry(alias.to_owned()).or_insert_with(|| field.clone());
            }
            // An inferred name is never what JSON calls it: that one is another field's, or nobody's.
            known.insert(original.unwrap_or(name).to_owned(), field);
        }
        Ok(Shape::Record(index))
    }
}

fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}
