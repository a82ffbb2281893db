//! Airbyte's declarative manifests (low-code CDK), the common subset.
//!
//! ```text
//! resolve.rs   references
//! jinja.rs     the simple expressions
//! stream.rs    streams: requesters, selectors, what becomes of answers
//! paging.rs    paginators
//! partition.rs parents, and cursors of time
//! auth.rs      authenticators
//! ```
//!
//! Source: `declarative_component_schema.yaml` of airbyte-python-cdk.

mod auth;
mod jinja;
mod paging;
mod partition;
mod resolve;
mod stream;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::jinja::{Access, Piece};
use super::hcl::{Block, Expr, Piece as Part};
use super::out::{Out, legal};
use super::reader::Reader;
use super::{ImportError, Imported, TEXT_BYTES_MAX};

const KIND: &str = "declarative manifest";

/// Reads a manifest, in YAML or JSON. `name` becomes that of the `api` and the `crawl`.
///
/// Each stream is a resource whose items go to a table of its name; what a stream's parents need and `streams` does not
/// list leads to others only. What the user's configuration says becomes variables, or secrets.
///
/// # Errors
/// If it is no YAML, or no manifest.
pub fn airbyte(text: &str, name: &str) -> Result<Imported, ImportError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let shape = |problem: String| ImportError::Shape { kind: KIND, problem };
    let value: Value = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text).map_err(ImportError::Json)?,
        false => serde_saphyr::from_str(text).map_err(|error| ImportError::Yaml(error.to_string()))?,
    };
    let root = value.as_object().ok_or_else(|| shape("it is no map".to_owned()))?;
    let streams = root.get("streams").ok_or_else(|| shape("it has no `streams`".to_owned()))?;
    let streams = resolve::resolve(&value, streams).map_err(shape)?;
    let streams = streams.as_array().ok_or_else(|| shape("`streams` is no list".to_owned()))?;

    let none = Map::new();
    let top = Reader::new(root, &none, String::new());
    // What describes the connector, and is none of its calls. Definitions are there where they are used.
    top.ignore(&["version", "type", "check", "definitions", "streams", "metadata", "schemas", "description", "spec"]);
    let mut import = Import::new(name, root);
    top.refuse(
        "dynamic_streams",
        "streams that are known at run time only",
        "write a resource for each",
        &mut import.out.unsupported,
    );
    top.refuse(
        "api_budget",
        "a budget",
        "write a `budget` in the `api`, or have it learned",
        &mut import.out.unsupported,
    );
    top.refuse("concurrency_level", "concurrency", "it is the budget's `concurrency`", &mut import.out.unsupported);
    top.finish(&mut import.out.unsupported);
    let names: Vec<&str> = streams.iter().filter_map(name_of).collect();
    for stream in streams {
        import.stream(stream, &names, &none);
    }
    import.finish_schemas();
    Ok(import.out.finish())
}

/// Returns a stream's name, its own or that of its parameters.
fn name_of(stream: &Value) -> Option<&str> {
    let parameters = || stream.get("$parameters").or_else(|| stream.get("$options"));
    stream.get("name").or_else(|| parameters()?.get("name"))?.as_str()
}

/// What is known while a manifest is read.
struct Import {
    out: Out,
    /// The properties of the user's configuration.
    properties: Map<String, Value>,
    /// How often a schema was left out.
    schemas: u64,
    /// The base URL of the `api`, as written in the manifest.
    base: Option<String>,
    /// The authenticator of the `api`, as written.
    authenticator: Option<Value>,
    /// Streams that were read, by name.
    done: BTreeMap<String, ()>,
}

/// What a text may refer to, beside the configuration.
#[derive(Default)]
struct Scope {
    /// Placeholders of the parents' fields, by the partition's field.
    partition: BTreeMap<String, String>,
}

/// What a text becomes.
struct Text {
    expr: Expr,
    /// Whether a secret of the configuration stands in it.
    secret: bool,
}

impl Import {
    fn new(name: &str, root: &Map<String, Value>) -> Self {
        let specification = root.get("spec").and_then(|spec| spec.get("connection_specification"));
        let properties = specification.and_then(|spec| spec.get("properties")).and_then(Value::as_object);
        Self {
            out: Out::new(name),
            properties: properties.cloned().unwrap_or_default(),
            schemas: 0,
            base: None,
            authenticator: None,
            done: BTreeMap::new(),
        }
    }

    fn finish_schemas(&mut self) {
        if self.schemas > 0 {
            let what = format!("schemas of {} streams", self.schemas);
            let hint = "they are inferred from the first answers, and pinned in files for review";
            self.out.refuse("streams[*].schema_loader", what, hint);
        }
    }

    /// Turns a text of the manifest into a template of weir's. What is not understood is named, and becomes a variable without
    /// a value: nothing is called before somebody said what it means.
    fn template(&mut self, text: &str, place: &str, scope: &Scope, parameters: &Map<String, Value>) -> Text {
        // Braces of its own are none of weir's placeholders.
        self.pieces(jinja::parse(text), |text| text.replace('{', "{{").replace('}', "}}"), place, scope, parameters)
    }

    /// The same for what is no template, or one in which other braces stand for themselves.
    fn text(&mut self, text: &str, place: &str, scope: &Scope, parameters: &Map<String, Value>) -> Text {
        self.pieces(jinja::parse(text), |text| text, place, scope, parameters)
    }

