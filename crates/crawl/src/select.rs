//! Where the items of an answer are, told or found.
//!
//! Found as in dlt: the answer itself where it is a list, else a list with a name that records go by, else its one list.
//! Where dlt takes the first of several, this refuses: taking the wrong list for data would not show.

use serde_json::Value;

use crate::Failure;
use crate::path::Path;

/// Names that lists of records go by.
const RECORDS: [&str; 11] =
    ["data", "items", "results", "entries", "records", "rows", "entities", "payload", "content", "objects", "values"];

/// Names of what is about the answer, and no data.
const NO_RECORDS: [&str; 9] =
    ["meta", "metadata", "pagination", "links", "extras", "headers", "errors", "warnings", "messages"];

/// Keys of answers that are nothing but an error.
const ERROR_KEYS: [&str; 18] = [
    "error",
    "errors",
    "fault",
    "message",
    "code",
    "status",
    "statuscode",
    "detail",
    "details",
    "title",
    "type",
    "instance",
    "error_description",
    "error_code",
    "request_id",
    "requestid",
    "success",
    "extensions",
];

/// Levels of objects in which lists are looked for.
const LEVELS: usize = 3;

/// The most keys of an answer that a failure shows.
const KEYS_SHOWN: usize = 12;

/// Where a resource's items are.
#[derive(Debug, Clone)]
pub(crate) enum Selector {
    /// Where the crawl says.
    Path(Path),
    /// The answer itself is one item, or a list of them.
    Whole,
    /// Found by looking.
    Find,
}

/// Returns where the items are.
///
/// # Errors
/// Several lists could be meant, or the answer is an error in disguise.
pub(crate) fn find(root: &Value) -> Result<Path, Failure> {
    let Value::Object(_) = root else { return Ok(Path::of_names(&[])) };
    let lists = lists(root);
    let last =
        |path: &&Vec<&str>| path.last().is_some_and(|name| RECORDS.contains(&name.to_ascii_lowercase().as_str()));
    let named: Vec<&Vec<&str>> = lists.iter().filter(last).collect();
    let candidates = if named.is_empty() { lists.iter().collect() } else { named };
    let least = candidates.iter().map(|path| path.len()).min().unwrap_or_default();
    let candidates: Vec<_> = candidates.into_iter().filter(|path| path.len() == least).collect();
    match candidates.as_slice() {
        [] => Ok(Path::of_names(&[])),
        [one] => Ok(Path::of_names(one)),
        several => {
            let candidates = several.iter().map(|path| format!("`{}`", clip(&path.join("."), 80))).take(KEYS_SHOWN);
            Err(Failure::AmbiguousData { candidates: candidates.collect() })
        }
    }
}

/// Whether an answer is an object that says nothing but that something went wrong.
pub(crate) fn is_error(root: &Value) -> bool {
    let Value::Object(map) = root else { return false };
    let told = |key: &str| map.get(key).is_some_and(|value| !is_nothing(value));
    let known =
        |key: &String, value: &Value| value.is_null() || ERROR_KEYS.contains(&key.to_ascii_lowercase().as_str());
    (told("error") || told("errors") || told("fault")) && map.iter().all(|(key, value)| known(key, value))
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Returns the paths of all lists in objects, without what is about the answer.
fn lists(root: &Value) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    let mut level: Vec<(Vec<&str>, &Value)> = vec![(Vec::new(), root)];
    for _ in 0..LEVELS {
        let mut next = Vec::new();
        for (path, node) in level {
            let Value::Object(map) = node else { continue };
            for (key, value) in map {
                if NO_RECORDS.contains(&key.to_ascii_lowercase().as_str()) {
                    continue;
                }
                let path = [path.as_slice(), &[key.as_str()]].concat();
                match value {
                    Value::Array(_) => found.push(path),
                    Value::Object(_) => next.push((path, value)),
                    _ => {}
                }
            }
        }
        level = next;
    }
    found
}

/// Says what an answer has, for whoever looks for something else in it.
pub(crate) fn describe(root: &Value) -> String {
    match root {
        Value::Object(map) if map.is_empty() => "is an empty object".to_owned(),
        Value::Object(map) => {
            let keys: Vec<_> = map.keys().take(KEYS_SHOWN).map(|key| format!("`{}`", clip(key, 40))).collect();
            let more =
                if map.len() > KEYS_SHOWN { format!(" and {} more", map.len() - KEYS_SHOWN) } else { String::new() };
            format!("has {}{more}", keys.join(", "))
        }
        Value::Array(list) => format!("is a list of {}", list.len()),
        Value::String(_) => "is a text".to_owned(),
        Value::Null => "is null".to_owned(),
        other => format!("is {other}"),
    }
}

/// Cuts a text of the vendor's to a length, and takes what moves the terminal's cursor out of it.
pub(crate) fn clip(text: &str, max: usize) -> String {
    let mut clipped: String = text.chars().take(max).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(max).is_some() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_found_by_name_and_level() {
        let table = [
            (json!([1]), Ok("$")),
            (json!({"id": 1}), Ok("$")),
            (json!({"devices": [], "next": null}), Ok("devices")),
            (json!({"tags": [], "data": []}), Ok("data")),
            (json!({"tags": [], "data": {"items": []}}), Ok("data.items")),
            (json!({"_embedded": {"devices": []}, "_links": {}}), Ok("_embedded.devices")),
            (json!({"meta": {"pages": []}, "errors": [], "devices": []}), Ok("devices")),
            (json!({"a": {"b": {"c": {"d": []}}}}), Ok("$")),
            (json!({"devices": [], "groups": []}), Err(2)),
            (json!({"data": [], "items": []}), Err(2)),
        ];
        for (root, expected) in table {
            let found = find(&root).map(|path| path.text().to_owned());
            let found = found.map_err(|failure| match failure {
                Failure::AmbiguousData { candidates } => candidates.len(),
                other => panic!("{other}"),
            });
            assert_eq!(found.as_deref(), expected.as_ref().copied(), "{root}");
        }
    }

    #[test]
    fn errors_in_disguise_are_seen() {
        assert!(is_error(&json!({"error": "rate limit exceeded", "code": 88})));
        assert!(is_error(&json!({"data": null, "errors": [{"message": "throttled"}]})));
        assert!(!is_error(&json!({"error": null, "id": 1})));
        assert!(!is_error(&json!({"error": "sensor broken", "id": 1})));
        assert!(!is_error(&json!({"message": "hello"})));
        assert!(!is_error(&json!([])));
    }

    #[test]
    fn what_an_answer_has_is_said_without_control_characters() {
        assert_eq!(describe(&json!({"a": 1, "b\u{1b}[2J": 2})), "has `a`, `b [2J`");
        assert_eq!(describe(&json!([1, 2])), "is a list of 2");
        assert_eq!(clip("abc", 2), "ab…");
    }
}
