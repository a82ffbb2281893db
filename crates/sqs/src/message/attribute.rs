//! Message attributes: read from a request within SQS's rules, and written into an answer.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use weir_queue::{Attribute, AttributeValue};

use crate::error::Failure;
use crate::limits::{ATTRIBUTE_NAME_BYTES_MAX, MESSAGE_ATTRIBUTES_MAX, NUMBER_DIGITS_MAX};
use crate::message::{TRACE_HEADER, check_text};
use crate::wire::Xml;

/// A message's attributes, by name, as they stand on the wire.
pub type Attributes = BTreeMap<String, Value>;

/// One attribute's value. Exactly one of the two forms is set; lists are of SQS's future.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Value {
    /// The text of a `String` or a `Number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    string_value: Option<String>,
    /// The bytes of a `Binary`, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
    #[serde(skip_serializing)]
    string_list_values: Option<Vec<String>>,
    #[serde(skip_serializing)]
    binary_list_values: Option<Vec<String>>,
    /// `String`, `Number` or `Binary`, and perhaps a label behind a full stop.
    data_type: Option<String>,
}

impl Value {
    /// Shows a stored attribute.
    pub fn of(attribute: &Attribute) -> Self {
        let (string_value, binary_value) = match &attribute.value {
            AttributeValue::Text(text) => (Some(text.clone()), None),
            AttributeValue::Binary(bytes) => (None, Some(STANDARD.encode(bytes))),
        };
        Self {
            string_value,
            binary_value,
            data_type: Some(attribute.data_type.clone()),
            string_list_values: None,
            binary_list_values: None,
        }
    }

    /// What the attribute's type and value count towards a message's size, in bytes.
    pub fn bytes(&self) -> usize {
        let text = self.string_value.as_ref().map_or(0, String::len);
        let binary = self.binary_value.as_ref().map_or(0, |base64| {
            let digits = base64.trim_end_matches('=').len();
            digits * 3 / 4
        });
        text + binary + self.data_type.as_ref().map_or(0, String::len)
    }

    /// Writes the value.
    pub fn xml(&self, xml: &mut Xml) {
        xml.optional("StringValue", self.string_value.as_deref());
        xml.optional("BinaryValue", self.binary_value.as_deref());
        xml.optional("DataType", self.data_type.as_deref());
    }
}

/// Reads a message's attributes, ordered by name.
///
/// # Errors
/// `InvalidParameterValue` in SQS's words; `InvalidMessageContents` for a text that XML can't carry.
pub fn check(attributes: Option<Attributes>) -> Result<Vec<Attribute>, Failure> {
    let attributes = attributes.unwrap_or_default();
    if attributes.len() > MESSAGE_ATTRIBUTES_MAX {
        return Err(Failure::parameter(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MESSAGE_ATTRIBUTES_MAX}].",
            attributes.len()
        )));
    }
    attributes.into_iter().map(|(name, value)| one(name, value)).collect()
}

fn one(name: String, value: Value) -> Result<Attribute, Failure> {
    check_name(&name)?;
    if value.string_list_values.is_some_and(|values| !values.is_empty())
        || value.binary_list_values.is_some_and(|values| !values.is_empty())
    {
        return Err(Failure::parameter("Message attribute list values in SendMessage operation are not supported."));
    }
    let data_type = value.data_type.filter(|data_type| !data_type.is_empty()).ok_or_else(|| {
        Failure::parameter(format!("The message attribute '{name}' must contain non-empty message attribute type."))
    })?;
    if data_type.len() > ATTRIBUTE_NAME_BYTES_MAX {
        return Err(Failure::parameter(format!(
            "The type of message attribute '{name}' is too long: {ATTRIBUTE_NAME_BYTES_MAX} characters are allowed."
        )));
    }
    let empty = || {
        Failure::parameter(format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type \
             '{data_type}'."
        ))
    };
    let value = match data_type.split('.').next() {
        Some(kind @ ("String" | "Number")) => {
            if value.binary_value.is_some() {
                return Err(wrong_field(&name, &data_type, "StringValue"));
            }
            let text = value.string_value.filter(|text| !text.is_empty()).ok_or_else(empty)?;
            check_text(&text)?;
            if kind == "Number" && !is_number(&text) {
                return Err(Failure::parameter(format!(
                    "Can't cast the value of message (user) attribute '{name}' to a number."
                )));
            }
            AttributeValue::Text(text)
        }
        Some("Binary") => {
            if value.string_value.is_some() {
                return Err(wrong_field(&name, &data_type, "BinaryValue"));
            }
            let text = value.binary_value.filter(|text| !text.is_empty()).ok_or_else(empty)?;
            let bytes = STANDARD.decode(text).map_err(|_| {
                Failure::parameter(format!("The value of message attribute '{name}' is not in base64."))
            })?;
            AttributeValue::Binary(bytes)
        }
        _ => {
            return Err(Failure::parameter(format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of supported type \
                 prefixes is Binary, Number, and String."
            )));
        }
    };
    Ok(Attribute { name, data_type, value })
}

