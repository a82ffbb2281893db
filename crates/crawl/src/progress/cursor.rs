//! Which of two values of an incremental cursor is the larger one.

use std::cmp::Ordering;

use serde_json::Value;

/// Compares two cursors: numbers by value, texts that are numbers by value, all other texts byte by byte (right for ISO 8601
/// in one zone and form). None: they can't be compared.
pub fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
        (Value::String(left), Value::String(right)) => match (left.parse::<f64>(), right.parse::<f64>()) {
            (Ok(left), Ok(right)) => left.partial_cmp(&right),
            _ => Some(left.cmp(right)),
        },
        _ => None,
    }
}

/// Raises `to` to `value` if that is larger. A value that can't be compared with what is there changes nothing.
pub fn raise(to: &mut Option<Value>, value: &Value) {
    let larger = match to {
        None => !value.is_null(),
        Some(known) => compare(known, value) == Some(Ordering::Less),
    };
    if larger {
        *to = Some(value.clone());
    }
}
