//! Which of two values of an incremental cursor is the larger one, where nothing but the values is known.

use std::cmp::Ordering;

use serde_json::Value;

use crate::incremental::{compare_instants, compare_numbers};

/// Compares two cursors: as numbers where both are, texts of digits among them; else as times where both are; else texts byte
/// by byte. None: they can't be compared.
pub(super) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    compare_numbers(left, right)
        .or_else(|| compare_instants(left, right))
        .or_else(|| Some(left.as_str()?.cmp(right.as_str()?)))
}

/// Raises `to` to `value` if that is larger. A value that can't be compared with what is there changes nothing.
pub(super) fn raise(to: &mut Option<Value>, value: &Value) {
    let larger = match to {
        None => !value.is_null(),
        Some(known) => compare(known, value) == Some(Ordering::Less),
    };
    if larger {
        *to = Some(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_largest_cursor_stays_whatever_its_form() {
        let cases = [
            (json!(9), json!(10), true),
            (json!("9"), json!("10"), true),
            (json!("2026-01-01T00:30:00+02:00"), json!("2025-12-31T23:00:00Z"), true),
            (json!("2025-12-31T23:00:00Z"), json!("2026-01-01T00:30:00+02:00"), false),
            (json!("b"), json!("a"), false),
            (json!(1), json!({"a": 1}), false),
            (json!(1), json!(null), false),
        ];
        for (known, value, raised) in cases {
            let mut to = Some(known.clone());
            raise(&mut to, &value);
            assert_eq!(to.as_ref(), Some(if raised { &value } else { &known }), "{known} and {value}");
        }
    }
}
