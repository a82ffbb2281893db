//! `incremental { cursor_path, start_param, end_param, initial_value, lag, drop_old }`: only what is new.

use serde_json::Value as Json;
use weir_crawl::spec::Incremental;
use weir_types::span;

use crate::block::{Attributes, Shape};
use crate::diagnostic::Report;
use crate::value::Kind;

pub(super) const SHAPE: Shape = Shape {
    attributes: &["cursor_path", "start_param", "end_param", "initial_value", "lag", "drop_old"],
    later: &["end_value", "row_order", "convert", "last_value_func"],
    blocks: &[],
};

/// Whole numbers up to here are exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Reads the block, if there is one; the outer `None` says that something was refused.
pub(super) fn read(block: &Attributes<'_>, report: &mut Report) -> Option<Option<Incremental>> {
    let blocks = block.inner("incremental", &SHAPE, report);
    let Some(inner) = blocks.first() else { return Some(None) };
    for (name, hint) in [
        ("cursor_path", "name what grows in its items: `cursor_path = \"updated_at\"`"),
        ("initial_value", "say where the first run begins: `initial_value = \"2020-01-01T00:00:00Z\"`"),
    ] {
        if !inner.has(name) {
            inner.missing(name, hint, report);
        }
    }
    let cursor_path = inner.name_text("cursor_path", "updated_at", report).map(|text| text.value);
    let start_param = inner.name_text("start_param", "since", report).map(|text| text.value);
    let end_param = inner.name_text("end_param", "until", report).map(|text| text.value);
    let initial_value = initial_value(inner, report);
    let lag = lag(inner, report);
    let drop_old = inner.flag("drop_old", report).unwrap_or(true);
    Some(Some(Incremental {
        cursor_path: cursor_path?,
        start_param,
        end_param,
        initial_value: initial_value?,
        lag: lag?,
        drop_old,
    }))
}

fn initial_value(inner: &Attributes<'_>, report: &mut Report) -> Option<Json> {
    let value = inner.value("initial_value", report)?;
    match value.kind {
        Kind::Text(text) => Some(Json::from(text)),
        Kind::Number(number) if number.fract() == 0.0 && number.abs() <= EXACT_MAX => Some(Json::from(number as i64)),
        Kind::Number(number) => Some(Json::from(number)),
        _ => {
            let hint = "such as `initial_value = \"2020-01-01T00:00:00Z\"`, or a number";
            inner.wrong_type("initial_value", "a string or a number", &value, hint, report);
            None
        }
    }
}

/// Reads a length of time, in seconds, or a number of units; the outer `None` says that it was refused.
fn lag(inner: &Attributes<'_>, report: &mut Report) -> Option<Option<f64>> {
    let Some(value) = inner.value("lag", report) else { return (!inner.has("lag")).then_some(None) };
    let hint = "a length of time for times, `lag = \"1h\"`, and a number for numbers, `lag = 100`";
    match value.kind {
        Kind::Number(number) if number >= 0.0 => Some(Some(number)),
        Kind::Text(ref text) if span::parse(text).is_ok() => span::parse(text).ok().map(|lag| Some(lag.as_secs_f64())),
        Kind::Text(_) | Kind::Number(_) => {
            inner.refuse("lag", "this is no lag", hint, report);
            None
        }
        _ => {
            inner.wrong_type("lag", "a length of time or a number", &value, hint, report);
            None
        }
    }
}
