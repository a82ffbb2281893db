//! References of a manifest, followed: `$ref: "#/definitions/x"`, which attributes beside it override.

use serde_json::{Map, Value};

/// Values, and what references point at, inside of each other.
const DEPTH_MAX: usize = 128;
/// Values of the manifest, references followed. They may name each other, and so multiply.
const VALUES_MAX: usize = 500_000;

/// Follows all references under a value.
///
/// # Errors
/// What is wrong with a reference, in words.
pub(super) fn resolve(root: &Value, value: &Value) -> Result<Value, String> {
    Resolve { root, values: 0 }.value(value, 0)
}

struct Resolve<'a> {
    root: &'a Value,
    values: usize,
}

impl Resolve<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<Value, String> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(format!("its references unfold to more than {VALUES_MAX} values"));
        }
        if depth > DEPTH_MAX {
            return Err(format!("references lead in a circle, or more than {DEPTH_MAX} deep"));
        }
        match value {
            Value::String(text) => match reference(text) {
                Some(path) => self.target(&path, depth),
                None => Ok(value.clone()),
            },
            Value::Array(items) => {
                items.iter().map(|item| self.value(item, depth + 1)).collect::<Result<_, _>>().map(Value::Array)
            }
            Value::Object(object) => self.object(object, depth),
            other => Ok(other.clone()),
        }
    }

    fn object(&mut self, object: &Map<String, Value>, depth: usize) -> Result<Value, String> {
        let mut resolved = Map::new();
        if let Some(Value::String(text)) = object.get("$ref") {
            let path = reference(text).ok_or_else(|| format!("`$ref: {text}` leads outside of the manifest"))?;
            match self.target(&path, depth)? {
                Value::Object(target) => resolved = target,
                // What is no object takes no attributes beside it.
                other => return Ok(other),
            }
        }
        for (key, value) in object.iter().filter(|(key, _)| *key != "$ref") {
            // References inside of a schema are its own.
            let value = if key == "schema_loader" { value.clone() } else { self.value(value, depth + 1)? };
            match (resolved.get_mut(key), value) {
                // Parameters add up; everything else is replaced.
                (Some(Value::Object(known)), Value::Object(more)) if is_parameters(key) => known.extend(more),
                (_, value) => {
                    resolved.insert(key.clone(), value);
                }
            }
        }
        Ok(Value::Object(resolved))
    }

    fn target(&mut self, path: &[String], depth: usize) -> Result<Value, String> {
        let mut at = self.root;
        for step in path {
            let next = match at {
                Value::Object(object) => object.get(step),
                Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            at = next.ok_or_else(|| format!("reference `#/{}` leads nowhere", path.join("/")))?;
        }
        self.value(at, depth + 1)
    }
}

pub(super) fn is_parameters(key: &str) -> bool {
    key == "$parameters" || key == "$options"
}

/// Reads `#/definitions/x`, or the older `*ref(definitions.x)`.
fn reference(text: &str) -> Option<Vec<String>> {
    if let Some(path) = text.strip_prefix("#/") {
        return Some(path.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect());
    }
    let path = text.strip_prefix("*ref(")?.strip_suffix(')')?;
    Some(path.split('.').map(str::to_owned).collect())
}
