//! New objects, as S3 announces them to a function.
//!
//! The form: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>, event version
//! 2.1. The key is URL-encoded as a form value (a space is `+`), which is what handlers undo with `unquote_plus`.

use weir_types::Timestamp;

use super::arn::{ACCOUNT, REGION, Service, arn};
use super::json::Json;

/// An object that was found.
#[derive(Debug, Clone, Copy)]
pub struct S3Object<'a> {
    /// The bucket, or the name of the place that is watched.
    pub bucket: &'a str,
    /// The key as it is, not encoded.
    pub key: &'a str,
    /// Its size.
    pub bytes: u64,
    /// The entity tag, without quotes.
    pub etag: &'a str,
    /// The version, where the store keeps versions.
    pub version_id: Option<&'a str>,
    /// Hex digits that grow with each change of one key.
    pub sequencer: &'a str,
    /// When it was written.
    pub created_at: Timestamp,
    /// The trigger that found it.
    pub trigger: &'a str,
    /// The id of this notice.
    pub request_id: &'a str,
}

/// Writes the event `ObjectCreated:Put` for `objects`.
pub fn s3<'a>(objects: impl IntoIterator<Item = S3Object<'a>>) -> Vec<u8> {
    let mut json = Json::with_capacity(1024);
    json.raw(r#"{"Records":["#);
    for (index, object) in objects.into_iter().enumerate() {
        if index > 0 {
            json.raw(",");
        }
        write(&mut json, &object);
    }
    json.raw("]}");
    json.finish()
}

fn write(json: &mut Json, object: &S3Object<'_>) {
    json.raw(r#"{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"#).string(REGION);
    json.raw(r#","eventTime":"#).string(&object.created_at.to_string());
    json.raw(r#","eventName":"ObjectCreated:Put","userIdentity":{"principalId":"AWS:"#).raw(ACCOUNT);
    json.raw(r#""},"requestParameters":{"sourceIPAddress":"127.0.0.1"},"responseElements":{"x-amz-request-id":"#);
    json.string(object.request_id).raw(r#","x-amz-id-2":"#).string(object.request_id);
    json.raw(r#"},"s3":{"s3SchemaVersion":"1.0","configurationId":"#).string(object.trigger);
    json.raw(r#","bucket":{"name":"#).string(object.bucket);
    json.raw(r#","ownerIdentity":{"principalId":"#).string(ACCOUNT);
    json.raw(r#"},"arn":"#).string(&arn(Service::S3, object.bucket));
    json.raw(r#"},"object":{"key":"#).string(&encode_key(object.key));
    json.raw(r#","size":"#).number(object.bytes);
    json.raw(r#","eTag":"#).string(object.etag);
    if let Some(version) = object.version_id {
        json.raw(r#","versionId":"#).string(version);
    }
    json.raw(r#","sequencer":"#).string(object.sequencer).raw("}}}");
}

/// Encodes a key: letters, digits, `-_.*` and `/` stay, a space is `+`, other bytes are `%XX`.
fn encode_key(key: &str) -> String {
    use std::fmt::Write;

    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => write!(out, "%{byte:02X}").expect("a string takes every character"),
        }
    }
    out
}

#[cfg(test)]
mod tests;
