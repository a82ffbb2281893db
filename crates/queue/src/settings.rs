//! What a queue is: its times, limits and kind.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_types::QueueName;

use crate::limits::{
    DELAY_INTERNAL_MAX, HIDDEN_MAX, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN, RECEIVES_MAX, RETENTION_INTERNAL_MAX,
    RETENTION_MAX, RETENTION_MIN, WAIT_MAX,
};

/// A queue's settings. Times are whole seconds over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How long a received message is hidden, if the receiver says nothing else. Default: 30 s.
    pub visibility_timeout: Duration,
    /// How long a message is hidden after its send, if the sender says nothing else. Default: none.
    pub delay: Duration,
    /// How long a message is kept. Default: 4 days.
    pub retention: Duration,
    /// How long a receive waits, if the receiver says nothing else. Default: none.
    pub receive_wait: Duration,
    /// The largest message, attributes included, in bytes. Default: 1 MiB.
    pub message_bytes_max: usize,
    /// What makes it a FIFO queue. Default: a standard queue.
    pub fifo: Option<Fifo>,
    /// When a message is given up. Default: never.
    pub dead_letter: Option<DeadLetter>,
    /// Which queues may name this one as their dead-letter queue. Default: all.
    pub redrive_allow: RedriveAllow,
}

/// What a FIFO queue has of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fifo {
    /// Whether a message without a deduplication id gets one from its body.
    pub content_deduplication: bool,
    /// Within what repeats are recognised.
    pub deduplication_scope: DeduplicationScope,
    /// What SQS limits the throughput by. Kept and shown; weir has no such limit.
    pub throughput_limit: ThroughputLimit,
}

/// Within what repeats are recognised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeduplicationScope {
    /// The whole queue.
    #[default]
    Queue,
    /// Each message group.
    MessageGroup,
}

/// What SQS limits the throughput of a FIFO queue by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThroughputLimit {
    /// The queue.
    #[default]
    PerQueue,
    /// Each message group.
    PerMessageGroup,
}

/// When a message is given up, and where it goes then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Receives after which it is given up, once it would be visible again.
    pub max_receives: u32,
    /// Where to.
    pub to: DeadLetterTo,
}

/// Where messages go that are given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterTo {
    /// Another queue of the same kind.
    Queue(QueueName),
    /// Whoever asks for [`crate::Queue::exhausted`]: the node, which keeps them in its table of dead letters.
    Table,
}

/// Which queues may name a queue as their dead-letter queue, as SQS's `RedriveAllowPolicy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedriveAllow {
    /// All.
    #[default]
    All,
    /// None.
    None,
    /// These, ten at most.
    Queues(Vec<QueueName>),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility_timeout: Duration::from_secs(30),
            delay: Duration::ZERO,
            retention: Duration::from_secs(4 * 24 * 3600),
            receive_wait: Duration::ZERO,
            message_bytes_max: MESSAGE_BYTES_MAX,
            fifo: None,
            dead_letter: None,
            redrive_allow: RedriveAllow::All,
        }
    }
}

/// A setting outside of its limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` is {found}, and must be {must}")]
pub struct SettingsError {
    /// The setting's name.
    pub setting: &'static str,
    /// What was given.
    pub found: String,
    /// What is allowed.
    pub must: String,
}

impl Settings {
    /// Checks each setting against its limits, and the kind against the name.
    ///
    /// # Errors
    /// The first setting that is out of its limits.
    pub fn validate(&self, name: &QueueName) -> Result<(), SettingsError> {
        let refuse = |setting, found: String, must: String| Err(SettingsError { setting, found, must });
        let retention_max = if name.is_internal() { RETENTION_INTERNAL_MAX } else { RETENTION_MAX };
        let times = [
            ("visibility_timeout", self.visibility_timeout, Duration::ZERO, HIDDEN_MAX),
            ("delay", self.delay, Duration::ZERO, DELAY_INTERNAL_MAX),
            ("retention", self.retention, RETENTION_MIN, retention_max),
            ("receive_wait", self.receive_wait, Duration::ZERO, WAIT_MAX),
        ];
        for (setting, found, from, to) in times {
            if found < from || found > to {
                return refuse(setting, format!("{found:?}"), format!("{from:?} to {to:?}"));
            }
        }
        if !(MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX).contains(&self.message_bytes_max) {
            let must = format!("{MESSAGE_BYTES_MIN} to {MESSAGE_BYTES_MAX} bytes");
            return refuse("message_bytes_max", self.message_bytes_max.to_string(), must);
        }
        if self.fifo.is_some() != name.is_fifo() {
            let (found, must) = match self.fifo {
                Some(_) => ("true", "false for a name without `.fifo` at its end"),
                None => ("false", "true for a name with `.fifo` at its end"),
            };
            return refuse("fifo", found.to_owned(), must.to_owned());
        }
        if let Some(dead_letter) = &self.dead_letter {
            if dead_letter.max_receives == 0 || dead_letter.max_receives > RECEIVES_MAX {
                return refuse("max_receives", dead_letter.max_receives.to_string(), format!("1 to {RECEIVES_MAX}"));
            }
            if let DeadLetterTo::Queue(to) = &dead_letter.to
                && (to == name || to.is_fifo() != name.is_fifo())
            {
                return refuse("dead_letter", to.to_string(), "another queue of the same kind".to_owned());
            }
        }
        Ok(())
    }
}
