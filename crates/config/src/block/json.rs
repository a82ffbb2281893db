//! Values as JSON: a schedule's input, a request's body.

use super::Attributes;
use crate::Diagnostic;
use crate::diagnostic::Report;
use crate::value::{Kind, Value};

/// Whole numbers up to here are exact in JSON's readers, and in ours.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The attribute that holds the value.
pub(super) struct Holder {
    pub(super) attribute: &'static str,
    /// What to do with a secret instead.
    pub(super) secret_hint: &'static str,
}

/// Writes a value as JSON, maps in the order in which they are written; `None` if something in it was refused.
pub(super) fn write(
    block: &Attributes<'_>,
    value: &Value,
    holder: &Holder,
    out: &mut String,
    report: &mut Report,
) -> Option<()> {
    let mut refuse = |message: String, hint: &str| {
        let place = block.place_of(Some(value.span.clone()));
        report.push(Diagnostic::error(message).at(place).hint(hint));
        None
    };
    match &value.kind {
        Kind::Null => out.push_str("null"),
        Kind::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Kind::Number(number) if number.fract() == 0.0 && number.abs() <= EXACT_MAX => {
            out.push_str(&format!("{number:.0}"));
        }
        Kind::Number(number) if number.fract() == 0.0 => {
            return refuse(format!("{number} is not exact as a number"), "write it as a string");
        }
        Kind::Number(number) => out.push_str(&number.to_string()),
        Kind::Text(text) => out.push_str(&serde_json::Value::from(text.as_str()).to_string()),
        Kind::List(elements) => {
            let mut whole = Some(());
            for (index, element) in elements.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                whole = whole.and(write(block, element, holder, out, report));
            }
            out.push_str(if elements.is_empty() { "[]" } else { "]" });
            return whole;
        }
        Kind::Map(entries) => {
            let mut whole = Some(());
            for (index, (key, element)) in entries.iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                out.push(':');
                whole = whole.and(write(block, element, holder, out, report));
            }
            out.push_str(if entries.is_empty() { "{}" } else { "}" });
            return whole;
        }
        Kind::Secret(_) => {
            let message = format!("`{}` can't hold a secret: it is shown in plans and logs", holder.attribute);
            return refuse(message, holder.secret_hint);
        }
        Kind::Reference { .. } => {
            return refuse(format!("`{}` can't hold a reference", holder.attribute), "write a string");
        }
        Kind::Credentials(_) => {
            return refuse(format!("`{}` can't hold credentials", holder.attribute), "set them as `auth` of an api");
        }
        // Its mistake is reported.
        Kind::Unknown => return None,
    }
    Some(())
}
