//! Texts with placeholders: `/groups/{resources.group.id}/devices`.
//!
//! A placeholder is `{resources.NAME.FIELD}`, `{tenant.NAME}`, `{params.NAME}`, `{incremental.start_value}` or
//! `{incremental.end_value}`. `{{` and `}}` are the braces themselves, as in Python's format strings. In bodies, where
//! braces are common (GraphQL), any other brace stands for itself.

use std::borrow::Cow;

use serde_json::Value;

use crate::FieldProblem;
use crate::path::Path;

/// A text, cut at its placeholders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Template {
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug, Clone)]
pub(crate) enum Part {
    Text(String),
    Slot(Slot),
}

/// A placeholder.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    /// A field of an item above.
    Field(Field),
    Tenant(String),
    Param(String),
    Start,
    End,
}

/// A field of a resource's items.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) resource: String,
    pub(crate) path: Path,
    /// `RESOURCE.FIELD`: its name among a task's values.
    pub(crate) key: String,
}

/// What a brace means that begins no placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Braces {
    /// A mistake.
    Refused,
    /// Itself.
    Kept,
}

impl Slot {
    /// Returns the placeholder as it is written, without its braces.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Field(field) => format!("resources.{}", field.key).into(),
            Self::Tenant(name) => format!("tenant.{name}").into(),
            Self::Param(name) => format!("params.{name}").into(),
            Self::Start => "incremental.start_value".into(),
            Self::End => "incremental.end_value".into(),
        }
    }
}

impl Template {
    /// Compiles a text.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(text: &str, braces: Braces) -> Result<Self, String> {
        let mut parts = Parts::default();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            parts.text(&rest[..at]);
            rest = &rest[at..];
            rest = match braces {
                Braces::Refused => strict(rest, text, &mut parts)?,
                Braces::Kept => lenient(rest, text, &mut parts)?,
            };
        }
        parts.text(rest);
        Ok(Self { parts: parts.0 })
    }

    /// Returns the placeholders.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.parts.iter().filter_map(|part| if let Part::Slot(slot) = part { Some(slot) } else { None })
    }

    /// Returns the placeholder that the whole text is, if it is one.
    pub(crate) fn whole(&self) -> Option<&Slot> {
        match self.parts.as_slice() {
            [Part::Slot(slot)] => Some(slot),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn text(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.0.push(Part::Text(text.to_owned())),
        }
    }
}

/// Reads one brace, or placeholder, where any other brace is a mistake; returns what is behind it.
fn strict<'a>(rest: &'a str, text: &str, parts: &mut Parts) -> Result<&'a str, String> {
    for brace in ["{", "}"] {
        if let Some(behind) = rest.strip_prefix(brace).and_then(|behind| behind.strip_prefix(brace)) {
            parts.text(brace);
            return Ok(behind);
        }
    }
    let Some(inner) = rest.strip_prefix('{') else {
        return Err(format!("`}}` in `{text}` closes nothing; write `}}}}` for a brace"));
    };
    let Some((name, behind)) = inner.split_once('}') else {
        return Err(format!("`{{` in `{text}` is not closed; write `{{{{` for a brace"));
    };
    parts.0.push(Part::Slot(slot(name)?));
    Ok(behind)
}

/// The same where other braces stand for themselves.
fn lenient<'a>(rest: &'a str, text: &str, parts: &mut Parts) -> Result<&'a str, String> {
    if let Some((name, behind)) = rest.strip_prefix("{{").and_then(|inner| inner.split_once("}}"))
        && is_reference(name)
    {
        parts.text(&format!("{{{name}}}"));
        return Ok(behind);
    }
    if let Some((name, behind)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'))
        && is_reference(name)
    {
        parts.0.push(Part::Slot(slot(name).map_err(|problem| format!("{problem} (in `{text}`)"))?));
        return Ok(behind);
    }
    parts.text(&rest[..1]);
    Ok(&rest[1..])
}

/// Whether what stands in braces has a placeholder's form, right or wrong.
fn is_reference(name: &str) -> bool {
    let Some((first, rest)) = name.split_once('.') else { return false };
    let word = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "{}\":,".contains(c));
    word(first) && word(rest)
}

