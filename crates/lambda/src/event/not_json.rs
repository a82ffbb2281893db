//! Says why a handler's answer is not JSON, in words that lead to the line of the handler.
//!
//! Python's `json.dumps` writes `NaN`, `Infinity` and `-Infinity`, which are not JSON: they are named when they are
//! what stands in the way.

/// An answer that is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    /// A number that JSON does not have.
    #[error(
        "`{token}` at byte {at} is not JSON: Python's json.dumps writes it for a number that is none; return null instead, or dump with allow_nan=False to find it"
    )]
    Number {
        /// `NaN`, `Infinity` or `-Infinity`.
        token: &'static str,
        /// Its place, counted from 0.
        at: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("the byte at {at} is not UTF-8")]
    Utf8 {
        /// Its place, counted from 0.
        at: usize,
    },
    /// Anything else.
    #[error("{reason}")]
    Syntax {
        /// The parser's words, with line and column.
        reason: String,
    },
}

/// Returns the payload as text.
pub(super) fn text(payload: &[u8]) -> Result<&str, NotJson> {
    std::str::from_utf8(payload).map_err(|error| NotJson::Utf8 { at: error.valid_up_to() })
}

/// Says why `text`, which the parser refused with `error`, is not what was wanted.
pub(super) fn explain(text: &str, error: &serde_json::Error) -> NotJson {
    match token(text) {
        Some((token, at)) if !error.is_data() => NotJson::Number { token, at },
        _ => NotJson::Syntax { reason: error.to_string() },
    }
}

/// Finds the first number that JSON does not have, outside of strings.
fn token(text: &str) -> Option<(&'static str, usize)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'N' | b'I' | b'-' => {
                let found = ["NaN", "Infinity", "-Infinity"].into_iter().find(|token| text[at..].starts_with(token));
                if let Some(token) = found {
                    return Some((token, at));
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    None
}

/// Returns the place after the string that starts at `start`, or the end.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_strings_are_text() {
        assert_eq!(token(r#"{"NaN":"-Infinity \" Infinity","a":-1}"#), None);
        assert_eq!(token(r#"{"NaN":"\\",  "a":[1,-Infinity]}"#), Some(("-Infinity", 21)));
        assert_eq!(token("\"open \\"), None);
    }
}
