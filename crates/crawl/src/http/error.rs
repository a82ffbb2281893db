//! What keeps a client from being set up, and transport errors in words that hold no secret.

use std::error::Error;

use url::Url;

/// Why there is no client. Never shows a secret's value.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A base URL or a token's URL is not HTTP.
    #[error("`{url}` is not an http:// or https:// address")]
    Scheme {
        /// The URL, without user and query.
        url: String,
    },
    /// A header's name, or its value, can't be sent.
    #[error("the {what} can't stand in a header; look for line breaks and for characters beyond ASCII")]
    Header {
        /// What it is: a header by name, a token, a key.
        what: String,
    },
    /// TLS or the operating system refused.
    #[error("set up the client of `{host}`: {reason}")]
    Setup {
        /// The vendor's host and port.
        host: String,
        /// Why, in words.
        reason: String,
    },
}

/// Returns a URL's host and port.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns a URL without its user, password, query and fragment: those may hold secrets.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail for URLs without a host only, which have neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// Returns the deepest causes of an error of `reqwest`, without its URL.
pub(super) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut reasons = Vec::new();
    let mut cause = error.source();
    while let Some(at) = cause {
        reasons.push(at.to_string());
        cause = at.source();
    }
    // Outer layers say "client error (Connect)"; the last two say what happened.
    let last = reasons.split_off(reasons.len().saturating_sub(2));
    if last.is_empty() { error.to_string() } else { last.join(": ") }
}
