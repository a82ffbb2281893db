//! What a client is told when something fails: SQS's own codes, in both of their spellings.
//!
//! The query protocol has codes such as `AWS.SimpleQueueService.NonExistentQueue`; the JSON protocol names a shape, such as
//! `com.amazonaws.sqs#QueueDoesNotExist`, and repeats the old code in the header `x-amzn-query-error`, which is what boto3
//! shows. A new code does not compile until its two names, its status and its fault are decided.

use std::fmt;

use axum::http::StatusCode;

/// Every way in which an action can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The signature, or the lack of one, was refused.
    AccessDenied,
    /// Two entries of a batch have one id.
    BatchEntryIdsNotDistinct,
    /// The messages of a batch are together too large.
    BatchRequestTooLong,
    /// A batch without entries.
    EmptyBatchRequest,
    /// A defect, or the operating system refused.
    InternalError,
    /// There is no such action.
    InvalidAction,
    /// A queue's URL that is none.
    InvalidAddress,
    /// A queue's attribute that does not exist, or has no effect here.
    InvalidAttributeName,
    /// A queue's attribute whose value is wrong.
    InvalidAttributeValue,
    /// A batch entry's id breaks the rule.
    InvalidBatchEntryId,
    /// A body has characters that XML has not.
    InvalidMessageContents,
    /// A parameter's value is wrong.
    InvalidParameterValue,
    /// The request can't be read.
    MalformedInput,
    /// The receipt's message is not in flight.
    MessageNotInflight,
    /// A request without an action.
    MissingAction,
    /// A parameter is missing.
    MissingParameter,
    /// More than is allowed at once.
    OverLimit,
    /// A purge soon after another.
    PurgeQueueInProgress,
    /// The queue's name was freed a moment ago.
    QueueDeletedRecently,
    /// No such queue.
    QueueDoesNotExist,
    /// There is a queue of that name, with other attributes.
    QueueNameExists,
    /// A receipt handle that no receive gave out.
    ReceiptHandleIsInvalid,
    /// More than the server takes in at the moment.
    RequestThrottled,
    /// What a move task names is not there.
    ResourceNotFound,
    /// The server goes down, or was too slow.
    ServiceUnavailable,
    /// More entries than a batch may have.
    TooManyEntriesInBatchRequest,
    /// What SQS does and weir doesn't.
    UnsupportedOperation,
}

/// SQS's own namespace of shapes.
const SQS: &str = "com.amazonaws.sqs#";
/// The namespace of AWS's common errors.
const COMMON: &str = "com.amazon.coral.service#";

