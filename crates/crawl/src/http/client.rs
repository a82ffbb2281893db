//! The client of one vendor's account.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use url::{Origin, Url};
use weir_env::Env;

use super::HttpError;
use super::auth::{Credentials, header_name, sensitive};
use super::body::{self, Encoding};
use super::error::{host, reason, shown};
use super::token::Token;
use crate::spec::Client;
use crate::{Answer, Method, Request, Transport, TransportError};

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 5;

/// What `User-Agent` says.
const USER_AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));

/// What bounds a client beside what its `api` block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long connecting may take, TLS included.
    pub connect: Duration,
    /// Connections that are kept open while idle; the account's concurrency.
    pub idle_connections_max: usize,
    /// For how long.
    pub idle_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // Most servers close an idle connection after 60 to 75 s: whoever closes first meets no race.
        Self { connect: Duration::from_secs(10), idle_connections_max: 64, idle_for: Duration::from_secs(50) }
    }
}

/// A vendor's account over HTTP/1.1, or HTTP/2 where TLS negotiates it.
///
/// Proxies are those that the environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`). Redirects are followed within
/// one origin, at most five; one that leads elsewhere is the answer itself.
pub struct Http {
    http: reqwest::Client,
    origin: Origin,
    /// The `api` block's own headers, sent to its origin alone.
    headers: HeaderMap,
    credentials: Credentials,
    timeout: Duration,
    answer_bytes_max: u64,
    env: Env,
}

impl Http {
    /// Sets a client up; connects to nothing yet.
    ///
    /// # Errors
    /// If a URL is not HTTP, a header or credential can't be sent, or TLS can't be set up.
    pub fn new(client: &Client, env: Env, limits: Limits) -> Result<Self, HttpError> {
        require_http(&client.base_url)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &client.headers {
            headers.insert(header_name(name)?, sensitive(value.reveal(), || format!("header `{name}`"))?);
        }
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(limits.connect)
            .pool_max_idle_per_host(limits.idle_connections_max)
            .pool_idle_timeout(limits.idle_for)
            .tcp_keepalive(Duration::from_secs(30))
            .redirect(Policy::custom(redirect))
            // It would repeat a URL, key and all.
            .referer(false)
            .build()
            .map_err(|error| HttpError::Setup { host: host(&client.base_url), reason: reason(error) })?;
        let credentials = Credentials::new(&client.auth, &http, &env)?;
        Ok(Self {
            http,
            origin: client.base_url.origin(),
            headers,
            credentials,
            timeout: client.timeout,
            answer_bytes_max: client.answer_bytes_max,
            env,
        })
    }

    /// Makes one call with credentials as they are, within the timeout.
    async fn send(&self, request: &Request, token: Option<&Token>) -> Result<Answer, TransportError> {
        let prepared = self.prepare(request, token)?;
        match self.env.within(self.timeout, self.exchange(prepared)).await {
            Some(answer) => answer,
            None => Err(TransportError::Timeout { after: self.timeout }),
        }
    }

    fn prepare(&self, request: &Request, token: Option<&Token>) -> Result<reqwest::Request, TransportError> {
        let mut url = request.url.clone();
        let mut headers = HeaderMap::with_capacity(request.headers.len() + self.headers.len() + 3);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let ours = self.is_ours(&url);
        if ours {
            headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        for (name, value) in &request.headers {
            let (name, value) = header(name, value).ok_or_else(|| TransportError::Connect {
                host: host(&request.url),
                reason: format!("header `{name}` holds what can't be sent"),
            })?;
            headers.insert(name, value);
        }
        if ours {
            self.credentials.add(&mut url, &mut headers);
            if let Some(token) = token {
                headers.insert(reqwest::header::AUTHORIZATION, token.header.clone());
            }
        }
        let mut prepared = reqwest::Request::new(method(request.method), url);
        *prepared.headers_mut() = headers;
        if !request.body.is_empty() {
            *prepared.body_mut() = Some(request.body.clone().into());
        }
        Ok(prepared)
    }

    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, TransportError> {
        let to = host(request.url());
        let is_head = request.method() == reqwest::Method::HEAD;
        let began = self.env.elapsed();
        let mut response = self
            .http
            .execute(request)
            .await
            .map_err(|error| TransportError::Connect { host: to, reason: reason(error) })?;
        let latency = self.env.elapsed().saturating_sub(began);
        // What was not asked for is left as it is, and its header says so.
        let encoding = content_encoding(response.headers());
        let body = if is_head {
            bytes::Bytes::new()
        } else {
            body::read(&mut response, encoding.unwrap_or(Encoding::Plain), self.answer_bytes_max).await?
        };
        let decoded = matches!(encoding, Some(Encoding::Gzip | Encoding::Deflate));
        let headers = response
            .headers()
            .iter()
            .filter(|(name, _)| !(decoded && (*name == CONTENT_ENCODING || *name == CONTENT_LENGTH)))
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        Ok(Answer { status: response.status().as_u16(), headers, body, latency })
    }

    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.origin
    }
}

#[async_trait]
impl Transport for Http {
    async fn call(&self, request: Request) -> Result<Answer, TransportError> {
        let Credentials::Token(tokens) = &self.credentials else { return self.send(&request, None).await };
        if !self.is_ours(&request.url) {
            return self.send(&request, None).await;
        }
        let token = tokens.get().await?;
        let answer = self.send(&request, Some(&token)).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        tracing::debug!(host = %host(&request.url), "the vendor refused a token; a new one is asked for");
        let anew = tokens.after(&token).await?;
        self.send(&request, Some(&anew)).await
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("origin", &self.origin.ascii_serialization()).finish_non_exhaustive()
    }
}

pub(super) fn require_http(url: &Url) -> Result<(), HttpError> {
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    if is_http { Ok(()) } else { Err(HttpError::Scheme { url: shown(url) }) }
}

fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let same = attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
    if same && attempt.previous().len() <= REDIRECTS_MAX { attempt.follow() } else { attempt.stop() }
}

fn content_encoding(headers: &HeaderMap) -> Option<Encoding> {
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Some(Encoding::Plain) };
    value.to_str().ok().and_then(Encoding::parse)
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Delete => reqwest::Method::DELETE,
        Method::Patch => reqwest::Method::PATCH,
        Method::Head => reqwest::Method::HEAD,
    }
}
