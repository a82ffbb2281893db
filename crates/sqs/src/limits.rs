//! Limits of the wire API. Those of a queue and of a message are SQS's quotas, and come from where the queue is.

use std::time::Duration;

use weir_queue::limits;

/// Entries of a batch request, and messages of a receive.
pub const BATCH_ENTRIES_MAX: usize = limits::RECEIVE_MAX;
/// A batch entry's id, in bytes.
pub const ENTRY_ID_BYTES_MAX: usize = 80;
/// All messages of a batch request together, in bytes: bodies and attributes, as they are stored.
pub const BATCH_BYTES_MAX: usize = limits::MESSAGE_BYTES_MAX;
/// Attributes of one message.
pub const MESSAGE_ATTRIBUTES_MAX: usize = 10;
/// A message attribute's name, and its type, in bytes.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 256;
/// Significant digits of a message attribute of type `Number`.
pub const NUMBER_DIGITS_MAX: usize = 38;
/// A message group's id, a deduplication id and a receive's attempt id, in bytes.
pub const TOKEN_BYTES_MAX: usize = 128;
/// A message's delay, in seconds.
pub const DELAY_SECONDS_MAX: i64 = limits::DELAY_MAX.as_secs().cast_signed();
/// A receive's wait, in seconds.
pub const WAIT_SECONDS_MAX: i64 = limits::WAIT_MAX.as_secs().cast_signed();
/// A message's time out of sight, in seconds.
pub const VISIBILITY_SECONDS_MAX: i64 = limits::HIDDEN_MAX.as_secs().cast_signed();
/// A page of queues.
pub const PAGE_QUEUES_MAX: usize = 1000;
/// A page of move tasks.
pub const PAGE_MOVES_MAX: i64 = 10;
/// The fastest that a move task may be asked to go.
pub const MOVE_RATE_MAX: i64 = limits::MOVE_RATE_MAX as i64;
/// Tags of a queue.
pub const TAGS_MAX: usize = limits::TAGS_MAX;
/// A tag's key, in characters.
pub const TAG_KEY_CHARS_MAX: usize = 128;
/// A tag's value, in characters.
pub const TAG_VALUE_CHARS_MAX: usize = 256;
/// How long after a purge the next one is refused.
pub const PURGE_PAUSE: Duration = Duration::from_secs(60);
/// Pairs of a form. The largest real one, a batch of 10 messages of 10 attributes, has some 400.
pub const FORM_PAIRS_MAX: usize = 2000;
/// Parts of a form's parameter, such as the six of `SendMessageBatchRequestEntry.1.MessageAttribute.2.Value.StringValue`.
pub const FORM_DEPTH_MAX: usize = 8;
/// Items of a list in a request, beyond which nothing reads it.
pub const LIST_ITEMS_MAX: usize = 1000;
/// How long an action may take beyond the wait that it was asked for.
pub const ACTION_TIMEOUT: Duration = Duration::from_secs(60);
