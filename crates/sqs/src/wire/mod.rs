//! The two protocols: how a request is told from others, read, and answered.
//!
//! ```text
//! X-Amz-Target: AmazonSQS.SendMessage, JSON ------+                           +--> JSON
//!                                                 +--> one typed request --> one typed reply
//! Action=SendMessage, form in body or query ------+                           +--> XML
//! ```
//!
//! Invariant: an action never learns which protocol it was asked in. A form is turned into the JSON that the newer protocol
//! would have sent ([`form`]), so that there is one typed reading of each request; a reply writes itself as either.

mod answer;
mod body;
mod call;
mod form;
mod xml;

use axum::http::request::Parts;
use axum::http::{Method, header};
use serde::Serialize;

pub use answer::Answer;
pub use body::{announced, read as read_body};
pub use call::{Call, Protocol};
pub use xml::Xml;

use crate::access::Credential;

/// What the JSON protocol's header names the action with.
const TARGET: &str = "x-amz-target";
/// What stands before the action there.
const TARGET_PREFIX: &str = "AmazonSQS.";
/// The content type of the query protocol's bodies.
const FORM: &str = "application/x-www-form-urlencoded";
/// Digits of an account in a queue's path.
const ACCOUNT_DIGITS: usize = 12;

/// What an action answers, in both protocols.
pub trait Reply: Serialize {
    /// Writes what stands inside `<ActionResult>`.
    fn xml(&self, xml: &mut Xml);
    /// Tells whether the action has no result at all, not even an empty one.
    fn is_empty(&self) -> bool {
        false
    }
}

/// The reply of an action that has none.
impl Reply for () {
    fn xml(&self, _xml: &mut Xml) {}
    fn is_empty(&self) -> bool {
        true
    }
}

/// Tells whether a request is SQS's; see [`crate::Sqs::speaks`].
pub fn speaks(head: &Parts) -> bool {
    if let Some(target) = head.headers.get(TARGET) {
        return target.as_bytes().starts_with(TARGET_PREFIX.as_bytes());
    }
    if !matches!(head.method, Method::GET | Method::POST) {
        return false;
    }
    if queue_path(head.uri.path()).is_some() {
        return true;
    }
    // Other services of AWS have query protocols as well, on this same path: a signature says which is meant.
    head.uri.path() == "/"
        && Credential::of(head).is_none_or(|credential| credential.service == "sqs")
        && (is_form(head) || head.uri.query().is_some_and(has_action))
}

/// Splits a queue's path, `/ACCOUNT/QUEUE`, or `/ACCOUNT/QUEUE/` as AWS's own examples have it.
pub fn queue_path(path: &str) -> Option<(&str, &str)> {
    let (account, queue) = path.strip_prefix('/')?.split_once('/')?;
    let queue = queue.strip_suffix('/').unwrap_or(queue);
    let is_account = account.len() == ACCOUNT_DIGITS && account.bytes().all(|byte| byte.is_ascii_digit());
    (is_account && !queue.is_empty() && !queue.contains('/')).then_some((account, queue))
}

fn is_form(head: &Parts) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    head.method == Method::POST && kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM))
}

fn has_action(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "Action")
}

#[cfg(test)]
mod tests;
