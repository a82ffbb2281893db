//! JSON merge patch (RFC 7386) over text, so that what a patch does not name stays as it is written: no number is read and
//! written again.
//!
//! An object in the patch is merged into what stands there, member by member; null takes the member away; anything else
//! takes the place of what stands there.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use weir_types::limits::NESTING_MAX;

/// A patch that can't be applied, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct PatchError(String);

/// The members of an object, in order.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

fn is_object(value: &RawValue) -> bool {
    value.get().trim_start().starts_with('{')
}

fn members(value: &RawValue) -> Result<Members, PatchError> {
    serde_json::from_str(value.get()).map_err(|error| PatchError(error.to_string()))
}

/// Applies a patch to a value.
pub(super) fn merge(value: &RawValue, patch: &RawValue) -> Result<String, PatchError> {
    merge_at(Some(value), patch, 0)
}

fn merge_at(value: Option<&RawValue>, patch: &RawValue, depth: usize) -> Result<String, PatchError> {
    if depth > NESTING_MAX {
        return Err(PatchError(format!("the patch has more than {NESTING_MAX} levels")));
    }
    if !is_object(patch) {
        return Ok(patch.get().to_owned());
    }
    let mut merged: Vec<(String, String)> = match value.filter(|value| is_object(value)) {
        Some(value) => members(value)?.0.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect(),
        None => Vec::new(),
    };
    for (name, patch) in members(patch)?.0 {
        let at = merged.iter().position(|(known, _)| *known == name);
        if patch.get() == "null" {
            // Not swap_remove: the order of what stays is kept.
            at.map(|at| merged.remove(at));
            continue;
        }
        let before = at.map(|at| RawValue::from_string(merged[at].1.clone())).transpose();
        let before = before.map_err(|error| PatchError(error.to_string()))?;
        let value = merge_at(before.as_deref(), &patch, depth + 1)?;
        match at {
            Some(at) => merged[at].1 = value,
            None => merged.push((name, value)),
        }
    }
    let mut out = String::from("{");
    for (index, (name, value)) in merged.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&serde_json::to_string(name).map_err(|error| PatchError(error.to_string()))?);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(value: &str, patch: &str) -> String {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        merge(&raw(value), &raw(patch)).unwrap()
    }

    #[test]
    fn the_examples_of_rfc_7386_come_out_as_there() {
        let examples = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ];
        for (value, patch, wanted) in examples {
            assert_eq!(merged(value, patch), wanted, "{value} with {patch}");
        }
    }

    #[test]
    fn what_is_not_named_keeps_its_text() {
        let value = r#"{"decimal": 0.1000000000000000055511151231257827, "big":123456789012345678901234567890,"x":1}"#;
        let wanted =
            r#"{"decimal":0.1000000000000000055511151231257827,"big":123456789012345678901234567890,"x":2.50}"#;
        assert_eq!(merged(value, r#"{"x":2.50}"#), wanted);
    }

    #[test]
    fn a_patch_that_is_too_deep_is_refused() {
        let raw = |text: String| RawValue::from_string(text).unwrap();
        let deep = format!("{}1{}", r#"{"a":"#.repeat(100), "}".repeat(100));
        assert!(merge(&raw("{}".to_owned()), &raw(deep)).unwrap_err().to_string().contains("levels"));
    }
}