impl ErrorCode {
    /// Returns the query protocol's code, which the JSON protocol repeats in `x-amzn-query-error`.
    pub fn query(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::BatchEntryIdsNotDistinct => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            Self::BatchRequestTooLong => "AWS.SimpleQueueService.BatchRequestTooLong",
            Self::EmptyBatchRequest => "AWS.SimpleQueueService.EmptyBatchRequest",
            Self::InternalError => "InternalError",
            Self::InvalidAction => "InvalidAction",
            Self::InvalidAddress => "InvalidAddress",
            Self::InvalidAttributeName => "InvalidAttributeName",
            Self::InvalidAttributeValue => "InvalidAttributeValue",
            Self::InvalidBatchEntryId => "AWS.SimpleQueueService.InvalidBatchEntryId",
            Self::InvalidMessageContents => "InvalidMessageContents",
            Self::InvalidParameterValue => "InvalidParameterValue",
            Self::MalformedInput => "MalformedInput",
            Self::MessageNotInflight => "AWS.SimpleQueueService.MessageNotInflight",
            Self::MissingAction => "MissingAction",
            Self::MissingParameter => "MissingParameter",
            Self::OverLimit => "OverLimit",
            Self::PurgeQueueInProgress => "AWS.SimpleQueueService.PurgeQueueInProgress",
            Self::QueueDeletedRecently => "AWS.SimpleQueueService.QueueDeletedRecently",
            Self::QueueDoesNotExist => "AWS.SimpleQueueService.NonExistentQueue",
            Self::QueueNameExists => "QueueAlreadyExists",
            Self::ReceiptHandleIsInvalid => "ReceiptHandleIsInvalid",
            Self::RequestThrottled => "RequestThrottled",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::TooManyEntriesInBatchRequest => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            Self::UnsupportedOperation => "AWS.SimpleQueueService.UnsupportedOperation",
        }
    }

    /// Returns the JSON protocol's `__type`.
    pub fn shape(self) -> Shape {
        let (namespace, name) = match self {
            Self::AccessDenied => (COMMON, "AccessDeniedException"),
            Self::BatchEntryIdsNotDistinct => (SQS, "BatchEntryIdsNotDistinct"),
            Self::BatchRequestTooLong => (SQS, "BatchRequestTooLong"),
            Self::EmptyBatchRequest => (SQS, "EmptyBatchRequest"),
            Self::InternalError => (COMMON, "InternalFailure"),
            Self::InvalidAction => (COMMON, "UnknownOperationException"),
            Self::InvalidAddress => (SQS, "InvalidAddress"),
            Self::InvalidAttributeName => (SQS, "InvalidAttributeName"),
            Self::InvalidAttributeValue => (SQS, "InvalidAttributeValue"),
            Self::InvalidBatchEntryId => (SQS, "InvalidBatchEntryId"),
            Self::InvalidMessageContents => (SQS, "InvalidMessageContents"),
            Self::InvalidParameterValue => (COMMON, "InvalidParameterValueException"),
            Self::MalformedInput => (COMMON, "SerializationException"),
            Self::MessageNotInflight => (SQS, "MessageNotInflight"),
            Self::MissingAction => (COMMON, "UnknownOperationException"),
            Self::MissingParameter => (COMMON, "MissingRequiredParameterException"),
            Self::OverLimit => (SQS, "OverLimit"),
            Self::PurgeQueueInProgress => (SQS, "PurgeQueueInProgress"),
            Self::QueueDeletedRecently => (SQS, "QueueDeletedRecently"),
            Self::QueueDoesNotExist => (SQS, "QueueDoesNotExist"),
            Self::QueueNameExists => (SQS, "QueueNameExists"),
            Self::ReceiptHandleIsInvalid => (SQS, "ReceiptHandleIsInvalid"),
            Self::RequestThrottled => (SQS, "RequestThrottled"),
            Self::ResourceNotFound => (SQS, "ResourceNotFoundException"),
            Self::ServiceUnavailable => (COMMON, "ServiceUnavailableException"),
            Self::TooManyEntriesInBatchRequest => (SQS, "TooManyEntriesInBatchRequest"),
            Self::UnsupportedOperation => (SQS, "UnsupportedOperation"),
        };
        Shape { namespace, name }
    }

    /// Returns the HTTP status, the same in both protocols.
    pub fn status(self) -> StatusCode {
        match self {
            Self::AccessDenied | Self::OverLimit | Self::PurgeQueueInProgress | Self::RequestThrottled => {
                StatusCode::FORBIDDEN
            }
            Self::InvalidAddress | Self::ReceiptHandleIsInvalid | Self::ResourceNotFound => StatusCode::NOT_FOUND,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::BatchEntryIdsNotDistinct
            | Self::BatchRequestTooLong
            | Self::EmptyBatchRequest
            | Self::InvalidAction
            | Self::InvalidAttributeName
            | Self::InvalidAttributeValue
            | Self::InvalidBatchEntryId
            | Self::InvalidMessageContents
            | Self::InvalidParameterValue
            | Self::MalformedInput
            | Self::MessageNotInflight
            | Self::MissingAction
            | Self::MissingParameter
            | Self::QueueDeletedRecently
            | Self::QueueDoesNotExist
            | Self::QueueNameExists
            | Self::TooManyEntriesInBatchRequest
            | Self::UnsupportedOperation => StatusCode::BAD_REQUEST,
        }
    }

    /// Says whether the sender is at fault, and the same request will fail again.
    pub fn is_senders(self) -> bool {
        !self.status().is_server_error()
    }
}

/// The name of an error's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    namespace: &'static str,
    name: &'static str,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.namespace, self.name)
    }
}

/// A failed action, or a failed entry of a batch: the code, and the words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure.
    pub code: ErrorCode,
    /// AWS's words where they are known.
    pub message: String,
}

impl Failure {
    /// A failure in words of its own.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A parameter that the request must have and has not.
    pub fn missing(parameter: &str) -> Self {
        Self::new(ErrorCode::MissingParameter, format!("The request must contain the parameter {parameter}."))
    }

    /// A parameter whose value is wrong, and why.
    pub fn value(parameter: &str, value: impl fmt::Display, reason: &str) -> Self {
        Self::new(
            ErrorCode::InvalidParameterValue,
            format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"),
        )
    }

    /// A parameter that is wrong in a way that needs all of the words.
    pub fn parameter(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidParameterValue, message)
    }

    /// No such queue.
    pub fn no_queue() -> Self {
        Self::new(ErrorCode::QueueDoesNotExist, "The specified queue does not exist.")
    }

    /// What the server could not do, whose cause stands in the log and not in the answer.
    pub fn internal(what: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = vec![error.to_string()];
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        tracing::error!(what, error = causes.join(": "), "an SQS action failed");
        Self::new(ErrorCode::InternalError, format!("{what} failed. The server's log has the cause. Try again."))
    }
}
