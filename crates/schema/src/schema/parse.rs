//! From JSON text to the table of nodes.

use std::collections::HashMap;

use serde_json::{Map, Value};
use weir_types::limits::{NESTING_MAX, RECORD_BYTES_MAX};

use super::default::{Encoder, Pending};
use super::{Enum, Field, Fixed, FullName, Kind, Logical, Node, NodeId, Record, finite};
use crate::limits::{SCHEMA_BYTES_MAX, UNFOLDED_DEPTH_MAX, UNFOLDED_TYPES_MAX};

/// A text that is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", place(path))]
pub struct ParseError {
    /// The place inside the schema, such as `fields[3] "dep_delay"`; empty for the schema itself.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

fn place(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("at {path}: ") }
}

const PRIMITIVES: [(&str, Kind); 8] = [
    ("null", Kind::Null),
    ("boolean", Kind::Boolean),
    ("int", Kind::Int),
    ("long", Kind::Long),
    ("float", Kind::Float),
    ("double", Kind::Double),
    ("bytes", Kind::Bytes),
    ("string", Kind::String),
];

pub(super) fn parse(text: &str) -> Result<(NodeId, Vec<Node>), ParseError> {
    let error = |reason: String, hint: &str| ParseError { path: String::new(), reason, hint: Some(hint.to_owned()) };
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(error(
            format!("a schema of {} bytes is longer than the {SCHEMA_BYTES_MAX} that are allowed", text.len()),
            "split it into several",
        ));
    }
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        // A bare primitive or name, as `avro-tools` and Confluent's clients write it.
        Err(_) if PRIMITIVES.iter().any(|(word, _)| *word == text.trim()) => Value::String(text.trim().to_owned()),
        Err(source) => return Err(error(format!("this is not JSON: {source}"), "a schema is a JSON text (`.avsc`)")),
    };
    let mut parser = Parser::default();
    let root = parser.schema(&value, "", 0)?;
    if let Some(index) = finite::endless(&parser.nodes) {
        let name = parser.nodes[index].branch_name().to_owned();
        return Err(error(
            format!("every value of `{name}` holds another one, without end"),
            "make the field that leads back a union with \"null\", or an array",
        ));
    }
    parser.defaults()?;
    finite::mark_empty(&mut parser.nodes);
    Ok((root, parser.nodes))
}

/// How far a type unfolds, where types inside are followed by name, but not back into themselves.
#[derive(Clone, Copy)]
struct Size {
    /// Types, counted as often as they are used: bounds what a record costs beyond its bytes.
    types: usize,
    /// Types inside of types: bounds recursion over the schema.
    depth: usize,
}

#[derive(Default)]
struct Parser {
    nodes: Vec<Node>,
    sizes: Vec<Size>,
    names: HashMap<String, NodeId>,
    pending: Pending,
    /// Where each default stands, beside `pending`.
    places: Vec<String>,
    path: Vec<String>,
}

impl Parser {
    fn error(&self, reason: impl Into<String>) -> ParseError {
        ParseError { path: self.place(), reason: reason.into(), hint: None }
    }

    fn hinted(&self, reason: impl Into<String>, hint: impl Into<String>) -> ParseError {
        ParseError { hint: Some(hint.into()), ..self.error(reason) }
    }

    fn place(&self) -> String {
        self.path.join(".")
    }

    fn within<T>(
        &mut self,
        step: String,
        work: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        self.path.push(step);
        let found = work(self);
        self.path.pop();
        found
    }

    fn add(&mut self, kind: Kind, logical: Option<Logical>) -> Result<NodeId, ParseError> {
        self.nodes.push(Node { kind, logical, empty: false });
        self.sizes.push(Size { types: 1, depth: 1 });
        let id = NodeId((self.nodes.len() - 1) as u32);
        self.measure(id)?;
        Ok(id)
    }

    /// Measures a type whose inner types are known, and refuses what unfolds too far: a few types that use each other twice
    /// would be millions of columns.
    fn measure(&mut self, id: NodeId) -> Result<(), ParseError> {
        let mut size = Size { types: 1, depth: 1 };
        let mut include = |inner: NodeId| {
            size.types += self.sizes[inner.index()].types;
            size.depth = size.depth.max(self.sizes[inner.index()].depth + 1);
        };
        match &self.nodes[id.index()].kind {
            Kind::Record(record) => record.fields.iter().for_each(|field| include(field.node)),
            Kind::Array(inner) | Kind::Map(inner) => include(*inner),
            Kind::Union(branches) => branches.iter().for_each(|branch| include(*branch)),
            _ => {}
        }
        if size.types > UNFOLDED_TYPES_MAX || size.depth > UNFOLDED_DEPTH_MAX {
            return Err(self.hinted(
                format!(
                    "the type unfolds to {} types, {} deep, and {UNFOLDED_TYPES_MAX} and {UNFOLDED_DEPTH_MAX} are allowed",
                    size.types, size.depth
                ),
                "use fewer types by name inside of each other",
            ));
        }
        self.sizes[id.index()] = size;
        Ok(())
    }

