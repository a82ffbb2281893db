//! The query protocol's requests: a form becomes the JSON that the newer protocol would have sent.
//!
//! ```text
//! Attribute.1.Name=DelaySeconds & Attribute.1.Value=5    -->  "Attributes": {"DelaySeconds": "5"}
//! AttributeName.1=All                                    -->  "AttributeNames": ["All"]
//! SendMessageBatchRequestEntry.1.Id=a                    -->  "Entries": [{"Id": "a"}]
//! ```
//!
//! The names of lists and maps are those of SQS's model before 2023 (`locationName`). Lists are ordered by their numbers, and
//! gaps don't matter. What only the protocol reads (the version, the signature) is left out; all else is passed on, and what no
//! action knows is refused there.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use crate::error::{ErrorCode, Failure};
use crate::limits::{FORM_DEPTH_MAX, FORM_PAIRS_MAX};

/// A form that was read.
#[derive(Debug, Default)]
pub struct Form {
    /// `Action`.
    pub action: Option<String>,
    /// All that the action is told.
    pub parameters: Map<String, Value>,
}

/// Lists, by what their items are called.
const LISTS: [(&str, &str); 11] = [
    ("AttributeName", "AttributeNames"),
    ("MessageAttributeName", "MessageAttributeNames"),
    ("MessageSystemAttributeName", "MessageSystemAttributeNames"),
    ("TagKey", "TagKeys"),
    ("AWSAccountId", "AWSAccountIds"),
    ("ActionName", "Actions"),
    ("SendMessageBatchRequestEntry", "Entries"),
    ("DeleteMessageBatchRequestEntry", "Entries"),
    ("ChangeMessageVisibilityBatchRequestEntry", "Entries"),
    ("StringListValue", "StringListValues"),
    ("BinaryListValue", "BinaryListValues"),
];

/// Maps, by what their pairs, keys and values are called.
const MAPS: [(&str, &str, &str, &str); 4] = [
    ("Attribute", "Attributes", "Name", "Value"),
    ("MessageAttribute", "MessageAttributes", "Name", "Value"),
    ("MessageSystemAttribute", "MessageSystemAttributes", "Name", "Value"),
    ("Tag", "Tags", "Key", "Value"),
];

/// Parameters that are numbers.
const NUMBERS: [&str; 6] = [
    "DelaySeconds",
    "MaxNumberOfMessages",
    "MaxNumberOfMessagesPerSecond",
    "MaxResults",
    "VisibilityTimeout",
    "WaitTimeSeconds",
];

/// Parameters of the protocol itself, signatures of versions 1 to 4 included.
const PROTOCOL: [&str; 8] = [
    "Version",
    "AWSAccessKeyId",
    "Expires",
    "SecurityToken",
    "Signature",
    "SignatureMethod",
    "SignatureVersion",
    "Timestamp",
];

/// A form's parameters as a tree: `A.1.B` lies below `A` and `1`.
#[derive(Debug, Default)]
struct Node {
    value: Option<String>,
    below: BTreeMap<String, Node>,
}

/// Reads forms, the later ones over the earlier.
///
/// # Errors
/// `MalformedInput` for more or deeper parameters than any request has, `InvalidParameterValue` for a number that is none.
pub fn parse(sources: &[&[u8]]) -> Result<Form, Failure> {
    let mut form = Form::default();
    let mut root = Node::default();
    let mut pairs = 0;
    for (name, value) in sources.iter().flat_map(|source| form_urlencoded::parse(source)) {
        pairs += 1;
        if pairs > FORM_PAIRS_MAX {
            return Err(malformed(format!("A form has at most {FORM_PAIRS_MAX} parameters.")));
        }
        if name == "Action" {
            form.action = Some(value.into_owned());
        } else if !PROTOCOL.contains(&&*name) && !name.starts_with("X-Amz-") {
            insert(&mut root, &name, value.into_owned())?;
        }
    }
    form.parameters = members(root)?;
    Ok(form)
}

fn insert(root: &mut Node, name: &str, value: String) -> Result<(), Failure> {
    let mut node = root;
    for (depth, part) in name.split('.').enumerate() {
        if depth == FORM_DEPTH_MAX {
            return Err(malformed(format!("The parameter {name} has more than {FORM_DEPTH_MAX} parts.")));
        }
        node = node.below.entry(part.to_owned()).or_default();
    }
    node.value = Some(value);
    Ok(())
}

/// Turns the nodes below one into an object's members.
fn members(node: Node) -> Result<Map<String, Value>, Failure> {
    let mut members = Map::new();
    for (name, below) in node.below {
        if let Some((_, list)) = LISTS.iter().find(|(item, _)| *item == name) {
            members.insert((*list).to_owned(), items(&name, below)?);
        } else if let Some((_, map, key, value)) = MAPS.iter().find(|(pair, ..)| *pair == name) {
            members.insert((*map).to_owned(), pairs(&name, below, key, value)?);
        } else if !is_empty_group(&name, &below) {
            let value = scalar(&name, below)?;
            members.insert(name, value);
        }
    }
    Ok(members)
}

