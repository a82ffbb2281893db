//! Names of things as AWS writes them. One region and one account stand in all of them.

/// The region that every event names.
pub const REGION: &str = "us-east-1";

/// The account that every event names.
pub const ACCOUNT: &str = "000000000000";

/// The kind of thing that an ARN names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A stream.
    Kinesis,
    /// A queue.
    Sqs,
    /// A function.
    Lambda,
    /// A schedule, as EventBridge's rule.
    Events,
    /// A bucket, or the root that a file trigger watches.
    S3,
    /// The role that a function runs as.
    Iam,
}

/// Returns the ARN of the thing `name`.
///
/// ```
/// use weir_lambda::event::{Service, arn};
///
/// assert_eq!(arn(Service::Kinesis, "flights"), "arn:aws:kinesis:us-east-1:000000000000:stream/flights");
/// assert_eq!(arn(Service::Sqs, "orders.fifo"), "arn:aws:sqs:us-east-1:000000000000:orders.fifo");
/// ```
pub fn arn(service: Service, name: &str) -> String {
    match service {
        Service::Kinesis => format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"),
        Service::Sqs => format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"),
        Service::Lambda => format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"),
        Service::Events => format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"),
        // Buckets are named across regions and accounts, roles across regions.
        Service::S3 => format!("arn:aws:s3:::{name}"),
        Service::Iam => format!("arn:aws:iam::{ACCOUNT}:role/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_forms_of_their_services() {
        assert_eq!(arn(Service::Lambda, "score"), "arn:aws:lambda:us-east-1:000000000000:function:score");
        assert_eq!(arn(Service::Events, "nightly"), "arn:aws:events:us-east-1:000000000000:rule/nightly");
        assert_eq!(arn(Service::S3, "inbox"), "arn:aws:s3:::inbox");
        assert_eq!(arn(Service::Iam, "score"), "arn:aws:iam::000000000000:role/score");
    }
}
