//! One letter, for people.

use serde_json::Value;

use super::text;
use crate::output;

/// Writes a letter's fields, one on each line, and its payload behind them.
pub fn render(letter: &Value) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            out.push_str(&format!("{name:<16}{value}\n"));
        }
    };
    let names = ["id", "cause", "error", "source", "sequence", "target", "attempts"];
    for name in names {
        line(name, text(&letter[name]));
    }
    line("arrived", text(&letter["arrived_at"]));
    line("first failed", text(&letter["first_failed_at"]));
    line("last failed", text(&letter["failed_at"]));
    line("schema", text(&letter["schema"]));
    let taken = &letter["taken"];
    match taken["action"].as_str() {
        None => line("state", "open".to_owned()),
        Some(action) => {
            let target = taken["target"].as_str().map(|target| format!(" to {target}")).unwrap_or_default();
            line("state", format!("{action}{target} at {} by {}", text(&taken["at"]), text(&taken["run"])));
        }
    }
    if let Value::Object(headers) = &letter["headers"] {
        for (name, value) in headers {
            line(&format!("{name}:"), format!(" {}", text(value)));
        }
    }
    line("not decoded", text(&letter["payload_error"]));
    let bytes = output::count(letter["payload_bytes"].as_u64().unwrap_or_default());
    out.push_str(&format!("\npayload, {bytes} bytes{}\n", payload(&letter["payload"])));
    if !letter["edited"].is_null() {
        out.push_str(&format!("\nedited to{}\n", payload(&letter["edited"])));
    }
    out
}

fn payload(payload: &Value) -> String {
    if let Some(json) = payload.get("json") {
        return format!("\n{json:#}");
    }
    match payload.get("text") {
        Some(body) => format!("\n{}", text(body)),
        None => format!(", in base64\n{}", text(&payload["base64"])),
    }
}