    fn schema(&mut self, value: &Value, namespace: &str, depth: usize) -> Result<NodeId, ParseError> {
        if depth > NESTING_MAX {
            return Err(self.error(format!("types are nested more than {NESTING_MAX} deep")));
        }
        match value {
            Value::String(word) => self.word(word, namespace, None),
            Value::Array(branches) => self.union(branches, namespace, depth),
            Value::Object(object) => self.object(object, namespace, depth),
            other => Err(self.hinted(
                format!("a type is a name, an object or a list, and this is {}", json_kind(other)),
                "write for example \"string\", or [\"null\", \"string\"]",
            )),
        }
    }

    fn word(&mut self, word: &str, namespace: &str, object: Option<&Map<String, Value>>) -> Result<NodeId, ParseError> {
        if let Some((_, kind)) = PRIMITIVES.iter().find(|(name, _)| *name == word) {
            let logical = object.and_then(|object| logical(kind, object));
            return self.add(kind.clone(), logical);
        }
        let full = qualify(word, namespace);
        if let Some(id) = self.names.get(full.as_str()).or_else(|| self.names.get(word)) {
            return Ok(*id);
        }
        let known = PRIMITIVES.iter().map(|(name, _)| *name).chain(["record", "enum", "array", "map", "fixed"]);
        let known = known.chain(self.names.keys().map(String::as_str));
        let hint = match weir_types::nearest(word, known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "a named type must be defined, in full, before it is used by name".to_owned(),
        };
        Err(self.hinted(format!("unknown type \"{word}\""), hint))
    }

    fn union(&mut self, branches: &[Value], namespace: &str, depth: usize) -> Result<NodeId, ParseError> {
        if branches.is_empty() {
            return Err(self.error("a union has no branches"));
        }
        let mut ids = Vec::with_capacity(branches.len());
        for (index, branch) in branches.iter().enumerate() {
            let id = self.within(format!("[{index}]"), |parser| {
                let id = parser.schema(branch, namespace, depth + 1)?;
                if matches!(parser.nodes[id.index()].kind, Kind::Union(_)) {
                    return Err(parser.error("a union directly inside a union"));
                }
                Ok(id)
            })?;
            let name = self.nodes[id.index()].branch_name();
            if ids.iter().any(|other: &NodeId| self.nodes[other.index()].branch_name() == name) {
                return Err(self.error(format!("the union has \"{name}\" twice")));
            }
            ids.push(id);
        }
        self.add(Kind::Union(ids), None)
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str, depth: usize) -> Result<NodeId, ParseError> {
        let word = match object.get("type") {
            Some(Value::String(word)) => word.as_str(),
            Some(inner @ (Value::Object(_) | Value::Array(_))) => return self.schema(inner, namespace, depth + 1),
            Some(_) => return Err(self.error("\"type\" is not a type")),
            None => return Err(self.hinted("an object has no \"type\"", "add \"type\": \"record\", for example")),
        };
        match word {
            "record" | "error" => self.record(object, namespace, depth),
            "enum" => self.symbols(object, namespace),
            "fixed" => self.fixed(object, namespace),
            "array" | "map" => {
                let key = if word == "array" { "items" } else { "values" };
                let inner = object.get(key).ok_or_else(|| {
                    self.hinted(format!("the {word} has no \"{key}\""), format!("add \"{key}\": the type of each"))
                })?;
                let inner = self.within(key.to_owned(), |parser| parser.schema(inner, namespace, depth + 1))?;
                self.add(if word == "array" { Kind::Array(inner) } else { Kind::Map(inner) }, None)
            }
            word => self.word(word, namespace, Some(object)),
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str, depth: usize) -> Result<NodeId, ParseError> {
        let (name, aliases) = self.names_of(object, namespace)?;
        let namespace = namespace_of(&name).to_owned();
        let id = self.define(&name)?;
        let Some(Value::Array(items)) = object.get("fields") else {
            return Err(self.hinted(format!("the record `{}` has no list of fields", name.0), "add \"fields\": [...]"));
        };
        let mut fields: Vec<Field> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let label = item.get("name").and_then(Value::as_str).unwrap_or("");
            let step =
                if label.is_empty() { format!("fields[{index}]") } else { format!("fields[{index}] \"{label}\"") };
            let field = self.within(step, |parser| {
                let field = parser.field(id, index, item, &namespace, depth)?;
                let taken = fields.iter().any(|other| other.name == field.name);
                if taken { Err(parser.error("a field of that name stands above already")) } else { Ok(field) }
            })?;
            fields.push(field);
        }
        let doc = object.get("doc").and_then(Value::as_str).map(str::to_owned);
        self.nodes[id.index()].kind = Kind::Record(Record { name, aliases, doc, fields });
        self.measure(id)?;
        Ok(id)
    }

