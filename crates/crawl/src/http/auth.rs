//! What is added to a request that goes to the vendor's own origin.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use url::Url;
use weir_env::Env;
use weir_types::Secret;

use super::HttpError;
use super::token::Tokens;
use crate::spec::{Auth, KeyLocation};

/// Credentials in the form that they are sent in.
pub(super) enum Credentials {
    None,
    /// `Authorization`, ready.
    Authorization(HeaderValue),
    Header(HeaderName, HeaderValue),
    Query(String, Secret),
    /// `name=value`.
    Cookie(Secret),
    Token(Box<Tokens>),
}

impl Credentials {
    pub(super) fn new(auth: &Auth, http: &reqwest::Client, env: &Env) -> Result<Self, HttpError> {
        Ok(match auth {
            Auth::None => Self::None,
            Auth::Bearer(token) => Self::Authorization(bearer(token.reveal())?),
            Auth::Basic { username, password } => Self::Authorization(basic(username, password)?),
            Auth::ApiKey { name, key, location: KeyLocation::Header } => {
                let header = header_name(name)?;
                Self::Header(header, sensitive(key.reveal(), || format!("API key `{name}`"))?)
            }
            Auth::ApiKey { name, key, location: KeyLocation::Query } => Self::Query(name.clone(), key.clone()),
            Auth::ApiKey { name, key, location: KeyLocation::Cookie } => {
                let pair = format!("{name}={}", key.reveal());
                sensitive(&pair, || format!("API key `{name}`"))?;
                Self::Cookie(Secret::new(pair))
            }
            Auth::ClientCredentials { .. } => Self::Token(Box::new(Tokens::new(auth, http.clone(), env.clone())?)),
        })
    }

    /// Adds what needs no waiting. Tokens are the caller's to fetch.
    pub(super) fn add(&self, url: &mut Url, headers: &mut HeaderMap) {
        match self {
            Self::None | Self::Token(_) => {}
            Self::Authorization(value) => {
                headers.insert(AUTHORIZATION, value.clone());
            }
            Self::Header(name, value) => {
                headers.insert(name.clone(), value.clone());
            }
            Self::Query(name, key) => {
                url.query_pairs_mut().append_pair(name, key.reveal());
            }
            Self::Cookie(pair) => {
                // One header: RFC 6265 section 5.4 allows no second one.
                let pairs = match headers.get(COOKIE).and_then(|cookies| cookies.to_str().ok()) {
                    Some(cookies) => format!("{cookies}; {}", pair.reveal()),
                    None => pair.reveal().to_owned(),
                };
                if let Ok(mut value) = HeaderValue::from_str(&pairs) {
                    value.set_sensitive(true);
                    headers.insert(COOKIE, value);
                }
            }
        }
    }
}

/// Returns `Bearer TOKEN`, RFC 6750.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, HttpError> {
    sensitive(&format!("Bearer {token}"), || "bearer token".to_owned())
}

/// Returns HTTP's basic authentication, RFC 7617.
pub(super) fn basic(username: &str, password: &Secret) -> Result<HeaderValue, HttpError> {
    let pair = STANDARD.encode(format!("{username}:{}", password.reveal()));
    sensitive(&format!("Basic {pair}"), || "password".to_owned())
}

pub(super) fn header_name(name: &str) -> Result<HeaderName, HttpError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| HttpError::Header { what: format!("name `{name}`") })
}

pub(super) fn sensitive(value: &str, what: impl Fn() -> String) -> Result<HeaderValue, HttpError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| HttpError::Header { what: what() })?;
    value.set_sensitive(true);
    Ok(value)
}
