//! Bodies: the characters that SQS takes, and how a body that is no such text is shown.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{ErrorCode, Failure};

/// Checks that a text has the characters of XML 1.0 alone, since the query protocol must be able to carry it.
///
/// # Errors
/// `InvalidMessageContents`.
pub fn check_text(text: &str) -> Result<(), Failure> {
    if is_xml(text) {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::InvalidMessageContents,
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | \
         #x10000 to #x10FFFF",
    ))
}

fn is_xml(text: &str) -> bool {
    !text
        .chars()
        .any(|char| matches!(char, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'))
}

/// How a stored body goes out: as it is, or in base64 if it is no text that SQS could have taken. (Weir itself sends
/// bytes, such as a record that could not be read.)
pub fn presented(body: &[u8]) -> (Cow<'_, str>, Encoding) {
    match std::str::from_utf8(body) {
        Ok(text) if is_xml(text) => (Cow::Borrowed(text), Encoding::Plain),
        _ => (Cow::Owned(STANDARD.encode(body)), Encoding::Base64),
    }
}

/// In what form a body is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it was sent.
    Plain,
    /// Encoded, and the message says so by an attribute of weir's.
    Base64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_made_of_what_xml_can_carry() {
        for text in ["\t\n\r ~", "\u{d7ff}\u{e000}\u{fffd}", "\u{10000}\u{10ffff}"] {
            assert_eq!(check_text(text), Ok(()));
        }
        for text in ["\0", "a\u{8}", "\u{b}", "\u{1f}", "\u{fffe}", "\u{ffff}"] {
            assert_eq!(check_text(text).unwrap_err().code, ErrorCode::InvalidMessageContents, "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_go_out_in_base64() {
        assert_eq!(presented(b"plain"), ("plain".into(), Encoding::Plain));
        assert_eq!(presented(&[0xff, 0x00]), ("/wA=".into(), Encoding::Base64));
        assert_eq!(presented(b"\0"), ("AA==".into(), Encoding::Base64));
    }
}
