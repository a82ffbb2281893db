//! `environment = { LEVEL = "info", TOKEN = secret("TOKEN") }`: secrets may stand in it.

use std::collections::BTreeMap;

use crate::block::Attributes;
use crate::diagnostic::Report;
use crate::limits::ENVIRONMENT_BYTES_MAX;
use crate::value::Kind;
use crate::{Diagnostic, EnvironmentValue};

/// What weir sets itself, as Lambda does.
const RESERVED: [&str; 5] =
    ["_HANDLER", "_X_AMZN_TRACE_ID", "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"];
const RESERVED_PREFIX: &str = "AWS_LAMBDA_";

pub(super) fn read(block: &Attributes<'_>, report: &mut Report) -> BTreeMap<String, EnvironmentValue> {
    let mut environment = BTreeMap::new();
    let Some(value) = block.value("environment", report) else { return environment };
    let hint = "such as `environment = { LEVEL = \"info\", TOKEN = secret(\"TOKEN\") }`";
    let Kind::Map(entries) = value.kind else {
        block.wrong_type("environment", "a map of strings", &value, hint, report);
        return environment;
    };
    for (name, value) in entries {
        let place = || block.place_of(Some(value.span.clone()));
        if let Some((message, hint)) = wrong_name(&name) {
            report.push(Diagnostic::error(message).at(place()).hint(hint));
            continue;
        }
        let value = match value.kind {
            Kind::Text(text) => EnvironmentValue::Plain(text),
            Kind::Secret(secret) => EnvironmentValue::Secret { name: secret.name, value: secret.text },
            Kind::Number(_) | Kind::Bool(_) => {
                let message = format!("`{name}` of `environment` is a string, and this is {}", value.kind.described());
                report.push(Diagnostic::error(message).at(place()).hint("write it in quotes"));
                continue;
            }
            _ => {
                block.wrong_type("environment", "a map of strings", &value, hint, report);
                continue;
            }
        };
        if value.reveal().contains('\0') {
            let message = format!("`{name}` of `environment` has a NUL character, which no environment can hold");
            report
                .push(Diagnostic::error(message).at(block.value_place("environment")).hint("encode it, in Base64 say"));
        }
        environment.insert(name, value);
    }
    let bytes: usize = environment.iter().map(|(name, value)| name.len() + value.reveal().len()).sum();
    if bytes > ENVIRONMENT_BYTES_MAX {
        let message = format!("`environment` has {bytes} bytes, and may have {ENVIRONMENT_BYTES_MAX}");
        block.refuse("environment", message, "put what is long into a file of the code's folder", report);
    }
    environment
}

fn wrong_name(name: &str) -> Option<(String, &'static str)> {
    let fits =
        |(index, char): (usize, char)| char.is_ascii_alphabetic() || char == '_' || index > 0 && char.is_ascii_digit();
    if name.is_empty() || !name.chars().enumerate().all(fits) {
        let message = format!("`{}` is no name of a variable of the environment", name.escape_debug());
        return Some((message, "letters, digits and `_`, no digit first"));
    }
    let reserved = RESERVED.contains(&name) || name.starts_with(RESERVED_PREFIX);
    reserved.then(|| (format!("`{name}` is set by weir, as Lambda sets it"), "name it otherwise"))
}
