//! Only what is new: cursors that grow, where a run begins, and what it has seen.
//!
//! A run asks from *the largest value that the last complete run saw, less the lag*, and never from before the initial
//! value. The initial value says what kind of thing a cursor is; values of another kind are named and not compared.

mod instant;

use std::cmp::Ordering;

use serde_json::{Number, Value};
use weir_types::Timestamp;

use crate::path::Path;
use crate::spec;
use instant::Instant;

/// A resource's cursor, compiled.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) path: Path,
    pub(crate) start_param: Option<String>,
    pub(crate) end_param: Option<String>,
    pub(crate) drop_old: bool,
    initial: Value,
    kind: Kind,
    lag: f64,
}

/// What a cursor is.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// A number, also in a text.
    Number,
    /// A time in a text.
    Instant(Instant),
    /// A text, ordered by its bytes.
    Text,
    /// Nothing was said: values of one kind are compared.
    Seen,
}

impl Cursor {
    /// Compiles a resource's words; `asks_for_end` is whether a template has `{incremental.end_value}`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn compile(spec: &spec::Incremental, asks_for_end: bool) -> Result<Self, String> {
        let path = Path::parse(&spec.cursor_path)
            .map_err(|problem| format!("`cursor_path` `{}` {problem}", spec.cursor_path))?;
        let kind = match &spec.initial_value {
            Value::Null => Kind::Seen,
            Value::Number(_) => Kind::Number,
            Value::String(text) => kind_of(text),
            other => return Err(format!("`initial_value` is {other}, where a number, a text or a time is needed")),
        };
        let lag = spec.lag.unwrap_or(0.0);
        if !lag.is_finite() || lag < 0.0 {
            return Err(format!("`lag` is {lag}, where a number of zero or more is needed"));
        }
        if lag > 0.0 && kind == Kind::Text {
            return Err(format!("`lag` needs a number or a time as `initial_value`, not {}", spec.initial_value));
        }
        let cursor = Self {
            path,
            start_param: spec.start_param.clone(),
            end_param: spec.end_param.clone(),
            drop_old: spec.drop_old,
            initial: spec.initial_value.clone(),
            kind,
            lag,
        };
        if (asks_for_end || spec.end_param.is_some()) && cursor.end(Timestamp(0)).is_none() {
            return Err(format!(
                "the end is the run's beginning, as a time; what `initial_value` {} is, can't be told: a time, or \
                 seconds or milliseconds since 1970, are needed",
                spec.initial_value
            ));
        }
        Ok(cursor)
    }

    /// Returns from where a run asks, `last` being the largest value that the last complete run saw. None: from the
    /// beginning, and no value is sent.
    pub(crate) fn start(&self, last: Option<&Value>) -> Option<Value> {
        let initial = (!self.initial.is_null()).then(|| self.initial.clone());
        let Some(lagged) = last.map(|last| self.less_lag(last)) else { return initial };
        match &initial {
            Some(initial) if self.compare(&lagged, initial) == Some(Ordering::Less) => Some(initial.clone()),
            _ => Some(lagged),
        }
    }

    /// Returns up to where a run asks, in the initial value's form. None: what kind of time the cursor is isn't known.
    pub(crate) fn end(&self, started: Timestamp) -> Option<Value> {
        let nanos = i128::from(started.0) * 1_000_000;
        match &self.kind {
            Kind::Instant(form) => Some(Value::from(form.at(nanos).to_string())),
            Kind::Seen => Some(Value::from(Instant::utc(nanos).to_string())),
            Kind::Number => {
                let initial = number(&self.initial)?;
                let end = match initial {
                    _ if initial < 1e8 => return None,
                    _ if initial < 1e11 => started.0.div_euclid(1000),
                    _ if initial < 1e14 => started.0,
                    _ => return None,
                };
                Some(if self.initial.is_string() { Value::from(end.to_string()) } else { Value::from(end) })
            }
            Kind::Text => None,
        }
    }

    /// Orders two cursors. None: they are not of one kind.
    pub(crate) fn compare(&self, a: &Value, b: &Value) -> Option<Ordering> {
        match &self.kind {
            Kind::Number => compare_numbers(a, b),
            Kind::Instant(_) => compare_instants(a, b),
            Kind::Text => Some(a.as_str()?.cmp(b.as_str()?)),
            Kind::Seen if a.is_number() || b.is_number() => compare_numbers(a, b),
            Kind::Seen => compare_instants(a, b).or_else(|| Some(a.as_str()?.cmp(b.as_str()?))),
        }
    }

    /// Whether a value is of this cursor's kind.
    pub(crate) fn knows(&self, value: &Value) -> bool {
        self.compare(value, value).is_some()
    }

    /// Returns the larger of two; the first where they can't be compared.
    pub(crate) fn larger(&self, a: Value, b: Value) -> Value {
        if !self.knows(&a) || self.compare(&a, &b) == Some(Ordering::Less) { b } else { a }
    }

    fn less_lag(&self, last: &Value) -> Value {
        if self.lag == 0.0 {
            return last.clone();
        }
        match last {
            Value::Number(last) => less(last, self.lag).map_or(Value::Null, Value::Number),
            Value::String(text) => self.less_lag_of_text(text),
            other => other.clone(),
        }
    }

    fn less_lag_of_text(&self, text: &str) -> Value {
        if let Some(instant) = Instant::parse(text) {
            // A lag in seconds; beyond 10^9 of them (31 years) it is cut, long before anything overflows.
            let nanos = (self.lag.min(1e9) * 1e9) as i128;
            return Value::from(instant.at(instant.nanos - nanos).to_string());
        }
        let number = text.parse::<i64>().map(Number::from).ok().and_then(|last| less(&last, self.lag));
        number.map_or_else(|| Value::from(text), |number| Value::from(number.to_string()))
    }
}

