//! Queues' addresses: URLs, which clients send back, and ARNs, which policies name queues by.
//!
//! ```text
//! http://HOST/000000000000/orders                  made with the Host that the client used; read with any
//! arn:aws:sqs:us-east-1:000000000000:orders
//! ```
//!
//! Invariant: weir's own queues, whose names begin with an underscore, have no address. To this API they aren't there.

use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use weir_types::QueueName;

use crate::error::{ErrorCode, Failure};
use crate::wire::queue_path;

/// What stands where no Host was sent.
const NO_HOST: &str = "localhost";

/// How queues of this server are addressed.
#[derive(Debug, Clone)]
pub struct Address {
    /// Twelve digits.
    pub account: String,
    /// Such as `us-east-1`.
    pub region: String,
}

/// Returns `scheme://host` as the client sees this server.
pub fn base(head: &Parts) -> String {
    let text = |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let forwarded = text(head.headers.get("x-forwarded-proto")).filter(|scheme| scheme == "https" || scheme == "http");
    let scheme = forwarded.as_deref().or(head.uri.scheme_str()).unwrap_or("http");
    // HTTP/2 has the authority in place of the header.
    let host = head.uri.authority().map(ToString::to_string).or_else(|| text(head.headers.get(header::HOST)));
    format!("{scheme}://{}", host.as_deref().unwrap_or(NO_HOST))
}

impl Address {
    /// Returns a queue's URL.
    pub fn url(&self, base: &str, queue: &QueueName) -> String {
        format!("{base}/{}/{queue}", self.account)
    }

    /// Returns a queue's ARN.
    pub fn arn(&self, queue: &QueueName) -> String {
        format!("arn:aws:sqs:{}:{}:{queue}", self.region, self.account)
    }

    /// Reads a queue's URL, whatever host it names.
    ///
    /// # Errors
    /// `InvalidAddress` if it is no queue's URL, `QueueDoesNotExist` if the account or the name can't be one of here.
    pub fn queue_of_url(&self, url: &str) -> Result<QueueName, Failure> {
        let invalid =
            || Failure::new(ErrorCode::InvalidAddress, format!("The address {url} is not valid for this endpoint."));
        let path = match url.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/').ok_or_else(invalid)?..],
            None => url,
        };
        let (account, queue) = queue_path(path).ok_or_else(invalid)?;
        if account != self.account {
            return Err(Failure::no_queue());
        }
        queue.parse().ok().filter(|queue: &QueueName| !queue.is_internal()).ok_or_else(Failure::no_queue)
    }

    /// Reads a queue's ARN. `None` if it is not one of this account and region.
    pub fn queue_of_arn(&self, arn: &str) -> Option<QueueName> {
        let name = arn.strip_prefix("arn:aws:sqs:")?.strip_prefix(&self.region)?.strip_prefix(':')?;
        let name = name.strip_prefix(&self.account)?.strip_prefix(':')?;
        name.parse().ok().filter(|queue: &QueueName| !queue.is_internal())
    }
}

/// Reads the name of a queue that a user makes or looks for.
///
/// # Errors
/// `InvalidParameterValue` with SQS's rule.
pub fn queue_name(text: &str) -> Result<QueueName, Failure> {
    text.parse().ok().filter(|queue: &QueueName| !queue.is_internal()).ok_or_else(|| {
        Failure::parameter(match text.starts_with('_') {
            true => "Names that begin with an underscore are weir's own.",
            false => "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address { account: "000000000000".into(), region: "us-east-1".into() }
    }

    #[test]
    fn urls_are_read_whatever_their_host() {
        for url in ["http://localhost:9324/000000000000/q", "https://sqs.example/000000000000/q", "/000000000000/q"] {
            assert_eq!(address().queue_of_url(url).unwrap().as_str(), "q", "{url}");
        }
        let code = |url: &str| address().queue_of_url(url).unwrap_err().code;
        assert_eq!(code("http://localhost"), ErrorCode::InvalidAddress);
        assert_eq!(code("q"), ErrorCode::InvalidAddress);
        assert_eq!(code("http://localhost/000000000000/q/r"), ErrorCode::InvalidAddress);
        assert_eq!(code("http://localhost/111111111111/q"), ErrorCode::QueueDoesNotExist);
        assert_eq!(code("http://localhost/000000000000/_function-f"), ErrorCode::QueueDoesNotExist);
    }

    #[test]
    fn arns_are_of_one_account_and_region() {
        let queue: QueueName = "orders.fifo".parse().unwrap();
        let arn = address().arn(&queue);
        assert_eq!(arn, "arn:aws:sqs:us-east-1:000000000000:orders.fifo");
        assert_eq!(address().queue_of_arn(&arn), Some(queue));
        for other in ["dummy", "arn:aws:sqs:eu-west-1:000000000000:q", "arn:aws:sqs:us-east-1:000000000000:_own"] {
            assert_eq!(address().queue_of_arn(other), None, "{other}");
        }
    }
}
