//! What a function answers to an HTTP request: the response it describes, or the one that is inferred.
//!
//! Payload format 2.0: JSON with a `statusCode` describes the response. Anything else is the body of a 200 of type
//! `application/json`; a string is the body without its quotes. `multiValueHeaders` of format 1.0 are understood too.
//! A header that would break out of its line is refused.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::RESPONSE_BYTES_MAX;
use super::not_json::{NotJson, explain, text};

/// An HTTP response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiResponse {
    /// The status, 100 to 599.
    pub status: u16,
    /// Headers: names in lower case, a name once per value. `set-cookie` stands in `cookies`.
    pub headers: Vec<(String, String)>,
    /// The value of each `set-cookie`.
    pub cookies: Vec<String>,
    /// The body, decoded.
    pub body: Vec<u8>,
}

/// An answer that is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiResponseError {
    /// Over the limit.
    #[error("the response has {bytes} bytes, and may have {RESPONSE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON at all.
    #[error("the response is not JSON")]
    NotJson(#[from] NotJson),
    /// Not a status.
    #[error("`statusCode` is {found}: write a whole number from 100 to 599")]
    Status {
        /// What was found, cut.
        found: String,
    },
    /// A field of the wrong type.
    #[error("`{field}` is {found}: write {allowed}")]
    Field {
        /// The field.
        field: &'static str,
        /// What was found, cut.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A name or value that can't stand in an HTTP header.
    #[error("the header `{name}` can't be sent: its name or value has a character that HTTP does not allow there")]
    Header {
        /// Its name, escaped.
        name: String,
    },
    /// A body that is said to be base64 and is not.
    #[error("`isBase64Encoded` is true, and `body` is not base64: {reason}")]
    Base64 {
        /// The decoder's words.
        reason: String,
    },
}

/// Fields stay raw until it is known that they describe a response.
#[derive(Deserialize)]
struct Described<'a> {
    #[serde(borrow, rename = "statusCode")]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow, rename = "multiValueHeaders")]
    multi: Option<&'a RawValue>,
    #[serde(borrow)]
    cookies: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow, rename = "isBase64Encoded")]
    base64: Option<&'a RawValue>,
}

/// A header's value: text, or what has an obvious text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Truth(bool),
    Whole(i64),
    Number(f64),
}

impl Scalar {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Truth(truth) => truth.to_string(),
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Reads a function's answer as an HTTP response.
///
/// # Errors
/// If it is too large, not JSON, or describes a response that HTTP does not have.
pub fn api_response(payload: &[u8]) -> Result<ApiResponse, ApiResponseError> {
    if payload.len() > RESPONSE_BYTES_MAX {
        return Err(ApiResponseError::TooLarge { bytes: payload.len() });
    }
    let json = text(payload)?.trim_matches([' ', '\t', '\n', '\r']);
    if json.is_empty() {
        return Ok(inferred(Vec::new()));
    }
    if json.starts_with('"') {
        let body: String = serde_json::from_str(json).map_err(|error| explain(json, &error))?;
        return Ok(inferred(body.into_bytes()));
    }
    if json.starts_with('{') {
        let described: Described<'_> = serde_json::from_str(json).map_err(|error| explain(json, &error))?;
        if let Some(status) = described.status {
            return described_response(status, &described);
        }
    } else {
        serde_json::from_str::<&RawValue>(json).map_err(|error| explain(json, &error))?;
    }
    Ok(inferred(json.as_bytes().to_vec()))
}

fn inferred(body: Vec<u8>) -> ApiResponse {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    ApiResponse { status: 200, headers, cookies: Vec::new(), body }
}

fn described_response(status: &RawValue, described: &Described<'_>) -> Result<ApiResponse, ApiResponseError> {
    let mut response = ApiResponse {
        status: status_code(status)?,
        headers: Vec::new(),
        cookies: field("cookies", "a list of strings", described.cookies)?.unwrap_or_default(),
        body: body(described)?,
    };
    let single: BTreeMap<String, Option<Scalar>> =
        field("headers", "an object of strings, numbers and booleans", described.headers)?.unwrap_or_default();
    let multi: BTreeMap<String, Vec<Scalar>> =
        field("multiValueHeaders", "an object of lists of strings, numbers and booleans", described.multi)?
            .unwrap_or_default();
    // As API Gateway has it: a name in both counts with its list.
    let listed: Vec<String> = multi.keys().map(|name| name.to_ascii_lowercase()).collect();
    let single = single
        .into_iter()
        .filter(|(name, _)| !listed.iter().any(|listed| listed.eq_ignore_ascii_case(name)))
        .filter_map(|(name, value)| Some((name, value?)));
    let multi = multi.into_iter().flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)));
    for (name, value) in single.chain(multi) {
        let (name, value) = (name.to_ascii_lowercase(), value.into_text());
        check_header(&name, &value)?;
        if name == "set-cookie" {
            response.cookies.push(value);
        } else {
            response.headers.push((name, value));
        }
    }
    for cookie in &response.cookies {
        check_header("set-cookie", cookie)?;
    }
    if !response.headers.iter().any(|(name, _)| name == "content-type") {
        response.headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    Ok(response)
}

/// A number, or its digits as a string, which API Gateway takes as well.
fn status_code(raw: &RawValue) -> Result<u16, ApiResponseError> {
    let digits = raw.get().trim_matches('"');
    digits
        .parse()
        .ok()
        .filter(|status| (100..=599).contains(status))
        .ok_or_else(|| ApiResponseError::Status { found: cut(raw.get()) })
}

fn body(described: &Described<'_>) -> Result<Vec<u8>, ApiResponseError> {
    let body: String = field("body", "a string; dump other values to JSON first", described.body)?.unwrap_or_default();
    let encoded: bool = field("isBase64Encoded", "true or false", described.base64)?.unwrap_or_default();
    if !encoded {
        return Ok(body.into_bytes());
    }
    STANDARD.decode(body.trim()).map_err(|error| ApiResponseError::Base64 { reason: error.to_string() })
}

fn field<'a, T: Deserialize<'a>>(
    field: &'static str,
    allowed: &'static str,
    raw: Option<&'a RawValue>,
) -> Result<Option<T>, ApiResponseError> {
    let Some(raw) = raw else { return Ok(None) };
    serde_json::from_str(raw.get()).map(Some).map_err(|_| ApiResponseError::Field {
        field,
        found: cut(raw.get()),
        allowed,
    })
}

/// RFC 9110: a name is a token; a value has no control characters but the tab.
fn check_header(name: &str, value: &str) -> Result<(), ApiResponseError> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let printable = |byte: u8| byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
    if name.is_empty() || !name.bytes().all(token) || !value.bytes().all(printable) {
        return Err(ApiResponseError::Header { name: cut(&name.escape_debug().to_string()) });
    }
    Ok(())
}

/// Characters of a handler's own text that an error repeats.
const FOUND_CHARS_MAX: usize = 60;

fn cut(text: &str) -> String {
    if text.chars().count() <= FOUND_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(FOUND_CHARS_MAX).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests;
