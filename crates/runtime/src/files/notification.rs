//! Events in which stores say what is new: S3's (also MinIO's and others' that speak it), as it is or within a message of
//! SNS, and EventBridge's.
//!
//! Only the keys are taken from them. Whether there is such an object, and what is in it, is asked of the store.

use serde::Deserialize;

/// SNS puts events into messages; nobody puts these into others.
const NESTING_MAX: u32 = 2;

/// A body that is no event that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: events are those of S3 (`Records`), also within SNS's messages, or of EventBridge (`detail`)")]
pub struct NotificationError {
    reason: String,
}

/// Where an object is that an event names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub bucket: Option<String>,
    pub key: String,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    /// SNS's.
    #[serde(rename = "Message")]
    message: Option<String>,
    /// EventBridge's.
    detail: Option<Entity>,
    /// What S3 sends when a notification is set up.
    #[serde(rename = "Event")]
    event: Option<String>,
}

#[derive(Deserialize)]
struct Record {
    s3: Option<Entity>,
}

#[derive(Deserialize)]
struct Entity {
    bucket: Option<Bucket>,
    object: Option<Object>,
}

#[derive(Deserialize)]
struct Bucket {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    key: String,
}

/// Returns the objects that an event names.
///
/// # Errors
/// If it is none that is known.
pub(super) fn named(body: &[u8]) -> Result<Vec<Named>, NotificationError> {
    read(body, 0)
}

fn read(body: &[u8], depth: u32) -> Result<Vec<Named>, NotificationError> {
    let refused = |reason: String| NotificationError { reason };
    let body: Body =
        serde_json::from_slice(body).map_err(|error| refused(format!("the body is no event in JSON ({error})")))?;
    if let Some(records) = body.records {
        // Records of other services may be among them.
        let entities = records.into_iter().filter_map(|record| record.s3);
        return Ok(entities.filter_map(|entity| entity_of(entity, true)).collect());
    }
    if let Some(detail) = body.detail {
        return entity_of(detail, false)
            .map(|named| vec![named])
            .ok_or_else(|| refused("its `detail` names no object".to_owned()));
    }
    if body.event.as_deref() == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    match body.message {
        Some(message) if depth < NESTING_MAX => read(message.as_bytes(), depth + 1),
        _ => Err(refused("the body names no objects".to_owned())),
    }
}

fn entity_of(entity: Entity, encoded: bool) -> Option<Named> {
    let key = entity.object?.key;
    // S3 writes keys as forms do, with `+` for a space; EventBridge as they are.
    let key = match encoded {
        true => form_decoded(&key),
        false => key,
    };
    Some(Named { bucket: entity.bucket.and_then(|bucket| bucket.name), key })
}

fn form_decoded(key: &str) -> String {
    let pair = format!("k={key}");
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
    // A `&` would be another pair: S3 has it encoded.
    decoded.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(body: &str) -> Vec<String> {
        named(body.as_bytes()).unwrap().into_iter().map(|named| named.key).collect()
    }

    #[test]
    fn keys_are_found_in_each_form() {
        let s3 = r#"{"Records":[{"eventSource":"aws:s3","s3":{"bucket":{"name":"b"},"object":{"key":"in/a+b%2Bc.csv","size":1}}},
            {"eventSource":"aws:sqs"}]}"#;
        assert_eq!(keys(s3), ["in/a b+c.csv"]);
        let sns = serde_json::json!({"Type": "Notification", "Message": s3}).to_string();
        assert_eq!(keys(&sns), ["in/a b+c.csv"]);
        let bridge =
            r#"{"detail-type":"Object Created","detail":{"bucket":{"name":"b"},"object":{"key":"in/a+b.csv"}}}"#;
        assert_eq!(keys(bridge), ["in/a+b.csv"]);
        assert!(keys(r#"{"Service":"Amazon S3","Event":"s3:TestEvent"}"#).is_empty());
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"Message":"hello"}"#,
            r#"{"detail":{}}"#,
            r#"{"Message":"{\"Message\":\"{\\\"Message\\\":\\\"{}\\\"}\"}"}"#,
        ] {
            assert!(named(body.as_bytes()).is_err(), "{body}");
        }
    }
}
