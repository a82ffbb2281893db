//! An HTTP request, as API Gateway's HTTP API (payload format 2.0) and function URLs send it to a function.
//!
//! The forms: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
//! and <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>. Header names are lower case; what comes
//! twice is joined with commas; cookies stand apart from the headers; a body that is not UTF-8 is in base64.

use std::collections::BTreeMap;

use chrono::DateTime;
use weir_types::Timestamp;

use super::arn::ACCOUNT;
use super::json::{Json, base64_len};

/// Which of the two forms is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiForm<'a> {
    /// A route of an HTTP API, such as `GET /orders/{id}`, or `$default`.
    HttpApi {
        /// The route's key.
        route_key: &'a str,
    },
    /// A function's own URL, called without credentials.
    FunctionUrl,
}

/// A request as it came in.
#[derive(Debug, Clone, Copy)]
pub struct ApiRequest<'a> {
    /// The form that the function expects.
    pub form: ApiForm<'a>,
    /// The name of the API, or of the function whose URL it is.
    pub api_id: &'a str,
    /// The method, in upper case.
    pub method: &'a str,
    /// The path as it was sent, with its leading slash.
    pub path: &'a str,
    /// The query as it was sent, without the question mark; empty if there is none.
    pub query: &'a str,
    /// The protocol, such as `HTTP/1.1`.
    pub protocol: &'a str,
    /// Headers in their order. Values that are not UTF-8 are read as Latin-1, which HTTP once said they are.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// What the route's placeholders matched.
    pub path_parameters: &'a [(&'a str, &'a str)],
    /// The body, empty if there is none.
    pub body: &'a [u8],
    /// The client's address.
    pub source_ip: &'a str,
    /// The request's id.
    pub request_id: &'a str,
    /// When it came in.
    pub received_at: Timestamp,
}

/// Writes the event for `request`.
pub fn api(request: &ApiRequest<'_>) -> Vec<u8> {
    let headers = Headers::of(request.headers);
    let mut json = Json::with_capacity(1024 + base64_len(request.body.len()));
    json.raw(r#"{"version":"2.0","routeKey":"#).string(route_key(request.form));
    json.raw(r#","rawPath":"#).string(request.path);
    json.raw(r#","rawQueryString":"#).string(request.query);
    if !headers.cookies.is_empty() {
        json.raw(r#","cookies":["#);
        for (index, cookie) in headers.cookies.iter().enumerate() {
            json.raw(if index > 0 { "," } else { "" }).string(cookie);
        }
        json.raw("]");
    }
    json.raw(r#","headers":"#);
    object(&mut json, headers.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let query = query_parameters(request.query);
    if !query.is_empty() {
        json.raw(r#","queryStringParameters":"#);
        object(&mut json, query.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }
    context(&mut json, request, &headers);
    if !request.path_parameters.is_empty() {
        json.raw(r#","pathParameters":"#);
        object(&mut json, request.path_parameters.iter().copied());
    }
    body(&mut json, request.body);
    json.raw("}");
    json.finish()
}

fn context(json: &mut Json, request: &ApiRequest<'_>, headers: &Headers) {
    let host = headers.fields.get("host").map_or("localhost", String::as_str);
    let domain = domain(host);
    let account = match request.form {
        ApiForm::HttpApi { .. } => ACCOUNT,
        ApiForm::FunctionUrl => "anonymous",
    };
    json.raw(r#","requestContext":{"accountId":"#).string(account);
    json.raw(r#","apiId":"#).string(request.api_id);
    json.raw(r#","domainName":"#).string(domain);
    json.raw(r#","domainPrefix":"#).string(domain.split('.').next().unwrap_or(domain));
    json.raw(r#","http":{"method":"#).string(request.method);
    json.raw(r#","path":"#).string(request.path);
    json.raw(r#","protocol":"#).string(request.protocol);
    json.raw(r#","sourceIp":"#).string(request.source_ip);
    json.raw(r#","userAgent":"#).string(headers.fields.get("user-agent").map_or("", String::as_str));
    json.raw(r#"},"requestId":"#).string(request.request_id);
    json.raw(r#","routeKey":"#).string(route_key(request.form));
    json.raw(r#","stage":"$default","time":"#).string(&common_log_time(request.received_at));
    json.raw(r#","timeEpoch":"#).number(request.received_at.0).raw("}");
}

fn body(json: &mut Json, body: &[u8]) {
    match std::str::from_utf8(body) {
        Ok("") => json.raw(r#","isBase64Encoded":false"#),
        Ok(text) => json.raw(r#","body":"#).string(text).raw(r#","isBase64Encoded":false"#),
        Err(_) => json.raw(r#","body":"#).base64(body).raw(r#","isBase64Encoded":true"#),
    };
}

fn route_key(form: ApiForm<'_>) -> &str {
    match form {
        ApiForm::HttpApi { route_key } => route_key,
        ApiForm::FunctionUrl => "$default",
    }
}

fn object<'t>(json: &mut Json, fields: impl Iterator<Item = (&'t str, &'t str)>) {
    json.raw("{");
    for (index, (name, value)) in fields.enumerate() {
        json.raw(if index > 0 { "," } else { "" }).string(name).raw(":").string(value);
    }
    json.raw("}");
}

/// Headers by name, and the cookies that were among them.
struct Headers {
    fields: BTreeMap<String, String>,
    cookies: Vec<String>,
}

impl Headers {
    fn of(headers: &[(&str, &[u8])]) -> Self {
        let mut out = Self { fields: BTreeMap::new(), cookies: Vec::new() };
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            let value = header_text(value);
            if name == "cookie" {
                out.cookies.extend(value.split(';').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
            } else {
                join(&mut out.fields, name, &value);
            }
        }
        out
    }
}

/// Text of a header. Every byte is a character of Latin-1, so that nothing is lost where it is not UTF-8.
fn header_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}

fn join(fields: &mut BTreeMap<String, String>, name: String, value: &str) {
    fields
        .entry(name)
        .and_modify(|all| {
            all.push(',');
            all.push_str(value);
        })
        .or_insert_with(|| value.to_owned());
}

fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        join(&mut out, decode(name), &decode(value));
    }
    out
}

/// Undoes form encoding. What is not UTF-8 afterwards becomes U+FFFD: the raw query has the bytes.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match (first, escaped) {
            (_, Some((high, low))) => {
                bytes.push(high * 16 + low);
                rest = &after[2..];
            }
            (b'+', None) => {
                bytes.push(b' ');
                rest = after;
            }
            (byte, None) => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The host without its port.
fn domain(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of a bare IPv6 address are not a port's.
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

/// The form of access logs: `12/Mar/2020:19:03:58 +0000`.
fn common_log_time(time: Timestamp) -> String {
    DateTime::from_timestamp_millis(time.0)
        .map_or_else(|| time.to_string(), |time| time.format("%d/%b/%Y:%H:%M:%S +0000").to_string())
}

#[cfg(test)]
mod tests;
