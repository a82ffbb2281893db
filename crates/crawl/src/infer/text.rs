//! A schema's text, for people: keys in the order in which schemas are read, a field on a line.

use serde_json::Value;

use super::NAME;

/// The keys of records, fields and types, as people write them.
const ORDER: [&str; 8] = ["type", "name", NAME, "doc", "fields", "items", "logicalType", "default"];

/// Writes a schema.
pub(super) fn text(schema: &Value) -> String {
    let mut out = String::new();
    write(schema, 0, &mut out);
    out.push('\n');
    out
}

/// Tells whether there is a record in it, which takes lines of its own.
fn is_long(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.contains_key("fields") || object.values().any(is_long),
        Value::Array(values) => values.iter().any(is_long),
        _ => false,
    }
}

fn write(value: &Value, indent: usize, out: &mut String) {
    let (open, close, parts): (char, char, Vec<(Option<&str>, &Value)>) = match value {
        Value::Object(object) => ('{', '}', ordered(object)),
        Value::Array(values) => ('[', ']', values.iter().map(|value| (None, value)).collect()),
        other => return out.push_str(&other.to_string()),
    };
    // A list of fields is a line each, whatever is in it.
    let fields = matches!(value, Value::Array(values) if values.iter().all(|value| value.get("name").is_some()));
    let long = is_long(value) || (fields && !parts.is_empty());
    let inner = if long { indent + 2 } else { indent };
    out.push(open);
    for (index, (key, part)) in parts.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match (long, open) {
            (true, _) => out.extend(std::iter::once('\n').chain(std::iter::repeat_n(' ', inner))),
            (false, '{') => out.push(' '),
            (false, _) if index > 0 => out.push(' '),
            (false, _) => {}
        }
        if let Some(key) = key {
            out.push_str(&Value::from(*key).to_string());
            out.push_str(": ");
        }
        write(part, inner, out);
    }
    match (long, open) {
        (true, _) => out.extend(std::iter::once('\n').chain(std::iter::repeat_n(' ', indent))),
        (false, '{') if !parts.is_empty() => out.push(' '),
        (false, _) => {}
    }
    out.push(close);
}

/// Returns an object's parts in the order of [`ORDER`]; of a field, the name comes before the type.
fn ordered(object: &serde_json::Map<String, Value>) -> Vec<(Option<&str>, &Value)> {
    let is_field = object.contains_key("name") && !object.contains_key("fields");
    let rank = |key: &str| match key {
        "type" if is_field => 4,
        key => ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len()),
    };
    let mut parts: Vec<(Option<&str>, &Value)> =
        object.iter().map(|(key, value)| (Some(key.as_str()), value)).collect();
    parts.sort_by_key(|(key, _)| rank(key.unwrap_or_default()));
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_a_line_and_a_record_within_has_lines_of_its_own() {
        let place = json!({"type": "record", "name": "reading_place", "fields": [{"name": "lat", "type": "double"}]});
        let schema = json!({"type": "record", "name": "reading", "fields": [
            {"name": "id", "type": "string"},
            {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null},
            {"name": "first_seen", NAME: "first-seen", "type": "string"},
            {"name": "place", "type": ["null", place], "default": null},
        ]});
        let expected = r#"{
  "type": "record",
  "name": "reading",
  "fields": [
    { "name": "id", "type": "string" },
    { "name": "at", "type": ["null", { "type": "long", "logicalType": "timestamp-millis" }], "default": null },
    { "name": "first_seen", "weir_name": "first-seen", "type": "string" },
    {
      "name": "place",
      "type": [
        "null",
        {
          "type": "record",
          "name": "reading_place",
          "fields": [
            { "name": "lat", "type": "double" }
          ]
        }
      ],
      "default": null
    }
  ]
}
"#;
        assert_eq!(text(&schema), expected);
        assert_eq!(serde_json::from_str::<Value>(&text(&schema)).unwrap(), schema);
    }
}
