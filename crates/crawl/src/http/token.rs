//! Tokens of OAuth 2.0's client credentials grant (RFC 6749, section 4.4).
//!
//! ```text
//! none --fetch--> valid --shortly before its end--> one caller fetches, the others go on with the old one
//!                   |
//!                   +--refused with 401--> none
//! ```
//!
//! Invariant: one fetch at a time, however many callers wait; those that waited share its token, or its error. After an
//! error nothing is asked for within [`FAILURE_PAUSE`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard};
use url::Url;
use weir_env::Env;
use weir_types::Secret;

use super::HttpError;
use super::auth::{bearer, sensitive};
use super::body::{self, Encoding};
use super::client::require_http;
use super::error::{reason, shown};
use crate::TransportError;
use crate::spec::Auth;

/// How long a token's request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// For how long an error is shared before the next request.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// How long before its end a token is fetched anew, at most; a tenth of its life if that is less.
const EARLY_MAX: Duration = Duration::from_secs(60);
/// How long a token is kept whose life the server does not say (RFC 6749, section 5.1: `expires_in` is recommended only).
const LIFE_UNKNOWN: Duration = Duration::from_secs(3600);
/// The largest answer of a token's server.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// What the form encoding leaves as it is (WHATWG URL, `application/x-www-form-urlencoded`).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');

/// A token, and which one it is.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    number: u64,
    /// From when on it is fetched anew.
    early: Duration,
    /// From when on it is not sent any more.
    end: Duration,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    failed: Option<(TransportError, Duration)>,
}

/// The tokens of one client.
pub(super) struct Tokens {
    url: Url,
    authorization: Option<HeaderValue>,
    form: Secret,
    http: reqwest::Client,
    env: Env,
    state: Mutex<State>,
    /// Fetches that ended; who sees it change while it waits takes what the fetch brought.
    fetches: AtomicU64,
}

