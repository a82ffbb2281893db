//! What a queue's owner is asked.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::error::{QueueError, ReceiptError, ReceiveError, SendError};
use crate::id::{MessageId, ReceiptHandle};
use crate::message::{SentOnce, Stamp};
use crate::snapshot::{Cursor, Globals, Part};
use crate::turn::{Outgoing, Taken};

/// Where an answer goes. Nobody may be there any more.
pub(crate) type Answer<T, E = QueueError> = oneshot::Sender<Result<T, E>>;

/// Leases on their way to a receiver: if that is gone, they are returned at once.
#[derive(Debug)]
pub(crate) struct Leases {
    pub taken: Vec<Taken>,
    back: Option<mpsc::UnboundedSender<Vec<(u64, u32)>>>,
}

impl Leases {
    pub(crate) fn new(taken: Vec<Taken>, back: &mpsc::UnboundedSender<Vec<(u64, u32)>>) -> Self {
        let back = (!taken.is_empty()).then(|| back.clone());
        Self { taken, back }
    }

    /// Leases that somebody may have already.
    pub(crate) fn again(taken: Vec<Taken>) -> Self {
        Self { taken, back: None }
    }

    /// The receiver has them.
    pub(crate) fn keep(mut self) {
        self.back = None;
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            // Bounded by the messages that may be in flight. If the owner is gone, the leases expire.
            let _ = back.send(self.taken.iter().map(|taken| (taken.number, taken.receives)).collect());
        }
    }
}

/// A receive that waits for its turn, or for a message.
#[derive(Debug)]
pub(crate) struct Ask {
    pub max: usize,
    pub hidden_for: Duration,
    pub attempt: Option<String>,
    /// Whether it waits if there is nothing.
    pub waits: bool,
    pub answer: Answer<Leases, ReceiveError>,
}

/// Which given-up messages are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// Those for the table.
    Exhausted,
    /// Those for another queue; waits for the first.
    Dead,
    /// Those of moves; does not wait.
    Moving,
}

#[derive(Debug)]
pub(crate) enum Call {
    Send {
        stamp: Option<Stamp>,
        messages: Vec<Outgoing>,
        answer: Answer<SentOnce, SendError>,
    },
    Receive(Ask),
    Delete {
        receipts: Vec<ReceiptHandle>,
        answer: Answer<Vec<Result<(), ReceiptError>>>,
    },
    Hide {
        changes: Vec<(ReceiptHandle, Duration)>,
        answer: Answer<Vec<Result<(), ReceiptError>>>,
    },
    Settle {
        ids: Vec<MessageId>,
        answer: Answer<()>,
    },
    Purge {
        answer: Answer<()>,
    },
    /// Ends all leases at once.
    TakeBack {
        answer: Answer<()>,
    },
    GivenUp {
        which: GivenUp,
        max: usize,
        answer: Answer<Vec<Taken>>,
    },
    TakeForMove {
        numbers: Vec<u64>,
        answer: Answer<Vec<Taken>>,
    },
    Forget {
        transfers: Vec<u64>,
        answer: Answer<()>,
    },
    /// Those of these messages that lie at these places now, or anywhere.
    AtPlaces {
        places: Vec<(u64, u64)>,
        anywhere: bool,
        answer: Answer<Vec<Found>>,
    },
    /// Where messages lie now; those that are gone are passed over.
    Locate {
        numbers: Vec<u64>,
        answer: Answer<Vec<Taken>>,
    },
    /// Up to `max` messages that lie below a place: number and place.
    Placed {
        from: u64,
        to: u64,
        max: usize,
        answer: Answer<Vec<(u64, u64)>>,
    },
    /// Copies of records, to be stored where the messages are still there: number, place, record.
    Carry {
        records: Vec<(u64, u64, Bytes)>,
        answer: Answer<()>,
    },
    /// Makes what else would be lost below a place last longer.
    Refresh {
        below: u64,
        answer: Answer<()>,
    },
    Sweep {
        from: u32,
        count: u32,
        answer: Answer<Option<u32>>,
    },
    Space {
        answer: Answer<Space>,
    },
    Globals {
        answer: Answer<(Globals, Cursor)>,
    },
    Part {
        cursor: Cursor,
        answer: Answer<(Part, Option<Cursor>)>,
    },
    /// The settings have changed.
    Wake,
    Close {
        answer: oneshot::Sender<()>,
    },
}

/// A message that lies at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub taken: Taken,
    pub is_ready: bool,
}

/// What a queue's log is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub tail: u64,
    /// Before this place nothing is alive.
    pub first_place: u64,
    /// Bytes of live messages.
    pub bytes: u64,
}
