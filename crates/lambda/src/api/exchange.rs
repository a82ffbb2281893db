//! Whose turn it is, between one environment's runtime and its host.
//!
//! ```text
//! Starting --next--> Idle --offer--> Offered --next--> Running --response/error--> Idle
//!     |                                                    |
//!     +-- init/error --> Failed                            +-- the process ends --> Ended
//! ```
//!
//! Invariants: at most one invocation at a time; an event is given to the runtime at most once; a response counts only for the
//! invocation that runs. An event that was offered and never fetched can be given to another environment safely.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::RuntimeError;

/// An event on its way to the runtime.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub request_id: String,
    pub deadline_ms: i64,
    pub arn: String,
    pub trace: String,
    pub client_context: Option<Bytes>,
    pub payload: Bytes,
}

/// What the runtime said of an invocation.
#[derive(Debug)]
pub(crate) enum Reported {
    Response(Bytes),
    Error(RuntimeError),
    TooLarge,
}

/// How far the runtime has come up.
#[derive(Debug, Clone)]
pub(crate) enum Init {
    Starting,
    Ready,
    Failed(RuntimeError),
}

/// What `next` has for the runtime.
#[derive(Debug)]
pub(crate) enum Next {
    Work(Box<Work>),
    Wait(oneshot::Receiver<Work>),
}

/// A call that does not fit the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateError {
    /// Not now.
    InvalidTransition,
    /// Not the invocation that runs.
    InvalidRequest,
}

/// The state, shared by the host and the API's connections.
#[derive(Debug)]
pub(crate) struct Exchange {
    state: Mutex<State>,
    init: watch::Sender<Init>,
}

#[derive(Debug)]
struct State {
    turn: Turn,
    /// A `next` that waits. A later one takes its place: its connection may have died unnoticed.
    poll: Option<oneshot::Sender<Work>>,
}

#[derive(Debug)]
enum Turn {
    Idle,
    Offered(Work, oneshot::Sender<Reported>),
    Running(String, oneshot::Sender<Reported>),
    /// With whether the runtime had fetched the event that it was at, if any.
    Ended(bool),
}

impl Exchange {
    pub fn new() -> Self {
        Self { state: Mutex::new(State { turn: Turn::Idle, poll: None }), init: watch::Sender::new(Init::Starting) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a watch of the coming up.
    pub fn init(&self) -> watch::Receiver<Init> {
        self.init.subscribe()
    }

    /// Hands an event over. The receiver ends without a value if the environment does.
    pub fn offer(&self, work: Work) -> oneshot::Receiver<Reported> {
        let (done, reported) = oneshot::channel();
        let mut state = self.state();
        if !matches!(state.turn, Turn::Idle) {
            // Ended: `done` is dropped, and the caller finds out. Any other turn would be two invocations at once, which
            // the pool rules out by giving an environment to one invocation at a time.
            return reported;
        }
        state.turn = match state.poll.take() {
            None => Turn::Offered(work, done),
            Some(poll) => {
                let id = work.request_id.clone();
                match poll.send(work) {
                    Ok(()) => Turn::Running(id, done),
                    // The one who waited went away.
                    Err(work) => Turn::Offered(work, done),
                }
            }
        };
        reported
    }

    /// The runtime asks for its next event.
    pub fn next(&self) -> Result<Next, StateError> {
        let mut state = self.state();
        match std::mem::replace(&mut state.turn, Turn::Idle) {
            Turn::Idle => {
                let (poll, wait) = oneshot::channel();
                state.poll = Some(poll);
                drop(state);
                self.init.send_if_modified(|init| {
                    let starting = matches!(init, Init::Starting);
                    if starting {
                        *init = Init::Ready;
                    }
                    starting
                });
                Ok(Next::Wait(wait))
            }
            Turn::Offered(work, done) => {
                state.turn = Turn::Running(work.request_id.clone(), done);
                Ok(Next::Work(Box::new(work)))
            }
            turn @ (Turn::Running(..) | Turn::Ended(_)) => {
                state.turn = turn;
                Err(StateError::InvalidTransition)
            }
        }
    }

    /// Tells whether `id` is the invocation that runs, before its body is read.
    pub fn expects(&self, id: &str) -> Result<(), StateError> {
        match &self.state().turn {
            Turn::Running(running, _) if running == id => Ok(()),
            _ => Err(StateError::InvalidRequest),
        }
    }

    /// The runtime has answered.
    pub fn report(&self, id: &str, reported: Reported) -> Result<(), StateError> {
        let mut state = self.state();
        match std::mem::replace(&mut state.turn, Turn::Idle) {
            Turn::Running(running, done) if running == id => {
                // A host that does not wait any more has given the invocation up.
                let _ = done.send(reported);
                Ok(())
            }
            turn => {
                state.turn = turn;
                Err(StateError::InvalidRequest)
            }
        }
    }

    /// The runtime could not come up.
    pub fn init_error(&self, error: RuntimeError) -> Result<(), StateError> {
        let mut error = Some(error);
        self.init.send_if_modified(|init| match init {
            Init::Starting => {
                *init = error.take().map_or(Init::Starting, Init::Failed);
                true
            }
            _ => false,
        });
        if error.is_none() { Ok(()) } else { Err(StateError::InvalidTransition) }
    }

    /// The environment has ended: whoever waits for a report learns it.
    pub fn end(&self) {
        let mut state = self.state();
        state.poll = None;
        let taken = match &state.turn {
            Turn::Running(..) => true,
            Turn::Idle | Turn::Offered(..) => false,
            Turn::Ended(taken) => *taken,
        };
        state.turn = Turn::Ended(taken);
    }

    /// Tells whether the environment has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.state().turn, Turn::Ended(_))
    }

    /// Tells, after the end, whether the runtime had fetched the event that it was given last. If not, the event can go to
    /// another environment.
    pub fn was_taken(&self) -> bool {
        !matches!(self.state().turn, Turn::Ended(false))
    }
}
