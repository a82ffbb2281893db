//! The queue in front of the writer, bounded in bytes.
//!
//! ```text
//! appenders --submit--> [ waiting | being written ] --done--> their answers
//!                          \____ counted together ____/
//! ```
//!
//! Invariant: what waits and what is being written never exceed the bound together, but for one append into an empty queue and
//! a reserve for requests that carry no records. A full queue refuses at once; it never makes a caller wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use weir_types::{LogName, SequenceNumber};

use super::format::LogId;
use crate::{AppendError, Condition, TrimError};

/// What requests without records may take beyond the bound: a full queue must not keep a trim from making space.
const CONTROL_BYTES: u64 = 1 << 20;

/// A block, checked and summed.
#[derive(Debug)]
pub(crate) struct SummedBlock {
    pub records: u32,
    pub payload: Bytes,
    pub crc: u32,
}

/// What a caller wants.
#[derive(Debug)]
pub(crate) enum Request {
    Append {
        log: LogId,
        blocks: Vec<SummedBlock>,
        condition: Condition,
        done: oneshot::Sender<Result<SequenceNumber, AppendError>>,
    },
    Trim {
        log: LogId,
        to: SequenceNumber,
        done: oneshot::Sender<Result<(), TrimError>>,
    },
    Create {
        name: LogName,
        done: oneshot::Sender<Result<LogId, CreateRefusal>>,
    },
}

/// Why a log was not made.
#[derive(Debug)]
pub(crate) enum CreateRefusal {
    /// There are too many.
    TooMany,
    /// It could not be written.
    Append(AppendError),
}

/// Why nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The bound; so many bytes are queued.
    Full(u64),
    /// The engine takes nothing more.
    Closed,
}

impl Refusal {
    pub(crate) fn for_log(self, log: &LogName) -> AppendError {
        match self {
            Self::Full(queued) => AppendError::Busy { log: log.clone(), queued },
            Self::Closed => AppendError::Closed,
        }
    }
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<(Request, u64)>,
    bytes: u64,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    bytes_max: u64,
}

/// Requests that are written together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub requests: Vec<Request>,
    pub bytes: u64,
}

impl Queue {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let state = State { waiting: VecDeque::new(), bytes: 0, closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), bytes_max }
    }

    /// Takes a request that will take `bytes` on disk.
    pub(crate) fn submit(&self, request: Request, bytes: u64) -> Result<(), Refusal> {
        let mut state = self.state();
        if state.closed {
            return Err(Refusal::Closed);
        }
        let bytes_max = match request {
            Request::Append { .. } => self.bytes_max,
            _ => self.bytes_max + CONTROL_BYTES,
        };
        if state.bytes > 0 && state.bytes + bytes > bytes_max {
            return Err(Refusal::Full(state.bytes));
        }
        state.bytes += bytes;
        state.waiting.push_back((request, bytes));
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for requests, and takes those that are there, up to `bytes_max` but at least one. `None` once the queue is closed
    /// and empty.
    pub(crate) fn take(&self, bytes_max: u64) -> Option<Batch> {
        let mut state = self.state();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut batch = Batch::default();
        while let Some((request, bytes)) =
            state.waiting.pop_front_if(|(_, bytes)| batch.requests.is_empty() || batch.bytes + *bytes <= bytes_max)
        {
            batch.bytes += bytes;
            batch.requests.push(request);
        }
        Some(batch)
    }

    /// Gives back the room of a batch that has been answered.
    pub(crate) fn release(&self, bytes: u64) {
        self.state().bytes -= bytes;
    }

    /// Returns whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().waiting.is_empty()
    }

    /// Takes nothing more. What waits is still to be written.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }

    /// Takes nothing more, and drops what waits: its callers learn that the engine is closed.
    pub(crate) fn abandon(&self) {
        self.close();
        let dropped: Vec<_> = self.state().waiting.drain(..).collect();
        drop(dropped);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
