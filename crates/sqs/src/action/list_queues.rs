//! `ListQueues`, and the paging that it shares with `ListDeadLetterSourceQueues`.
//!
//! Queues are listed by name; a page's token is the last name of it, so that a page is right whatever was made or deleted
//! since the one before.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use weir_queue::Queue;

use crate::action::Context;
use crate::error::Failure;
use crate::limits::PAGE_QUEUES_MAX;
use crate::wire::{Reply, Xml};

/// Asks for a page of queues.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListQueues {
    queue_name_prefix: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

/// A page of queues' URLs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueUrls {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Reply for QueueUrls {
    fn xml(&self, xml: &mut Xml) {
        for url in &self.queue_urls {
            xml.text("QueueUrl", url);
        }
        xml.optional("NextToken", self.next_token.as_deref());
    }
}

/// Lists queues by name, weir's own left out.
///
/// # Errors
/// `InvalidParameterValue` for a page's size or token.
pub async fn list_queues(context: &Context<'_>, request: ListQueues) -> Result<QueueUrls, Failure> {
    let page = Page::of(request.max_results, request.next_token.as_deref())?;
    let prefix = request.queue_name_prefix.unwrap_or_default();
    let (queue_urls, next_token) = page.cut(context, |queue| queue.name().as_str().starts_with(&prefix));
    Ok(QueueUrls { queue_urls, next_token })
}

/// Which part of a list is asked for.
#[derive(Debug)]
pub struct Page {
    max: usize,
    /// Without a page's size, SQS gives no token either.
    has_token: bool,
    after: Option<String>,
}

impl Page {
    /// Reads a request's page.
    ///
    /// # Errors
    /// `InvalidParameterValue`.
    pub fn of(max_results: Option<i64>, next_token: Option<&str>) -> Result<Self, Failure> {
        let invalid = || Failure::parameter("Invalid or expired next token.");
        let after = match next_token.filter(|token| !token.is_empty()) {
            Some(token) => {
                let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
                Some(String::from_utf8(bytes).map_err(|_| invalid())?)
            }
            None => None,
        };
        let max = match max_results {
            None => PAGE_QUEUES_MAX,
            Some(max) => {
                usize::try_from(max).ok().filter(|max| (1..=PAGE_QUEUES_MAX).contains(max)).ok_or_else(|| {
                    Failure::value(
                        "MaxResults",
                        max,
                        &format!("MaxResults must be an integer between 1 and {PAGE_QUEUES_MAX}."),
                    )
                })?
            }
        };
        Ok(Self { max, has_token: max_results.is_some(), after })
    }

    /// Cuts the page out of the queues that `fits` takes, and returns the next page's token if there is one.
    pub fn cut(&self, context: &Context<'_>, fits: impl Fn(&Queue) -> bool) -> (Vec<String>, Option<String>) {
        let queues = context.queues.list();
        let mut rest = queues.iter().filter(|queue| {
            let name = queue.name();
            !name.is_internal() && self.after.as_deref().is_none_or(|after| name.as_str() > after) && fits(queue)
        });
        let page: Vec<_> = rest.by_ref().take(self.max).collect();
        let last = page.last().filter(|_| self.has_token && rest.next().is_some());
        let token = last.map(|queue| URL_SAFE_NO_PAD.encode(queue.name().as_str()));
        (page.iter().map(|queue| context.url(queue)).collect(), token)
    }
}
