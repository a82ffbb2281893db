//! A message as it was, out of its letter.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Map, Value};
use weir_queue::{Attribute, AttributeValue, Message};
use weir_types::SequenceNumber;

use super::action::{Action, Onward};
use super::letter::{ATTRIBUTE, GROUP, MESSAGE_ID, REDRIVE_OF, TRACE};

/// Makes the message that goes back to its queue, with a note of the letter that it was.
pub(super) fn of_letter(decision: SequenceNumber, action: &Action, onward: &Onward, fifo: bool) -> Message {
    let headers = onward.headers.as_deref().and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let mut message = Message::new(Bytes::from(onward.payload.clone()));
    for (name, value) in headers.into_iter().flatten() {
        let Value::String(value) = value else { continue };
        match name.as_str() {
            GROUP => message.group = Some(value),
            TRACE => message.trace_header = Some(value),
            // Both are made anew: the message has a place of its own now.
            MESSAGE_ID | REDRIVE_OF => {}
            _ => match name.strip_prefix(ATTRIBUTE) {
                Some(typed) => message.attributes.extend(attribute(typed, value)),
                None => message.headers.push((name, value)),
            },
        }
    }
    message.headers.push((REDRIVE_OF.to_owned(), action.id.clone()));
    if fifo {
        message.group.get_or_insert_with(|| "redrive".to_owned());
        // By its content it might be taken for the repeat of what it was.
        message.deduplication = Some(format!("redrive-{decision}"));
    }
    message
}

/// Reads an attribute back: its type, which may have colons in its label, and its name, which may not.
fn attribute(typed: &str, value: String) -> Option<Attribute> {
    let (data_type, name) = typed.rsplit_once(':')?;
    let value = match data_type.split('.').next() {
        Some("Binary") => AttributeValue::Binary(BASE64.decode(value).ok()?),
        _ => AttributeValue::Text(value),
    };
    Some(Attribute { name: name.to_owned(), data_type: data_type.to_owned(), value })
}

#[cfg(test)]
mod tests {
    use weir_types::Timestamp;

    use super::*;

    #[test]
    fn a_message_comes_out_of_its_letter_as_it_was() {
        let headers = serde_json::json!({
            "message-id": "00000000-0000-0000-0000-000000000000", "group": "g", "trace-header": "Root=1",
            "attribute:String:city": "Bern", "attribute:Binary.a:b:raw": "AAH/", "weir-note": "x", "redrive-of": "before",
        });
        let onward = Onward {
            target: "queue/orders".to_owned(),
            payload: b"{}".to_vec(),
            edited: false,
            fingerprint: None,
            headers: Some(headers.to_string()),
        };
        let action = Action { id: "letter".to_owned(), at: Timestamp(1), run: "r".to_owned(), onward: None };
        let message = of_letter(SequenceNumber(7), &action, &onward, true);
        assert_eq!(message.body, "{}");
        assert_eq!((message.group.as_deref(), message.trace_header.as_deref()), (Some("g"), Some("Root=1")));
        assert_eq!(message.deduplication.as_deref(), Some("redrive-7"));
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(message.headers, [text("weir-note", "x"), text("redrive-of", "letter")]);
        let mut attributes = message.attributes;
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        let attribute = |name: &str, data_type: &str, value| Attribute {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            value,
        };
        let city = attribute("city", "String", AttributeValue::Text("Bern".to_owned()));
        assert_eq!(attributes, [city, attribute("raw", "Binary.a:b", AttributeValue::Binary(vec![0, 1, 255]))]);
        assert_eq!(of_letter(SequenceNumber(7), &action, &onward, false).deduplication, None);
    }
}