/// boto3 writes an empty list or map by its name in the model and nothing: `Entries=`.
fn is_empty_group(name: &str, node: &Node) -> bool {
    let is_group = LISTS.iter().any(|(_, list)| *list == name) || MAPS.iter().any(|(_, map, ..)| *map == name);
    is_group && node.below.is_empty() && node.value.as_deref() == Some("")
}

fn scalar(name: &str, node: Node) -> Result<Value, Failure> {
    match node.value {
        Some(text) if node.below.is_empty() => {
            if !NUMBERS.contains(&name) {
                return Ok(Value::String(text));
            }
            let number = text.parse::<i64>().map_err(|_| Failure::value(name, &text, "Must be an integer."))?;
            Ok(Value::Number(Number::from(number)))
        }
        None => Ok(Value::Object(members(node)?)),
        Some(_) => Err(malformed(format!("The parameter {name} is both a value and a group of values."))),
    }
}

/// A list, in the order of its numbers. A bare name is a list of one, as the earliest versions of the API had it.
fn items(name: &str, node: Node) -> Result<Value, Failure> {
    let mut items = Vec::new();
    if let Some(value) = node.value {
        items.push(Value::String(value));
    }
    for (_, below) in numbered(name, node.below)? {
        items.push(match below.value {
            Some(value) if below.below.is_empty() => Value::String(value),
            _ => Value::Object(members(below)?),
        });
    }
    Ok(Value::Array(items))
}

fn pairs(name: &str, node: Node, key: &str, value: &str) -> Result<Value, Failure> {
    let mut map = Map::new();
    for (number, mut below) in numbered(name, node.below)? {
        let missing = |part: &str| Failure::missing(&format!("{name}.{number}.{part}"));
        let key = below.below.remove(key).and_then(|key| key.value).ok_or_else(|| missing(key))?;
        let content = below.below.remove(value).ok_or_else(|| missing(value))?;
        let content = match content.value {
            Some(text) => Value::String(text),
            None => Value::Object(members(content)?),
        };
        if map.insert(key.clone(), content).is_some() {
            return Err(malformed(format!("{name}.{number} repeats `{key}`.")));
        }
    }
    Ok(Value::Object(map))
}

fn numbered(name: &str, below: BTreeMap<String, Node>) -> Result<Vec<(u32, Node)>, Failure> {
    let mut nodes = Vec::with_capacity(below.len());
    for (number, node) in below {
        let number = number
            .parse::<u32>()
            .map_err(|_| malformed(format!("{name}.{number}: a number is expected after `{name}.`.")))?;
        nodes.push((number, node));
    }
    nodes.sort_by_key(|(number, _)| *number);
    Ok(nodes)
}

fn malformed(message: String) -> Failure {
    Failure::new(ErrorCode::MalformedInput, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        Value::Object(parse(&[text.as_bytes()]).unwrap().parameters)
    }

    #[test]
    fn forms_become_the_json_of_the_newer_protocol() {
        assert_eq!(
            read(
                "Action=CreateQueue&QueueName=q&Version=2012-11-05&X-Amz-Date=x&Attribute.2.Name=B&Attribute.2.Value=2\
                 &Attribute.1.Name=A&Attribute.1.Value=1&Tag.1.Key=k&Tag.1.Value=v"
            ),
            json!({"QueueName": "q", "Attributes": {"A": "1", "B": "2"}, "Tags": {"k": "v"}})
        );
        assert_eq!(
            read(
                "SendMessageBatchRequestEntry.10.Id=z&SendMessageBatchRequestEntry.2.Id=a\
                 &SendMessageBatchRequestEntry.2.DelaySeconds=5&SendMessageBatchRequestEntry.2.MessageAttribute.1.Name=n.m\
                 &SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.DataType=String\
                 &SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.StringValue=%2B1+2"
            ),
            json!({"Entries": [
                {"Id": "a", "DelaySeconds": 5, "MessageAttributes": {"n.m": {"DataType": "String", "StringValue": "+1 2"}}},
                {"Id": "z"},
            ]})
        );
        assert_eq!(read("Entries=&AttributeNames=&QueueUrl="), json!({"QueueUrl": ""}));
        assert_eq!(
            read("AttributeName=All&MaxNumberOfMessages=3"),
            json!({"AttributeNames": ["All"], "MaxNumberOfMessages": 3})
        );
    }

    #[test]
    fn hostile_forms_are_refused() {
        let code = |text: &str| parse(&[text.as_bytes()]).unwrap_err().code;
        assert_eq!(code(&"a=1&".repeat(FORM_PAIRS_MAX + 1)), ErrorCode::MalformedInput);
        assert_eq!(code("a.b.c.d.e.f.g.h.i=1"), ErrorCode::MalformedInput);
        assert_eq!(code("Attribute.x.Name=1"), ErrorCode::MalformedInput);
        assert_eq!(code("Attribute.1.Name=1"), ErrorCode::MissingParameter);
        assert_eq!(code("DelaySeconds=soon"), ErrorCode::InvalidParameterValue);
        assert_eq!(code("QueueUrl=a&QueueUrl.b=c"), ErrorCode::MalformedInput);
    }
}
