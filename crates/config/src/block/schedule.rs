//! `schedule "NAME" { when, timezone, missed, input }`.

use std::sync::Arc;

use weir_schedule::{Missed, ParseError, Schedule};
use weir_types::ScheduleName;

use super::json::{self, Holder};
use super::{Attributes, Shape, Spanned};
use crate::diagnostic::Report;
use crate::limits::INPUT_BYTES_MAX;
use crate::sql::Sql;
use crate::value::Kind;
use crate::{Diagnostic, SchedulePlan};

pub(crate) const SHAPE: Shape =
    Shape { attributes: &["when", "timezone", "missed", "input"], later: &["start", "end", "jitter"], blocks: &[] };

const INPUT: Holder = Holder {
    attribute: "input",
    secret_hint: "give it to the function: `environment = { TOKEN = secret(\"TOKEN\") }`",
};

const MISSED: [(&str, Missed); 3] = [("skip", Missed::Skip), ("once", Missed::Once), ("all", Missed::All)];

pub(crate) fn read(block: &Attributes<'_>, name: ScheduleName, report: &mut Report) -> Option<SchedulePlan> {
    let missed = block.choice("missed", &MISSED, report).unwrap_or_default();
    let zone = block.name_text("timezone", "Europe/Berlin", report);
    let input = input(block, report);
    if !block.has("when") {
        block.missing("when", "say when it is due: `when = \"rate(5 minutes)\"` or `\"cron(0 2 * * ? *)\"`", report);
    }
    let text = block.name_text("when", "cron(0 2 * * ? *)", report)?;
    if zone.is_none() && block.has("timezone") {
        return None;
    }
    match Schedule::parse(&text.value, zone.as_ref().map(|zone| zone.value.as_str())) {
        Ok(when) => Some(SchedulePlan { name, when, missed, input, place: block.place() }),
        Err(error) => {
            refuse(block, "when", text, error, report);
            None
        }
    }
}

/// Refuses what the attribute `when` says of times, or `timezone` beside it.
pub(super) fn refuse(
    block: &Attributes<'_>,
    when: &str,
    text: Spanned<String>,
    mut error: ParseError,
    report: &mut Report,
) {
    let meant = match &mut error {
        ParseError::Form { hint, .. }
        | ParseError::FieldCount { hint, .. }
        | ParseError::Field { hint, .. }
        | ParseError::Zone { hint, .. } => hint.take(),
        _ => None,
    };
    let (place, hint) = match &error {
        ParseError::Zone { .. } => (block.value_place("timezone"), "such as `timezone = \"Europe/Berlin\"`"),
        ParseError::NoSuchTime { .. } => (block.value_place(when), "name a time before or after it"),
        _ => {
            // The error counts from the first character that is no blank.
            let blanks = text.value.chars().take_while(|char| char.is_whitespace()).count();
            let at = error.position().map(|(at, _)| (1, blanks + at + 1));
            let written = Sql::of_attribute(text.value, Arc::clone(block.evaluator.source), text.span);
            (written.place(at), "such as \"rate(5 minutes)\", \"cron(0 2 * * ? *)\" or \"at(2026-01-31T12:00:00)\"")
        }
    };
    let hint = meant.unwrap_or_else(|| hint.to_owned());
    report.push(Diagnostic::error(format!("{block}: {error}")).at(place).hint(hint));
}

/// Reads what functions are given, as JSON.
fn input(block: &Attributes<'_>, report: &mut Report) -> Option<String> {
    let value = block.value("input", report)?;
    let text = match &value.kind {
        // As EventBridge has it: the text is JSON.
        Kind::Text(text) => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => text.clone(),
            Err(error) => {
                let hint = "write a map, `input = { key = \"value\" }`, or a string that is JSON";
                block.refuse("input", format!("`input` is not JSON: {error}"), hint, report);
                return None;
            }
        },
        Kind::Map(_) | Kind::List(_) => {
            let mut text = String::new();
            json::write(block, &value, &INPUT, &mut text, report)?;
            text
        }
        _ => {
            let hint = "such as `input = { key = \"value\" }`";
            block.wrong_type("input", "a map, a list, or a string that is JSON", &value, hint, report);
            return None;
        }
    };
    if text.len() > INPUT_BYTES_MAX {
        let message = format!("`input` has {} bytes as JSON, and may have {INPUT_BYTES_MAX}", text.len());
        block.refuse("input", message, "let the function read it from a file", report);
        return None;
    }
    Some(text)
}