    fn field(
        &mut self,
        record: NodeId,
        index: usize,
        item: &Value,
        namespace: &str,
        depth: usize,
    ) -> Result<Field, ParseError> {
        let Value::Object(object) = item else {
            return Err(self.error(format!("a field is an object, and this is {}", json_kind(item))));
        };
        let name = object.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| self.error("the field has no \"name\""))?;
        self.check_name(name)?;
        let inner = object
            .get("type")
            .ok_or_else(|| self.hinted("the field has no \"type\"", "add one, such as \"string\""))?;
        let node = match inner {
            // A field often carries what belongs into its type; the specification reads it there alone.
            Value::String(word) => self.word(word, namespace, None)?,
            inner => self.within("type".to_owned(), |parser| parser.schema(inner, namespace, depth + 1))?,
        };
        if let Some(default) = object.get("default") {
            self.pending.push((record, index, default.clone()));
            self.places.push(self.place());
        }
        let mut aliases = Vec::new();
        for alias in strings(object.get("aliases")).ok_or_else(|| self.error("\"aliases\" is no list of names"))? {
            self.check_name(alias)?;
            aliases.push(alias.to_owned());
        }
        let doc = object.get("doc").and_then(Value::as_str).map(str::to_owned);
        Ok(Field { name: name.to_owned(), aliases, doc, node, default: None })
    }

    fn symbols(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<NodeId, ParseError> {
        let (name, aliases) = self.names_of(object, namespace)?;
        let symbols = object.get("symbols").and_then(|symbols| strings(Some(symbols)));
        let symbols = symbols.ok_or_else(|| {
            self.hinted(format!("the enum `{}` has no list of symbols", name.0), "add \"symbols\": [\"A\", \"B\"]")
        })?;
        let mut seen = std::collections::HashSet::new();
        for symbol in &symbols {
            self.check_name(symbol)?;
            if !seen.insert(*symbol) {
                return Err(self.error(format!("the symbol \"{symbol}\" stands there twice")));
            }
        }
        if symbols.is_empty() {
            return Err(self.error(format!("the enum `{}` has no symbols", name.0)));
        }
        let default = match object.get("default") {
            None => None,
            Some(default) => {
                let index = symbols.iter().position(|symbol| Some(*symbol) == default.as_str());
                Some(index.ok_or_else(|| self.error(format!("the default {default} is none of the symbols")))?)
            }
        };
        let symbols = symbols.into_iter().map(str::to_owned).collect();
        let id = self.define(&name)?;
        self.nodes[id.index()].kind = Kind::Enum(Enum { name, aliases, symbols, default });
        Ok(id)
    }

    fn fixed(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<NodeId, ParseError> {
        let (name, aliases) = self.names_of(object, namespace)?;
        let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|size| *size <= RECORD_BYTES_MAX).ok_or_else(|| {
            self.hinted(
                format!("the fixed `{}` has no \"size\" that a record could hold", name.0),
                format!("add \"size\": a number of bytes up to {RECORD_BYTES_MAX}"),
            )
        })?;
        let id = self.define(&name)?;
        let node = &mut self.nodes[id.index()];
        node.kind = Kind::Fixed(Fixed { name, aliases, size });
        node.logical = logical(&node.kind, object);
        Ok(id)
    }

    /// Takes a name before its type is known, so that the type may hold itself.
    fn define(&mut self, name: &FullName) -> Result<NodeId, ParseError> {
        let unfinished = Record { name: name.clone(), aliases: Vec::new(), doc: None, fields: Vec::new() };
        let id = self.add(Kind::Record(unfinished), None)?;
        match self.names.insert(name.0.clone(), id) {
            None => Ok(id),
            Some(_) => Err(self.hinted(
                format!("the type `{}` is defined twice", name.0),
                "define it where it stands first, and name it after that",
            )),
        }
    }

    fn names_of(&self, object: &Map<String, Value>, outer: &str) -> Result<(FullName, Vec<FullName>), ParseError> {
        let word = object.get("type").and_then(Value::as_str).unwrap_or("type");
        let name = object.get("name").and_then(Value::as_str);
        let name = name
            .ok_or_else(|| self.hinted(format!("the {word} has no \"name\""), "records, enums and fixed have names"))?;
        let namespace = match object.get("namespace") {
            None | Some(Value::Null) => outer,
            Some(Value::String(namespace)) => namespace,
            Some(_) => return Err(self.error("\"namespace\" is not a text")),
        };
        let full = qualify(name, namespace);
        for part in full.0.split('.') {
            self.check_name(part)?;
        }
        if PRIMITIVES.iter().any(|(word, _)| *word == full.0) {
            return Err(self.error(format!("\"{name}\" is a primitive type's name")));
        }
        let aliases = strings(object.get("aliases")).ok_or_else(|| self.error("\"aliases\" is no list of names"))?;
        let own = namespace_of(&full);
        let aliases = aliases.into_iter().map(|alias| qualify(alias, own)).collect();
        Ok((full, aliases))
    }

    fn check_name(&self, name: &str) -> Result<(), ParseError> {
        let mut letters = name.bytes();
        let first = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == b'_');
        if first && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_') {
            return Ok(());
        }
        Err(self.hinted(
            format!("\"{}\" is no name", name.escape_debug()),
            "names are letters, digits and `_`, and don't begin with a digit",
        ))
    }

    fn defaults(&mut self) -> Result<(), ParseError> {
        let mut encoded = Vec::with_capacity(self.pending.len());
        for ((record, index, value), place) in self.pending.iter().zip(&self.places) {
            let Kind::Record(of) = &self.nodes[record.index()].kind else { continue };
            let mut encoder = Encoder { nodes: &self.nodes, pending: &self.pending, values: 0 };
            let mut bytes = Vec::new();
            if let Err(reason) = encoder.encode(value, of.fields[*index].node, 0, &mut bytes) {
                let hint =
                    value.is_null().then(|| "add \"null\" to the field's type, or give a default that fits".to_owned());
                return Err(ParseError { path: place.clone(), reason, hint });
            }
            encoded.push((*record, *index, bytes.into_boxed_slice()));
        }
        for (record, index, bytes) in encoded {
            if let Kind::Record(of) = &mut self.nodes[record.index()].kind {
                of.fields[index].default = Some(bytes);
            }
        }
        Ok(())
    }
}