impl Tokens {
    /// `auth` is [`Auth::ClientCredentials`].
    pub(super) fn new(auth: &Auth, http: reqwest::Client, env: Env) -> Result<Self, HttpError> {
        let Auth::ClientCredentials { token_url, client_id, client_secret, scopes, params, in_body } = auth else {
            unreachable!("only client credentials have tokens");
        };
        require_http(token_url)?;
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        if !scopes.is_empty() {
            form.push(("scope", scopes.join(" ")));
        }
        let authorization = if *in_body {
            form.push(("client_id", client_id.clone()));
            form.push(("client_secret", client_secret.reveal().to_owned()));
            None
        } else {
            // Section 2.3.1: both are form-encoded before they become user and password.
            let pair = STANDARD.encode(format!("{}:{}", encode(client_id), encode(client_secret.reveal())));
            Some(sensitive(&format!("Basic {pair}"), || "client secret".to_owned())?)
        };
        form.extend(params.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let form: Vec<String> =
            form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        Ok(Self {
            url: token_url.clone(),
            authorization,
            form: Secret::new(form.join("&")),
            http,
            env,
            state: Mutex::default(),
            fetches: AtomicU64::new(0),
        })
    }

    /// Returns a token that is valid, waiting for one if need be.
    ///
    /// # Errors
    /// [`TransportError::Token`] if none can be had.
    pub(super) async fn get(&self) -> Result<Token, TransportError> {
        let seen = self.fetches.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        let now = self.env.elapsed();
        if let Some(token) = state.token.clone().filter(|token| now < token.end) {
            if now < token.early || self.is_paused(&state, now) {
                return Ok(token);
            }
            // The others go on with the old one meanwhile: this one has its early time moved on first.
            return Ok(self.renew(state, token).await);
        }
        if let Some(error) = self.shared_error(&state, seen, now) {
            return Err(error);
        }
        self.fetch(&mut state).await
    }

    /// Returns a token after `refused`, which the vendor no longer takes.
    ///
    /// # Errors
    /// As for [`Tokens::get`].
    pub(super) async fn after(&self, refused: &Token) -> Result<Token, TransportError> {
        let seen = self.fetches.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.clone().filter(|token| token.number > refused.number) {
            return Ok(token);
        }
        state.token = None;
        if let Some(error) = self.shared_error(&state, seen, self.env.elapsed()) {
            return Err(error);
        }
        self.fetch(&mut state).await
    }

    /// Fetches while the old token is still good for everybody else; where that fails, it is good for this caller as well.
    async fn renew(&self, mut state: MutexGuard<'_, State>, old: Token) -> Token {
        let token = Token { early: old.end, ..old.clone() };
        state.token = Some(token);
        drop(state);
        let fetched = self.ask().await;
        let mut state = self.state.lock().await;
        match self.keep(&mut state, fetched) {
            Ok(token) => token,
            Err(error) => {
                tracing::warn!(%error, "a token could not be fetched before its predecessor's end");
                if let Some(token) = state.token.as_mut().filter(|token| token.number == old.number) {
                    token.early = (self.env.elapsed() + FAILURE_PAUSE).min(token.end);
                }
                old
            }
        }
    }

    async fn fetch(&self, state: &mut State) -> Result<Token, TransportError> {
        let fetched = self.ask().await;
        self.keep(state, fetched)
    }

    fn keep(&self, state: &mut State, fetched: Result<Fetched, TransportError>) -> Result<Token, TransportError> {
        let number = self.fetches.fetch_add(1, Ordering::AcqRel) + 1;
        let now = self.env.elapsed();
        match fetched {
            Ok(Fetched { header, life }) => {
                let early = self.env.jitter((life / 10).min(EARLY_MAX) / 3 * 2).min(life);
                let token = Token { header, number, early: now + (life - early), end: now + life };
                state.token = Some(token.clone());
                state.failed = None;
                Ok(token)
            }
            Err(error) => {
                state.failed = Some((error.clone(), now));
                Err(error)
            }
        }
    }

    /// Returns the error of a fetch that this caller waited for, or that was a moment ago.
    fn shared_error(&self, state: &State, seen: u64, now: Duration) -> Option<TransportError> {
        let (error, _) = state.failed.as_ref()?;
        let waited = self.fetches.load(Ordering::Acquire) != seen;
        (waited || self.is_paused(state, now)).then(|| error.clone())
    }

    fn is_paused(&self, state: &State, now: Duration) -> bool {
        state.failed.as_ref().is_some_and(|(_, at)| now.saturating_sub(*at) < FAILURE_PAUSE)
    }

    async fn ask(&self) -> Result<Fetched, TransportError> {
        match self.env.within(TIMEOUT, self.exchange()).await {
            Some(fetched) => fetched,
            None => Err(self.passing(format!("no answer within {}", weir_types::span::display(TIMEOUT)))),
        }
    }

    async fn exchange(&self) -> Result<Fetched, TransportError> {
        let mut request = reqwest::Request::new(reqwest::Method::POST, self.url.clone());
        let headers: &mut HeaderMap = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        *request.body_mut() = Some(self.form.reveal().to_owned().into());
        let mut response = self.http.execute(request).await.map_err(|error| self.passing(reason(error)))?;
        let status = response.status().as_u16();
        let body = body::read(&mut response, Encoding::Plain, ANSWER_BYTES_MAX)
            .await
            .map_err(|error| self.passing(error.to_string()))?;
        match status {
            200..=299 => self.read(&body),
            429 | 408 | 500.. => Err(self.passing(format!("status {status}"))),
            _ => Err(self.lasting(refusal(status, &body))),
        }
    }

    fn read(&self, body: &[u8]) -> Result<Fetched, TransportError> {
        // The parser's own message could show a part of a token.
        let answer: TokenAnswer = serde_json::from_slice(body)
            .map_err(|_| self.lasting("the answer is no JSON object with an `access_token`".to_owned()))?;
        if answer.token_type.as_ref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(self.lasting("the token's type is not `bearer`, the only one that is known here".to_owned()));
        }
        let header = bearer(&answer.access_token).map_err(|error| self.lasting(error.to_string()))?;
        let life = answer.expires_in.map_or(LIFE_UNKNOWN, Seconds::duration);
        Ok(Fetched { header, life })
    }

    fn passing(&self, reason: String) -> TransportError {
        TransportError::Token { token_url: shown(&self.url), reason, passing: true }
    }

    fn lasting(&self, reason: String) -> TransportError {
        TransportError::Token { token_url: shown(&self.url), reason, passing: false }
    }
}

/// What a request for a token brought.
struct Fetched {
    header: HeaderValue,
    life: Duration,
}

/// RFC 6749, section 5.1.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
}

/// Some servers write the number as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl Seconds {
    fn duration(self) -> Duration {
        let seconds = match self {
            Self::Number(seconds) => Some(seconds),
            Self::Text(text) => text.trim().parse().ok(),
        };
        let known = seconds.filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0);
        known.map_or(LIFE_UNKNOWN, |seconds| Duration::from_secs_f64(seconds.min(1e9)))
    }
}

/// RFC 6749, section 5.2: its code says what is wrong. The description is left out: it may repeat what was sent.
fn refusal(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let code = serde_json::from_slice::<Refusal>(body).ok().map(|refusal| refusal.error);
    // Codes are ASCII words; whatever else stands there is not repeated.
    let is_code =
        |code: &String| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match code.filter(is_code) {
        Some(code) => format!("refused with status {status}, `{code}`; check the client's id, secret and scopes"),
        None => format!("refused with status {status}; check the client's id, secret and scopes"),
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string()
}