fn slot(name: &str) -> Result<Slot, String> {
    let trimmed = name.trim();
    let known = "`{resources.NAME.FIELD}`, `{tenant.NAME}`, `{params.NAME}`, `{incremental.start_value}` and \
                 `{incremental.end_value}` are known";
    let Some((kind, rest)) = trimmed.split_once('.') else {
        return Err(format!("`{{{trimmed}}}` is no placeholder: {known}"));
    };
    match (kind, rest) {
        (_, "") => Err(format!("`{{{trimmed}}}` has no name behind its dot")),
        ("resources", _) => field(rest).map(Slot::Field),
        ("tenant", _) => Ok(Slot::Tenant(rest.to_owned())),
        ("params", _) => Ok(Slot::Param(rest.to_owned())),
        ("incremental", "start_value" | "last_value") => Ok(Slot::Start),
        ("incremental", "end_value") => Ok(Slot::End),
        _ => Err(format!("`{{{trimmed}}}` is no placeholder: {known}")),
    }
}

fn field(rest: &str) -> Result<Field, String> {
    let Some((resource, path)) = rest.split_once('.').filter(|(_, path)| !path.is_empty()) else {
        return Err(format!("`{{resources.{rest}}}` has no field; write `{{resources.{rest}.FIELD}}`"));
    };
    let parsed = Path::parse(path).map_err(|problem| format!("field `{path}` {problem}"))?;
    Ok(Field { resource: resource.to_owned(), path: parsed, key: format!("{resource}.{path}") })
}

/// Returns the text that a value is filled in as.
///
/// # Errors
/// Null, lists, objects, and numbers that were rounded when they were read have none.
pub(crate) fn text_of(value: &Value) -> Result<Cow<'_, str>, FieldProblem> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Bool(flag) => Ok(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Value::Number(number) if is_exact(number) => Ok(Cow::Owned(number.to_string())),
        Value::Number(_) => Err(FieldProblem::Inexact),
        Value::Null => Err(FieldProblem::Missing),
        Value::Array(_) | Value::Object(_) => Err(FieldProblem::Nested),
    }
}

/// Whether a number is as it was written: integers beyond 64 bits are read as doubles, which round from 2^53 on.
fn is_exact(number: &serde_json::Number) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    !number.is_f64() || number.as_f64().is_some_and(|float| float.abs() < EXACT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, braces: Braces) -> String {
        let parts = match Template::parse(text, braces) {
            Ok(template) => template.parts,
            Err(error) => return format!("error: {error}"),
        };
        let show = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Slot(slot) => format!("<{}>", slot.name()),
        };
        parts.iter().map(show).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn texts_are_cut_at_placeholders() {
        let table = [
            ("/a/{resources.group.id}/b", "/a/|<resources.group.id>|/b"),
            ("{resources.group.meta.id}", "<resources.group.meta.id>"),
            ("{ tenant.name }", "<tenant.name>"),
            ("{params.region}-{incremental.start_value}", "<params.region>|-|<incremental.start_value>"),
            ("{{literal}}", "{literal}"),
            ("plain", "plain"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text, Braces::Refused), expected);
        }
        for wrong in ["{id}", "{resources.group}", "{resource.group.id}", "{resources.group.id", "a}", "{tenant.}"] {
            assert!(shown(wrong, Braces::Refused).starts_with("error"), "{wrong}");
        }
    }

    #[test]
    fn bodies_keep_their_own_braces() {
        let table = [
            ("query { devices { id }}", "query { devices { id }}"),
            ("{a{b}}", "{a{b}}"),
            ("{ group(id: \"{resources.group.id}\") { name } }", "{ group(id: \"|<resources.group.id>|\") { name } }"),
            ("{{params.x}}", "{params.x}"),
            ("{\"a\": 1.5}", "{\"a\": 1.5}"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text, Braces::Kept), expected);
        }
        assert!(shown("{resource.group.id}", Braces::Kept).starts_with("error"));
    }

    #[test]
    fn rounded_numbers_are_not_filled_in() {
        let text = |json: &str| text_of(&serde_json::from_str(json).unwrap()).map(Cow::into_owned);
        assert_eq!(text("18446744073709551615"), Ok("18446744073709551615".to_owned()));
        assert_eq!(text("18446744073709551616"), Err(FieldProblem::Inexact));
        assert_eq!(text("1.5"), Ok("1.5".to_owned()));
        assert_eq!(text("[1]"), Err(FieldProblem::Nested));
        assert_eq!(text("null"), Err(FieldProblem::Missing));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_template_or_an_error(text in "\\PC{0,24}|[{}a-c.rsoue]{0,24}") {
            let _ = Template::parse(&text, Braces::Refused);
            let _ = Template::parse(&text, Braces::Kept);
        }
    }
}