    fn pieces(
        &mut self,
        pieces: Vec<Piece>,
        literal: impl Fn(String) -> String,
        place: &str,
        scope: &Scope,
        parameters: &Map<String, Value>,
    ) -> Text {
        let mut parts: Vec<Part> = Vec::new();
        let mut secret = false;
        for piece in pieces {
            let part = match piece {
                Piece::Text(text) => Part::Literal(literal(text)),
                Piece::Unknown(expression) => self.unknown(&expression, place),
                Piece::Value(access) => match self.value(&access, scope, parameters) {
                    Some((part, is_secret)) => {
                        secret |= is_secret;
                        part
                    }
                    None => self.unknown(&shown(&access), place),
                },
            };
            match (parts.last_mut(), part) {
                (Some(Part::Literal(last)), Part::Literal(text)) => last.push_str(&text),
                (_, part) => parts.push(part),
            }
        }
        if parts.is_empty() {
            parts.push(Part::Literal(String::new()));
        }
        Text { expr: Expr::Text(parts), secret }
    }

    fn unknown(&mut self, expression: &str, place: &str) -> Part {
        let description = Expr::text(format!("was {expression}"));
        let known = self.out.variables.iter().find(|(_, block)| block.get("description") == Some(&description));
        let name = known.map(|(name, _)| name.clone()).unwrap_or_else(|| {
            let last = place.rsplit('.').next().unwrap_or_default();
            format!("{}_{}", legal(last).replace('-', "_"), self.out.variables.len() + 1)
        });
        let block = Block::named("variable", &name).with("description", description);
        self.out.variables.insert(name.clone(), block);
        let hint = format!("say what it means as variable `{name}`");
        self.out.refuse(place, format!("the expression `{expression}`"), &hint);
        Part::Expression(format!("var.{name}"))
    }

    fn value(&mut self, access: &Access, scope: &Scope, parameters: &Map<String, Value>) -> Option<(Part, bool)> {
        let last = access.path.last().map(String::as_str).unwrap_or_default();
        let literal = |text: String| Some((Part::Literal(text), false));
        match access.root.as_str() {
            "config" if !access.path.is_empty() => {
                let (expression, secret) = self.config(&access.path, access.default.as_deref());
                Some((Part::Expression(expression), secret))
            }
            "parameters" | "options" => {
                let value = access.path.iter().try_fold(None, |at: Option<&Value>, step| {
                    Some(Some(match at {
                        None => parameters.get(step)?,
                        Some(value) => value.get(step)?,
                    }))
                });
                match value?? {
                    Value::String(text) => literal(text.clone()),
                    Value::Object(_) | Value::Array(_) => None,
                    other => literal(other.to_string()),
                }
            }
            "stream_partition" | "stream_slice" | "stream_interval" => match last {
                _ if scope.partition.contains_key(last) => literal(scope.partition[last].clone()),
                "start_time" => literal("{incremental.start_value}".to_owned()),
                "end_time" => literal("{incremental.end_value}".to_owned()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the variable, or the secret, that a value of the configuration becomes.
    fn config(&mut self, path: &[String], default: Option<&str>) -> (String, bool) {
        let name = legal(&path.join("_")).replace('-', "_");
        let property = property(&self.properties, path);
        let is_secret = property.and_then(|property| property.get("airbyte_secret")).and_then(Value::as_bool);
        if is_secret == Some(true) {
            let secret = self.out.secret(&name, format!("config.{}", path.join(".")));
            return (format!("secret(\"{secret}\")"), true);
        }
        let default = default.map(Value::from).or_else(|| property?.get("default").cloned());
        let description = property.and_then(|property| property.get("title")).and_then(Value::as_str);
        self.out.variables.entry(name.clone()).or_insert_with(|| {
            let mut block = Block::named("variable", &name);
            if let Some(description) = description {
                block.set("description", Expr::text(description));
            }
            match default {
                Some(Value::String(text)) => block.set("default", Expr::text(text)),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => block.set("default", Expr::raw(value)),
                _ => {}
            }
            block
        });
        (format!("var.{name}"), false)
    }

    /// Turns what must be a secret, whatever the specification says of it, into one; a text around it stays. A literal is not
    /// taken over.
    fn secret_text(&mut self, text: &str, what: &str, place: &str, parameters: &Map<String, Value>) -> Expr {
        let mut parts = Vec::new();
        let mut has_secret = false;
        for piece in jinja::parse(text) {
            match piece {
                Piece::Value(access) if access.root == "config" && !access.path.is_empty() => {
                    let name = self.out.secret(&access.path.join("_"), format!("config.{}", access.path.join(".")));
                    parts.push(Part::Expression(format!("secret(\"{name}\")")));
                    has_secret = true;
                }
                piece => {
                    let text = self.pieces(vec![piece], |text| text, place, &Scope::default(), parameters);
                    if let Expr::Text(more) = text.expr {
                        parts.extend(more);
                    }
                }
            }
        }
        match parts.as_slice() {
            [Part::Expression(secret)] if has_secret => Expr::raw(secret),
            _ if has_secret => Expr::Text(parts),
            _ => Expr::secret(&self.out.secret(what, place)),
        }
    }
}

/// Finds a property by its path; properties of alternatives (`oneOf`) as well.
fn property<'a>(properties: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let found = properties.get(first)?;
    if rest.is_empty() {
        return Some(found);
    }
    let alternatives = found.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let inner = std::iter::once(found).chain(alternatives).filter_map(|value| value.get("properties")?.as_object());
    inner.into_iter().find_map(|properties| property(properties, rest))
}

fn shown(access: &Access) -> String {
    std::iter::once(&access.root).chain(&access.path).map(String::as_str).collect::<Vec<_>>().join(".")
}

/// Joins a component's parameters to those around it.
fn parameters(component: &Map<String, Value>, around: &Map<String, Value>) -> Map<String, Value> {
    let mut joined = around.clone();
    for key in ["$parameters", "$options"] {
        if let Some(Value::Object(own)) = component.get(key) {
            joined.extend(own.clone());
        }
    }
    joined
}
