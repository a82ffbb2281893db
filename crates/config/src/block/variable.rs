//! `variable "NAME" { type, default, description }`: a value that the command line may set.

use std::collections::BTreeMap;

use hcl_edit::expr::Expression;

use super::{Attributes, Shape};
use crate::diagnostic::Report;
use crate::value::Kind;
use crate::{Diagnostic, VariablePlan, nearest};

pub(crate) const SHAPE: Shape = Shape { attributes: &["type", "default", "description"], later: &[], blocks: &[] };

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Number,
    Bool,
}

const TYPES: [(&str, Type); 3] = [("string", Type::Text), ("number", Type::Number), ("bool", Type::Bool)];

impl Type {
    fn of(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::Text(_) => Some(Self::Text),
            Kind::Number(_) => Some(Self::Number),
            Kind::Bool(_) => Some(Self::Bool),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        TYPES.iter().find(|(_, known)| *known == self).map_or("string", |(name, _)| name)
    }

    fn parse(self, text: &str) -> Option<Kind> {
        match self {
            Self::Text => Some(Kind::Text(text.to_owned())),
            Self::Number => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Kind::Number),
            Self::Bool => text.parse().ok().map(Kind::Bool),
        }
    }
}

/// Reads the block, and returns its value too.
pub(crate) fn read(
    block: &Attributes<'_>,
    vars: &BTreeMap<String, String>,
    report: &mut Report,
) -> (VariablePlan, Kind) {
    let declared = declared_type(block, report);
    let default = block.value("default", report);
    let default_type = default.as_ref().and_then(|value| Type::of(&value.kind));
    if let Some(value) = &default
        && (default_type.is_none() || declared.is_some_and(|declared| default_type != Some(declared)))
    {
        let wanted = declared.map_or("a string, a number or a boolean", Type::name);
        let message = format!("the default of {block} must be {wanted}, and this is {}", value.kind.described());
        block.refuse("default", message, "change the default or the `type`", report);
    }
    let description = block.text("description", "what it is for", report).map(|text| text.value);
    let plan = VariablePlan { name: block.name.to_owned(), description, place: block.place() };
    let Some(given) = vars.get(block.name) else {
        let attribute = block.block.body.get_attribute("default");
        if attribute.is_some() && !block.has("default") {
            return (plan, Kind::Null);
        }
        if attribute.is_none() {
            let hint = format!("give it with `--var {}=...`, or write a `default`", block.name);
            report.push(Diagnostic::error(format!("{block} has no value")).at(block.place()).hint(hint));
        }
        return (plan, default.map_or(Kind::Unknown, |value| value.kind));
    };
    let wanted = declared.or(default_type).unwrap_or(Type::Text);
    let value = wanted.parse(given).unwrap_or_else(|| {
        // The value may have come from a file of secrets, so it is not repeated.
        let message = format!("the value given for {block} is not a {}", wanted.name());
        report.push(Diagnostic::error(message).at(block.place()).hint(format!("change `--var {}=...`", block.name)));
        Kind::Unknown
    });
    (plan, value)
}

/// A type is a bare word, so it is not evaluated.
fn declared_type(block: &Attributes<'_>, report: &mut Report) -> Option<Type> {
    let attribute = block.block.body.get_attribute("type")?;
    let word = match &attribute.value {
        Expression::Variable(word) => word.as_str(),
        Expression::String(word) => word.as_str(),
        _ => "",
    };
    let found = TYPES.iter().find(|(name, _)| *name == word).map(|(_, found)| *found);
    if found.is_none() {
        let hint = nearest::hint(word, TYPES.iter().map(|(name, _)| *name), "types");
        block.refuse("type", "this is not a type of variables", hint, report);
    }
    found
}

/// Refuses values for variables that are not declared.
pub(crate) fn check_given<'a>(
    vars: &BTreeMap<String, String>,
    declared: impl Iterator<Item = &'a str> + Clone,
    report: &mut Report,
) {
    for name in vars.keys() {
        if declared.clone().all(|known| known != name) {
            let hint = match weir_types::nearest(name, declared.clone()) {
                Some(near) => format!("did you mean `--var {near}=...`?"),
                None => nearest::there_are(declared.clone(), "variables"),
            };
            report.push(Diagnostic::error(format!("`--var {name}=...`: no such variable is declared")).hint(hint));
        }
    }
}