fn kind_of(text: &str) -> Kind {
    if let Some(instant) = Instant::parse(text) {
        return Kind::Instant(instant);
    }
    if text.parse::<i128>().is_ok() { Kind::Number } else { Kind::Text }
}

/// Takes a lag off a number: whole numbers stay whole.
fn less(last: &Number, lag: f64) -> Option<Number> {
    const WHOLE_MAX: f64 = 9e15;
    if let (Some(last), true) = (last.as_i64(), lag < WHOLE_MAX) {
        return Some(Number::from(last.saturating_sub(lag.ceil() as i64)));
    }
    Number::from_f64(last.as_f64()? - lag)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

pub(crate) fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => number(a)?.partial_cmp(&number(b)?),
    }
}

pub(crate) fn compare_instants(a: &Value, b: &Value) -> Option<Ordering> {
    Some(Instant::parse(a.as_str()?)?.nanos.cmp(&Instant::parse(b.as_str()?)?.nanos))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cursor(initial: Value, lag: Option<f64>) -> Cursor {
        let spec = spec::Incremental {
            cursor_path: "updated_at".to_owned(),
            start_param: None,
            end_param: None,
            initial_value: initial,
            lag,
            drop_old: false,
        };
        Cursor::compile(&spec, false).expect("a cursor")
    }

    #[test]
    fn runs_begin_where_the_last_one_ended_less_the_lag() {
        let table = [
            (json!("2024-01-01T00:00:00Z"), None, None, Some(json!("2024-01-01T00:00:00Z"))),
            (
                json!("2024-01-01T00:00:00Z"),
                Some(3600.0),
                Some(json!("2024-03-01T00:30:00Z")),
                Some(json!("2024-02-29T23:30:00Z")),
            ),
            (
                json!("2024-01-01T00:00:00Z"),
                Some(3600.0),
                Some(json!("2024-01-01T00:30:00Z")),
                Some(json!("2024-01-01T00:00:00Z")),
            ),
            (json!("2024-01-01"), Some(3600.0), Some(json!("2024-03-01")), Some(json!("2024-02-29"))),
            (
                json!("2024-01-01T00:00:00+02:00"),
                Some(1.0),
                Some(json!("2024-03-01T00:00:00+02:00")),
                Some(json!("2024-02-29T23:59:59+02:00")),
            ),
            (json!(0), Some(10.0), Some(json!(100)), Some(json!(90))),
            (json!(50), Some(100.0), Some(json!(100)), Some(json!(50))),
            (json!("0"), Some(10.0), Some(json!("100")), Some(json!("90"))),
            (json!(1.5), Some(0.5), Some(json!(3.0)), Some(json!(2.5))),
            (json!("a"), None, Some(json!("b")), Some(json!("b"))),
            (Value::Null, Some(60.0), None, None),
            (Value::Null, Some(60.0), Some(json!("2024-03-01T00:00:00Z")), Some(json!("2024-02-29T23:59:00Z"))),
            (Value::Null, Some(60.0), Some(json!(100)), Some(json!(40))),
        ];
        for (initial, lag, last, expected) in table {
            assert_eq!(cursor(initial.clone(), lag).start(last.as_ref()), expected, "{initial} {lag:?} {last:?}");
        }
    }

    #[test]
    fn cursors_are_ordered_by_what_they_are() {
        let table = [
            (
                json!("2024-01-01T00:00:00Z"),
                json!("2024-01-01T01:00:00+02:00"),
                json!("2024-01-01T00:00:00Z"),
                Some(Ordering::Less),
            ),
            (json!("2024-01-01"), json!("2024-01-02T00:00:00Z"), json!("2024-01-02"), Some(Ordering::Equal)),
            (json!("2024-01-01"), json!("soon"), json!("2024-01-02"), None),
            (json!(0), json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64), Some(Ordering::Greater)),
            (json!(0), json!(1.5), json!(1), Some(Ordering::Greater)),
            (json!("0"), json!("9"), json!("10"), Some(Ordering::Less)),
            (json!(0), json!(true), json!(1), None),
            (json!("a"), json!("9"), json!("10"), Some(Ordering::Greater)),
            (Value::Null, json!("2024-01-01T01:00:00+02:00"), json!("2024-01-01T00:00:00Z"), Some(Ordering::Less)),
            (Value::Null, json!(1), json!("x"), None),
        ];
        for (initial, a, b, expected) in table {
            assert_eq!(cursor(initial.clone(), None).compare(&a, &b), expected, "{initial}: {a} {b}");
        }
    }

    #[test]
    fn ends_are_in_the_form_of_the_beginning() {
        let started = Timestamp(1_709_251_199_500);
        let end = |initial| cursor(initial, None).end(started);
        assert_eq!(end(json!("2024-01-01")), Some(json!("2024-02-29")));
        assert_eq!(end(json!("2024-01-01T00:00:00.000Z")), Some(json!("2024-02-29T23:59:59.500Z")));
        assert_eq!(end(json!(1_700_000_000)), Some(json!(1_709_251_199)));
        assert_eq!(end(json!(1_700_000_000_000_i64)), Some(json!(1_709_251_199_500_i64)));
        assert_eq!(end(json!(0)), None);
        assert_eq!(end(Value::Null), Some(json!("2024-02-29T23:59:59Z")));
    }
}