fn wrong_field(name: &str, data_type: &str, field: &str) -> Failure {
    Failure::parameter(format!("The message attribute '{name}' with type '{data_type}' must use field '{field}'."))
}

fn check_name(name: &str) -> Result<(), Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(Failure::parameter(format!(
            "The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), \
             hyphen (-), and period (.) characters."
        )));
    }
    if name.len() > ATTRIBUTE_NAME_BYTES_MAX {
        return Err(Failure::parameter(format!(
            "Message attribute name must be shorter than {ATTRIBUTE_NAME_BYTES_MAX} bytes."
        )));
    }
    if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return Err(Failure::parameter(format!(
            "The message attribute name '{name}' is invalid: a period may not come first, last, or twice in a row."
        )));
    }
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return Err(Failure::parameter(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for \
             internal use.",
        ));
    }
    Ok(())
}

/// A decimal number of at most 38 digits, with an exponent or without.
fn is_number(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count();
    is_plain && digits <= NUMBER_DIGITS_MAX && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Reads the only system attribute that may be sent, the header of a trace.
///
/// # Errors
/// `InvalidParameterValue`.
pub fn check_trace_header(attributes: Option<Attributes>) -> Result<Option<String>, Failure> {
    let mut header = None;
    for (name, value) in attributes.unwrap_or_default() {
        if name != TRACE_HEADER {
            return Err(Failure::parameter(format!(
                "Message system attribute name '{name}' is invalid: {TRACE_HEADER} is the only one that can be sent."
            )));
        }
        match one(name, value)? {
            Attribute { data_type, value: AttributeValue::Text(text), .. } if data_type == "String" => {
                header = Some(text);
            }
            _ => {
                return Err(Failure::parameter(format!(
                    "The message system attribute '{TRACE_HEADER}' has an invalid type: it must be String."
                )));
            }
        }
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorCode;

    fn read(attributes: serde_json::Value) -> Result<Vec<Attribute>, Failure> {
        check(Some(serde_json::from_value(attributes).unwrap()))
    }

    #[test]
    fn attributes_of_every_type_are_read() {
        let read = read(json!({
            "n": {"DataType": "Number.int", "StringValue": "-12.5e3"},
            "b": {"DataType": "Binary.png", "BinaryValue": "AAEC"},
            "Some.name-1_x": {"DataType": "String", "StringValue": "é"},
        }))
        .unwrap();
        assert_eq!(read.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["Some.name-1_x", "b", "n"]);
        assert!(matches!(&read[1].value, AttributeValue::Binary(bytes) if bytes[..] == [0, 1, 2]));
    }

    #[test]
    fn attributes_that_sqs_refuses_are_refused() {
        let text = json!({"DataType": "String", "StringValue": "x"});
        for attributes in [
            json!({"a b": text}),
            json!({".a": text}),
            json!({"a..b": text}),
            json!({"AWS.a": text}),
            json!({"amazon.a": text}),
            json!({"x".repeat(257): text}),
            json!({"a": {"DataType": "String"}}),
            json!({"a": {"DataType": "String", "StringValue": ""}}),
            json!({"a": {"StringValue": "x"}}),
            json!({"a": {"DataType": "Float", "StringValue": "1"}}),
            json!({"a": {"DataType": "Number", "StringValue": "one"}}),
            json!({"a": {"DataType": "Number", "StringValue": "inf"}}),
            json!({"a": {"DataType": "Number", "StringValue": "1".repeat(39)}}),
            json!({"a": {"DataType": "Binary", "BinaryValue": "?"}}),
            json!({"a": {"DataType": "Binary", "StringValue": "x"}}),
            json!({"a": {"DataType": "String", "BinaryValue": "AAEC"}}),
            json!({"a": {"DataType": "String", "StringValue": "x", "StringListValues": ["y"]}}),
        ] {
            assert_eq!(read(attributes.clone()).unwrap_err().code, ErrorCode::InvalidParameterValue, "{attributes}");
        }
        let eleven: serde_json::Map<_, _> = (0..11).map(|n| (format!("a{n}"), text.clone())).collect();
        let failure = read(eleven.into()).unwrap_err();
        assert_eq!(failure.message, "Number of message attributes [11] exceeds the allowed maximum [10].");
        let control = read(json!({"a": {"DataType": "String", "StringValue": "\u{1}"}})).unwrap_err();
        assert_eq!(control.code, ErrorCode::InvalidMessageContents);
    }
}
