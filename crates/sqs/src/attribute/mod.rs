//! A queue's attributes: the words in which SQS's clients read and change its settings.
//!
//! Invariant: an attribute is taken if it has the effect that SQS gives it here as well, and refused if not; its off value is
//! taken where that is what weir does. Nothing is stored that has no effect.

mod read;
mod redrive;
mod show;

pub use read::{apply, check_kind, unknown};
pub use show::{show, stored};

/// Attributes that can be asked for. Those of what weir doesn't do are known, and have no value.
pub const NAMES: [&str; 21] = [
    "Policy",
    "VisibilityTimeout",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
    "ApproximateNumberOfMessagesDelayed",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "RedrivePolicy",
    "FifoQueue",
    "ContentBasedDeduplication",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "DeduplicationScope",
    "FifoThroughputLimit",
    "RedriveAllowPolicy",
    "SqsManagedSseEnabled",
];
