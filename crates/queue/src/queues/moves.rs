//! Moves of messages from one queue to others, as they are remembered and as they are shown.

use serde::{Deserialize, Serialize};
use weir_types::{QueueName, SequenceNumber, Timestamp};

use crate::id::MoveId;

/// Which messages of a queue are moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveFilter {
    /// Those whose body has this text.
    pub body_contains: Option<String>,
    /// Those of this group.
    pub group: Option<String>,
    /// Those sent at this time or later.
    pub since: Option<Timestamp>,
    /// Those sent before this time.
    pub until: Option<Timestamp>,
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveStatus {
    /// It is under way.
    Running,
    /// All that were there are moved.
    Completed,
    /// Somebody has asked for its end.
    Cancelling,
    /// Somebody has ended it.
    Cancelled,
    /// It can't go on.
    Failed,
}

/// A move of messages from one queue to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Its id.
    pub id: MoveId,
    /// Where from.
    pub source: QueueName,
    /// Where to; none: each message to the queue that gave it up.
    pub to: Option<QueueName>,
    /// Messages a second at most.
    pub rate_per_second: Option<u32>,
    /// Which messages; none: all.
    pub filter: Option<MoveFilter>,
    /// How far it is.
    pub status: MoveStatus,
    /// Messages that were moved; after a crash it may be too low by those of its last second.
    pub moved: u64,
    /// Messages that could be received from the source when it began, whatever the filter says.
    pub to_move: u64,
    /// When it began.
    pub started_at: Timestamp,
    /// Why it can't go on.
    pub failure: Option<String>,
}

/// What a move is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MoveTarget {
    pub(crate) source: QueueName,
    pub(crate) to: Option<QueueName>,
    pub(crate) rate_per_second: Option<u32>,
    pub(crate) filter: Option<MoveFilter>,
    /// Where the source ended when the move began. What is sent later stays: a message that fails again and comes back would
    /// go round for ever.
    pub(crate) below: SequenceNumber,
    pub(crate) to_move: u64,
}

/// What is known of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MoveEntry {
    pub(crate) target: MoveTarget,
    pub(crate) started_at: Timestamp,
    pub(crate) moved: u64,
    pub(crate) cancelling: bool,
    pub(crate) ended: Option<Ended>,
}

/// How a move ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    Completed,
    Cancelled,
    Failed(String),
}

impl MoveEntry {
    pub(crate) fn new(target: MoveTarget, started_at: Timestamp) -> Self {
        Self { target, started_at, moved: 0, cancelling: false, ended: None }
    }

    /// Returns the move as it is shown.
    pub(crate) fn shown(&self, number: u64, moved: u64) -> Move {
        let (status, failure) = match &self.ended {
            None if self.cancelling => (MoveStatus::Cancelling, None),
            None => (MoveStatus::Running, None),
            Some(Ended::Completed) => (MoveStatus::Completed, None),
            Some(Ended::Cancelled) => (MoveStatus::Cancelled, None),
            Some(Ended::Failed(reason)) => (MoveStatus::Failed, Some(reason.clone())),
        };
        let target = self.target.clone();
        Move {
            id: id(number),
            source: target.source,
            to: target.to,
            rate_per_second: target.rate_per_second,
            filter: target.filter,
            status,
            moved: moved.max(self.moved),
            to_move: target.to_move,
            started_at: self.started_at,
            failure,
        }
    }
}

/// What a move's id begins with.
const PREFIX: &str = "move-";

/// Returns the id of the move of a number.
pub(crate) fn id(number: u64) -> MoveId {
    MoveId(format!("{PREFIX}{number}"))
}

/// Returns the number of a move's id, if it is one.
pub(crate) fn number(id: &MoveId) -> Option<u64> {
    id.0.strip_prefix(PREFIX)?.parse().ok()
}