fn qualify(name: &str, namespace: &str) -> FullName {
    // A name with a dot brings its namespace along.
    if name.contains('.') || namespace.is_empty() {
        FullName(name.to_owned())
    } else {
        FullName(format!("{namespace}.{name}"))
    }
}

fn namespace_of(name: &FullName) -> &str {
    name.0.rsplit_once('.').map_or("", |(namespace, _)| namespace)
}

fn strings(value: Option<&Value>) -> Option<Vec<&str>> {
    match value {
        None => Some(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(Value::as_str).collect(),
        Some(_) => None,
    }
}

fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn logical(kind: &Kind, object: &Map<String, Value>) -> Option<Logical> {
    match (object.get("logicalType")?.as_str()?, kind) {
        ("date", Kind::Int) => Some(Logical::Date),
        ("time-millis", Kind::Int) => Some(Logical::TimeMillis),
        ("time-micros", Kind::Long) => Some(Logical::TimeMicros),
        ("timestamp-millis", Kind::Long) => Some(Logical::TimestampMillis),
        ("timestamp-micros", Kind::Long) => Some(Logical::TimestampMicros),
        ("local-timestamp-millis", Kind::Long) => Some(Logical::LocalTimestampMillis),
        ("local-timestamp-micros", Kind::Long) => Some(Logical::LocalTimestampMicros),
        ("uuid", Kind::String) => Some(Logical::Uuid),
        ("decimal", Kind::Bytes | Kind::Fixed(_)) => decimal(kind, object),
        _ => None,
    }
}

fn decimal(kind: &Kind, object: &Map<String, Value>) -> Option<Logical> {
    let number = |key: &str| object.get(key).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let precision = number("precision")?;
    let scale = if object.contains_key("scale") { number("scale")? } else { 0 };
    let digits_max = match kind {
        // floor(log10(2^(8n - 1) - 1)), by the specification.
        Kind::Fixed(fixed) => ((8.0 * fixed.size as f64 - 1.0) * std::f64::consts::LOG10_2).floor() as u32,
        _ => u32::MAX,
    };
    (precision > 0 && precision <= digits_max && scale <= precision).then_some(Logical::Decimal { precision, scale })
}
