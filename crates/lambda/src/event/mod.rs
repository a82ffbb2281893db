//! What a handler is given and what it gives back, in AWS's own words.
//!
//! ```text
//! records, messages, objects, times, requests --> event JSON --> handler --> response JSON
//!                                                                              |
//!                                    failed items, records for outputs, an HTTP response
//! ```
//!
//! Pure functions: no I/O, no clock, no state. Events are written as a stream of bytes and never built as a tree;
//! records in a response stay the handler's own bytes. Invariants: whatever strings go in, valid JSON comes out; and
//! a response that can't be understood is an error or a failure of the whole batch, never a success.
//!
//! The functions bound what they read ([`RESPONSE_BYTES_MAX`], [`OUTPUT_RECORDS_MAX`]). What they write is as large
//! as what they are given: callers cut batches with [`KinesisRecord::event_bytes`] and [`SqsMessage::event_bytes`].
//!
//! ```
//! use weir_lambda::event::{KinesisRecord, Service, arn, batch_response, kinesis};
//! use weir_types::Timestamp;
//!
//! let record = KinesisRecord {
//!     shard: "shardId-000000000000",
//!     sequence: 7,
//!     partition_key: "a",
//!     arrived_at: Timestamp(1_545_084_650_987),
//!     data: b"{}",
//! };
//! let event = kinesis([record], &arn(Service::Kinesis, "flights"), "score");
//! assert!(event.starts_with(br#"{"Records":[{"kinesis":"#));
//!
//! let outcome = batch_response(br#"{"batchItemFailures":[{"itemIdentifier":"7"}]}"#, &["7"], &[]).unwrap();
//! assert_eq!(outcome.failures.first(), Some(0));
//! ```

mod api;
mod api_response;
mod arn;
mod batch;
mod json;
mod kinesis;
mod not_json;
mod s3;
mod schedule;
mod sqs;

pub use api::{ApiForm, ApiRequest, api};
pub use api_response::{ApiResponse, ApiResponseError, api_response};
pub use arn::{ACCOUNT, REGION, Service, arn};
pub use batch::{BatchOutcome, BatchResponseError, Failures, OUTPUT_RECORDS_MAX, WholeBatch, batch_response};
pub use kinesis::{KinesisRecord, kinesis};
pub use not_json::NotJson;
pub use s3::{S3Object, s3};
pub use schedule::{Scheduled, schedule, schedule_input};
pub use sqs::{SqsAttribute, SqsMessage, SqsValue, sqs};

/// What a handler may answer, in bytes: Lambda's limit of 6 MiB and 100 bytes.
pub const RESPONSE_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;
