//! What is never stored.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;
use weir_types::Secret;

use crate::spec::{Auth, Client};

/// What stands in a secret's place.
const REDACTED: &str = "REDACTED";
/// Secrets shorter than this are not looked for in texts: they would be found everywhere.
const LENGTH_MIN: usize = 6;
/// Parameters whose values are not stored. Cursors are often called tokens, and have to be.
const PARAMS: [&str; 14] = [
    "access_key",
    "access_token",
    "api_key",
    "api-key",
    "apikey",
    "auth_token",
    "client_secret",
    "password",
    "secret",
    "sig",
    "signature",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
];
/// Parts of the names of headers that are not stored.
const HEADERS: [&str; 11] = [
    "access-token",
    "api-key",
    "apikey",
    "api-token",
    "auth",
    "cookie",
    "credential",
    "csrf",
    "password",
    "secret",
    "session",
];

/// Secrets that are taken out of what is stored.
#[derive(Debug, Default)]
pub struct Redaction {
    params: Vec<String>,
    values: Vec<Secret>,
}

impl Redaction {
    /// Knows a client's secrets, so that they are found wherever a vendor repeats them.
    pub fn of(client: &Client) -> Self {
        let mut redaction = Self::default();
        for (_, value) in &client.headers {
            redaction.hide(value.reveal());
        }
        match &client.auth {
            Auth::None => {}
            Auth::Bearer(token) => redaction.hide(token.reveal()),
            Auth::ApiKey { name, key, .. } => {
                redaction.params.push(name.to_lowercase());
                redaction.hide(key.reveal());
            }
            Auth::Basic { username, password } => {
                redaction.hide(password.reveal());
                redaction.hide(&STANDARD.encode(format!("{username}:{}", password.reveal())));
            }
            Auth::ClientCredentials { client_secret, .. } => redaction.hide(client_secret.reveal()),
        }
        redaction
    }

    fn hide(&mut self, value: &str) {
        let encoded = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        let form: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let json = serde_json::Value::from(value).to_string();
        for form in [value, &encoded, &form, json.trim_matches('"')] {
            if form.len() >= LENGTH_MIN && !self.values.iter().any(|known| known.reveal() == form) {
                self.values.push(Secret::new(form));
            }
        }
        // What contains another one goes first.
        self.values.sort_by_key(|value| std::cmp::Reverse(value.reveal().len()));
    }

    /// Returns a text without secrets.
    pub(super) fn text(&self, text: String) -> String {
        self.values.iter().fold(text, |text, secret| match text.contains(secret.reveal()) {
            true => text.replace(secret.reveal(), REDACTED),
            false => text,
        })
    }

    /// Returns bytes that are no text without secrets.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.values.iter().fold(bytes.to_vec(), |bytes, secret| replace(bytes, secret.reveal().as_bytes()))
    }

    /// Returns a URL in the form that requests are compared in: pairs of the query in order, secrets' values gone, no user, no fragment.
    pub(super) fn url(&self, url: &Url) -> String {
        let mut pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| {
                let value = if self.is_secret_param(&name) { REDACTED.to_owned() } else { value.into_owned() };
                (name.into_owned(), value)
            })
            .collect();
        pairs.sort();
        let mut shown = url.clone();
        // Both fail for URLs without a host only, which have neither.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_fragment(None);
        shown.set_query(None);
        if !pairs.is_empty() {
            shown.query_pairs_mut().extend_pairs(&pairs);
        }
        self.text(shown.into())
    }

    fn is_secret_param(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        PARAMS.contains(&name.as_str()) || self.params.contains(&name)
    }

    /// Returns whether an answer's header is stored.
    pub(super) fn keeps_header(&self, name: &str) -> bool {
        !HEADERS.iter().any(|part| name.contains(part)) && !self.params.iter().any(|param| param == name)
    }
}

fn replace(bytes: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = &bytes[..];
    while let Some(at) = rest.windows(secret.len()).position(|window| window == secret) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(REDACTED.as_bytes());
        rest = &rest[at + secret.len()..];
    }
    out.extend_from_slice(rest);
    out
}
