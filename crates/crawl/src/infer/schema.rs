//! From a sample's counts to a schema's text.

use serde_json::{Value, json};

use super::name::{Names, legal};
use super::sample::{Node, Sample, Seen};
use super::text::text;
use super::{NAME, REQUIRED_FROM};

/// Names that no type may have.
const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// Columns that tables add of their own.
const RESERVED: [&str; 3] = ["_day", "_hour", "_bucket"];

/// What a place becomes.
enum Type {
    Boolean,
    Long,
    Double,
    String,
    Date,
    Millis,
    Micros,
    Record,
    List,
    /// A text that takes any value, and why.
    Any(String),
}

impl Sample {
    /// Returns the schema's text: a record `name` with a field per column, `keys` first, the others by name, those that begin
    /// with `_` last.
    ///
    /// A field is required if all items have it and there are [`REQUIRED_FROM`] of them, or it is a key; else it may be null, and
    /// is null by default. Values of different types, and lists and objects that were never seen with something in
    /// them, become texts, which hold others' JSON. Times are such if all values are RFC 3339 with an offset.
    pub fn schema(&self, name: &str, keys: &[String]) -> String {
        let mut types = Names::without(&PRIMITIVES);
        let schema = record(&self.root, name, keys, Names::without(&RESERVED), &mut types);
        text(&schema)
    }

    /// Returns what was seen, field by field, outer ones first.
    pub fn describe(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        describe_fields(&self.root, "", &mut seen);
        seen
    }
}

fn resolve(node: &Node) -> Type {
    let numbers = node.longs + node.doubles + node.huge;
    let kinds = [
        (node.booleans, "booleans"),
        (numbers, "numbers"),
        (node.strings, "texts"),
        (node.objects, "objects"),
        (node.lists, "lists"),
    ];
    let met: Vec<&str> = kinds.iter().filter(|(count, _)| *count > 0).map(|(_, word)| *word).collect();
    let same = |count: u64| count == node.strings;
    match met[..] {
        [] => Type::Any("seen as null alone".to_owned()),
        ["booleans"] => Type::Boolean,
        ["numbers"] if node.huge > 0 => Type::Any("seen as integers beyond 64 bits".to_owned()),
        ["numbers"] if node.doubles == 0 => Type::Long,
        ["numbers"] if node.wide > 0 => Type::Any("seen as fractions, and as integers that a double rounds".to_owned()),
        ["numbers"] => Type::Double,
        ["texts"] if same(node.dates) => Type::Date,
        ["texts"] if same(node.millis) => Type::Millis,
        ["texts"] if same(node.millis + node.micros) => Type::Micros,
        ["texts"] => Type::String,
        ["objects"] | ["lists"] if node.closed.is_some() => Type::Any(node.closed.unwrap_or_default().to_owned()),
        ["objects"] if node.fields.is_empty() => Type::Any("seen as an empty object alone".to_owned()),
        ["objects"] => Type::Record,
        ["lists"] if node.items.is_none() => Type::Any("seen as an empty list alone".to_owned()),
        ["lists"] => Type::List,
        _ => Type::Any(format!("seen as {}", met.join(" and "))),
    }
}

/// Field names in the schema's order.
fn ordered<'a>(node: &'a Node, keys: &[String]) -> Vec<(&'a str, &'a Node)> {
    let mut fields: Vec<(&str, &Node)> = node.fields.iter().map(|(name, field)| (name.as_str(), field)).collect();
    let key = |name: &str| keys.iter().position(|key| key == name).unwrap_or(keys.len());
    fields.sort_by_key(|(name, _)| (key(name), name.starts_with('_')));
    fields
}

fn record(node: &Node, name: &str, keys: &[String], mut names: Names, types: &mut Names) -> Value {
    let type_name = types.give(name);
    let ordered = ordered(node, keys);
    // Names that are legal as they are stay so, whoever else would become the same.
    let kept: Vec<bool> = ordered.iter().map(|(name, _)| names.take(name)).collect();
    let fields = ordered.iter().zip(kept).map(|((name, field), kept)| {
        let given = if kept { (*name).to_owned() } else { names.give(name) };
        let required = field.nulls == 0
            && field.seen == node.objects
            && (node.objects >= REQUIRED_FROM || keys.iter().any(|key| key == name));
        let inner_name = format!("{type_name}_{}", legal(name));
        let inner = plain(field, &inner_name, types);
        let mut json = json!({"name": given});
        if given != *name {
            json[NAME] = json!(name);
        }
        if let Type::Any(why) = resolve(field) {
            json["doc"] = json!(format!("texts as they are, other values as JSON: {why}"));
        }
        json["type"] = if required { inner } else { json!(["null", inner]) };
        if !required {
            json["default"] = Value::Null;
        }
        json
    });
    json!({"type": "record", "name": type_name, "fields": fields.collect::<Vec<Value>>()})
}

/// The type of what is not null.
fn plain(node: &Node, name: &str, types: &mut Names) -> Value {
    let logical = |base: &str, logical: &str| json!({"type": base, "logicalType": logical});
    match resolve(node) {
        Type::Boolean => json!("boolean"),
        Type::Long => json!("long"),
        Type::Double => json!("double"),
        Type::String => json!("string"),
        Type::Date => logical("int", "date"),
        Type::Millis => logical("long", "timestamp-millis"),
        Type::Micros => logical("long", "timestamp-micros"),
        Type::Any(_) => json!("string"),
        Type::Record => record(node, name, &[], Names::default(), types),
        Type::List => {
            let items = node.items.as_deref().expect("a list that was seen with items");
            let inner = plain(items, &format!("{name}_item"), types);
            let items = if items.nulls > 0 { json!(["null", inner]) } else { inner };
            json!({"type": "array", "items": items})
        }
    }
}

fn describe_fields(node: &Node, prefix: &str, seen: &mut Vec<Seen>) {
    for (name, field) in ordered(node, &[]) {
        describe(field, format!("{prefix}{name}"), node.objects, seen);
    }
}

fn describe(node: &Node, path: String, of: u64, seen: &mut Vec<Seen>) {
    let (becomes, note) = match resolve(node) {
        Type::Boolean => ("boolean", None),
        Type::Long => ("long", None),
        Type::Double => ("double", None),
        Type::String => ("string", None),
        Type::Date => ("date", None),
        Type::Millis => ("timestamp-millis", None),
        Type::Micros => ("timestamp-micros", None),
        Type::Record => ("record", None),
        Type::List => ("array", None),
        Type::Any(why) => ("string of any value", Some(why)),
    };
    let inside = note.is_none();
    let at = path.clone();
    seen.push(Seen { path, becomes: becomes.to_owned(), count: node.seen, of, nulls: node.nulls, note });
    if !inside {
        return;
    }
    describe_fields(node, &format!("{at}."), seen);
    if let Some(items) = &node.items {
        describe(items, format!("{at}[]"), items.seen, seen);
    }
}
