//! From a verdict to bytes: headers that tell of the limit, and bodies that end too early.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LINK, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use crate::answer::Page;
use crate::{Fault, Headers, RetryAfter, Vendor};

/// How long a part of an answer has to leave before the connection is cut.
const BEFORE_CUT: Duration = Duration::from_millis(2);

pub(crate) type Body = UnsyncBoxBody<Bytes, Broken>;

/// Why there is no answer, or no whole one: it was meant so.
#[derive(Debug, thiserror::Error)]
#[error("the vendor ends the connection")]
pub(crate) struct Broken;

/// What a call gets.
pub(crate) struct Verdict {
    pub(crate) page: Page,
    pub(crate) retry_after: Option<f64>,
    pub(crate) remaining: f64,
    pub(crate) rate: f64,
    pub(crate) cut: Option<Fault>,
    pub(crate) is_slow: bool,
    pub(crate) is_broken: bool,
    pub(crate) wait: Option<Duration>,
}

impl Verdict {
    pub(crate) fn of(page: Page) -> Self {
        Self {
            page,
            retry_after: None,
            remaining: 0.0,
            rate: 0.0,
            cut: None,
            is_slow: false,
            is_broken: false,
            wait: None,
        }
    }
}

/// A body that is whole.
pub(crate) fn whole(body: Bytes) -> Body {
    BodyExt::boxed_unsync(Full::new(body).map_err(|never| match never {}))
}

/// A page, as it should be.
pub(crate) fn respond(page: Page) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::from(page.body)));
    *response.status_mut() = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(link) = page.link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        headers.insert(LINK, link);
    }
    response
}

impl Vendor {
    /// Turns a verdict into what goes over the wire.
    pub(crate) fn send(&self, verdict: Verdict) -> Result<Response<Body>, Broken> {
        if verdict.is_broken {
            return Err(Broken);
        }
        let body = Bytes::from(verdict.page.body.clone());
        let mut response = respond(Page { body: Vec::new(), ..verdict.page.clone() });
        *response.body_mut() = match verdict.cut {
            None => whole(body.clone()),
            Some(_) => self.part(body.slice(..body.len() / 2)),
        };
        let headers = response.headers_mut();
        if verdict.cut == Some(Fault::CutShort) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if verdict.page.status == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = verdict.retry_after
            && let Some(value) = self.retry_after(seconds)
        {
            headers.insert(RETRY_AFTER, value);
        }
        for (name, value) in self.limit_headers(&verdict) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        Ok(response)
    }

    fn retry_after(&self, seconds: f64) -> Option<HeaderValue> {
        let whole = seconds.ceil().max(1.0) as u64;
        match self.settings.retry_after {
            RetryAfter::Seconds => Some(HeaderValue::from(whole)),
            RetryAfter::Date => {
                let now_ms = u64::try_from(self.env.now().0).unwrap_or_default();
                // A date has whole seconds: the next one that is late enough.
                let at = Duration::from_millis(now_ms) + Duration::from_secs_f64(seconds);
                let date = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_secs() + 1);
                HeaderValue::from_str(&httpdate::fmt_http_date(date)).ok()
            }
            RetryAfter::None => None,
        }
    }

    fn limit_headers(&self, verdict: &Verdict) -> Vec<(&'static str, String)> {
        if verdict.rate <= 0.0 {
            return Vec::new();
        }
        let (remaining, reset) = (verdict.remaining.floor(), verdict.retry_after.unwrap_or(1.0).ceil());
        match self.settings.headers {
            Headers::None => Vec::new(),
            Headers::Draft => vec![
                ("ratelimit-policy", format!("\"calls\";q={};w=1", verdict.rate.floor())),
                ("ratelimit", format!("\"calls\";r={remaining};t={reset}")),
            ],
            Headers::X => vec![
                ("x-ratelimit-limit", verdict.rate.floor().to_string()),
                ("x-ratelimit-remaining", remaining.to_string()),
                ("x-ratelimit-reset", reset.to_string()),
            ],
        }
    }

    /// A body that ends before its end.
    fn part(&self, body: Bytes) -> Body {
        let env = self.env.clone();
        let parts = stream::unfold(Some(body), move |left| {
            let env = env.clone();
            async move {
                match left {
                    Some(body) if !body.is_empty() => Some((Ok(Frame::data(body)), Some(Bytes::new()))),
                    Some(_) => {
                        env.sleep(BEFORE_CUT).await;
                        Some((Err(Broken), None))
                    }
                    None => None,
                }
            }
        });
        BodyExt::boxed_unsync(StreamBody::new(Box::pin(parts)))
    }
}
