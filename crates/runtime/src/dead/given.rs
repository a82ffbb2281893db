//! The key that a record has in a stream of redriven records: which decision brought it, and of which letter.
//!
//! The carrier is the only writer of those streams and goes in the order of the decisions, so that the last key says which
//! decisions a stream has: a start that repeats some leaves them out.

use weir_types::SequenceNumber;

/// Makes the key.
pub(super) fn key(decision: SequenceNumber, letter: &str) -> Vec<u8> {
    format!("{decision} {letter}").into_bytes()
}

/// Returns the place of the decision.
pub(super) fn decision_of(key: &[u8]) -> Option<SequenceNumber> {
    let (decision, _) = std::str::from_utf8(key).ok()?.split_once(' ')?;
    decision.parse().ok().map(SequenceNumber)
}

/// Returns the id of the letter.
pub(super) fn letter_of(key: &str) -> Option<&str> {
    let (decision, letter) = key.split_once(' ')?;
    decision.bytes().all(|byte| byte.is_ascii_digit()).then_some(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_decision_and_letter() {
        let key = key(SequenceNumber(17), "stream/a/0@3>table/b");
        assert_eq!(decision_of(&key), Some(SequenceNumber(17)));
        assert_eq!(letter_of(std::str::from_utf8(&key).unwrap()), Some("stream/a/0@3>table/b"));
        assert_eq!((decision_of(b"DL"), letter_of("some key")), (None, None));
    }
}
