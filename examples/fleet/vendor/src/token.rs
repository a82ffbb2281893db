//! Who may call: a token that was agreed on, or one that `/oauth/token` issued and that still holds.
//!
//! Nothing is held: a token says itself until when it holds, sealed with the vendor's seed. That is no security, and need not be.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Request, Response};

use crate::Vendor;
use crate::answer::Page;
use crate::respond::{Body, respond};
use crate::shape::mix;

impl Vendor {
    /// Whether a call may be made.
    pub(crate) fn knows(&self, headers: &HeaderMap) -> bool {
        if self.settings.token.is_empty() {
            return true;
        }
        let token = authorization(headers).and_then(|value| value.strip_prefix("Bearer "));
        token.is_some_and(|token| token == self.settings.token || self.holds(token).unwrap_or(false))
    }

    /// Whether a token that was issued still holds: it says itself until when, sealed with the seed.
    fn holds(&self, token: &str) -> Option<bool> {
        let mut words = token.strip_prefix("issued-")?.split('-').map(|word| u64::from_str_radix(word, 16));
        let (until, number, seal) = (words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?);
        Some(seal == self.seal(until, number) && self.now_ns() < until)
    }

    fn seal(&self, until: u64, number: u64) -> u64 {
        mix(mix(self.settings.shape.seed ^ until) ^ number)
    }

    /// OAuth 2.0's client credentials grant, RFC 6749 section 4.4; id and secret in the body, or as basic authentication.
    pub(crate) async fn issue(&self, request: Request<Incoming>) -> Response<Body> {
        let basic_holds = self.is_basic(request.headers());
        let Ok(body) = request.into_body().collect().await else {
            return respond(Page::error(400, "no whole body"));
        };
        let body = body.to_bytes();
        let field = |name: &str| {
            form_urlencoded::parse(&body).find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
        };
        if field("grant_type").as_deref() != Some("client_credentials") {
            return respond(Page::error(400, "unsupported_grant_type"));
        }
        let in_body = field("client_secret").is_some_and(|secret| secret == self.settings.client_secret);
        if !(basic_holds || in_body) {
            return respond(Page::error(401, "invalid_client"));
        }
        let number = {
            let mut mood = self.mood();
            mood.issued += 1;
            mood.issued
        };
        let until = self.now_ns() + u64::try_from(self.settings.token_for.as_nanos()).unwrap_or(u64::MAX / 2);
        let seal = self.seal(until, number);
        respond(Page::of(
            200,
            &serde_json::json!({
                "access_token": format!("issued-{until:x}-{number:x}-{seal:x}"),
                "token_type": "Bearer",
                "expires_in": self.settings.token_for.as_secs(),
            }),
        ))
    }

    /// Whether it says `Basic base64(ID:SECRET)`, RFC 7617, with any id.
    fn is_basic(&self, headers: &HeaderMap) -> bool {
        let Some(coded) = authorization(headers).and_then(|value| value.strip_prefix("Basic ")) else { return false };
        let plain = STANDARD.decode(coded).ok().and_then(|plain| String::from_utf8(plain).ok());
        plain
            .is_some_and(|plain| plain.split_once(':').is_some_and(|(_, secret)| secret == self.settings.client_secret))
    }
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}
