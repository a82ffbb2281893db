//! Invoking a function directly: now, with its answer, or later, by its own queue.

use bytes::Bytes;
use tokio::sync::oneshot;
use weir_config::{Body, On};
use weir_lambda::{Answer, DeployError, Handler, Invocation, InvokeError};
use weir_queue::{Message, MessageId, SendError};
use weir_types::FunctionName;

use super::handler::Unfit;
use super::open::{EVENTS, spec};
use super::outbox::{Finished, Progress};
use super::{OpenFunction, apis};
use crate::node::Node;

/// What came of an invocation.
#[derive(Debug)]
pub struct Invoked {
    /// The handler's answer.
    pub answer: Answer,
    /// Records that it made, and that are durable now.
    pub made: usize,
}

/// Why a function was not invoked, or has no answer.
#[derive(Debug, thiserror::Error)]
pub enum InvokeFailed {
    /// There is no such function.
    #[error("there is no function `{0}`")]
    NoFunction(FunctionName),
    /// It is SQL.
    #[error("function `{0}` is SQL, which runs on streams: it can't be invoked")]
    NoHandler(FunctionName),
    /// The event was not taken.
    #[error("keep an event of function `{function}`")]
    Send {
        /// The function.
        function: FunctionName,
        /// The cause.
        #[source]
        source: SendError,
    },
    /// It ran and failed, or could not run.
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    /// It has targets, and returned nothing that could be records.
    #[error("function `{function}` returned no records for its targets: {reason}")]
    NoRecords {
        /// The function.
        function: FunctionName,
        /// Why, in words.
        reason: String,
        /// What it returned.
        answer: Box<Answer>,
    },
    /// What it returned are not records that its targets take.
    #[error("what function `{function}` returned can't go to its targets: {reason}")]
    Output {
        /// The function.
        function: FunctionName,
        /// Why, in words.
        reason: String,
    },
}

/// Why a function's code was not deployed again.
#[derive(Debug, thiserror::Error)]
pub enum DeployFailed {
    /// There is no such function, or it is SQL.
    #[error(transparent)]
    Invoke(#[from] InvokeFailed),
    /// Its code can't be used; what ran before goes on.
    #[error("deploy function `{function}`")]
    Deploy {
        /// The function.
        function: FunctionName,
        /// The cause.
        #[source]
        source: DeployError,
    },
}

impl Node {
    /// Reads a handler's code again, and makes it live if it is new: invocations that run end on the old, the next ones use the
    /// new. Returns the live version. What the configuration says of the function is as it was at start.
    ///
    /// # Errors
    /// See [`DeployFailed`].
    pub async fn deploy(&self, name: &FunctionName) -> Result<u64, DeployFailed> {
        let function = self.handler_function(name)?;
        let (Body::Handler(plan), Some(host)) = (&function.plan.body, self.host()) else {
            return Err(InvokeFailed::NoHandler(name.clone()).into());
        };
        let spec = apis::callable(spec(name, plan), &function.plan.apis, host);
        let deployed = host.deploy(spec, self.versions()).await;
        let handler = deployed.map_err(|source| DeployFailed::Deploy { function: name.clone(), source })?;
        let live = handler.versions().into_iter().find(|version| version.live);
        Ok(live.map_or(0, |version| version.number))
    }

    /// Invokes a handler and returns its answer.
    ///
    /// Of a function that is on nothing else, the records that it returns go to its targets, and are durable when this
    /// returns. Of one that is on a stream, a queue, a schedule or files, they do not: this is a trial.
    ///
    /// # Errors
    /// See [`InvokeFailed`].
    pub async fn invoke(&self, name: &FunctionName, invocation: Invocation) -> Result<Invoked, InvokeFailed> {
        let function = self.handler_function(name)?;
        let handler = handler_of(function)?;
        let answer = handler.invoke(invocation).await?;
        let step = function.step.as_ref().filter(|step| function.plan.on == On::Invocation && !step.outputs.is_empty());
        let Some(step) = step else { return Ok(Invoked { answer, made: 0 }) };
        let made = match step.made_of(&answer.payload) {
            Ok(made) => made,
            Err(error) => {
                let (function, reason, answer) = (name.clone(), error.to_string(), Box::new(answer));
                return Err(match error {
                    Unfit::NoRecords(_) => InvokeFailed::NoRecords { function, reason, answer },
                    Unfit::Refused(_) => InvokeFailed::Output { function, reason },
                });
            }
        };
        let count = made.len();
        if count > 0 {
            let closed = || InvokeFailed::Invoke(InvokeError::Closed { function: name.clone() });
            let outbox = function.outbox(EVENTS).ok_or_else(closed)?;
            let (done, told) = oneshot::channel();
            let (progress, letters, counts) = (Progress::Nothing, Vec::new(), Vec::new());
            outbox.store(Finished { progress, made, letters, counts, done: Some(done) }).await;
            told.await.map_err(|_| closed())?;
        }
        Ok(Invoked { answer, made: count })
    }

    /// Keeps an event for a handler, which is invoked with it as soon as it may, and again if it fails.
    ///
    /// # Errors
    /// See [`InvokeFailed`].
    pub async fn invoke_later(&self, name: &FunctionName, event: Bytes) -> Result<MessageId, InvokeFailed> {
        let function = self.handler_function(name)?;
        let events = function.events.as_ref().ok_or_else(|| InvokeFailed::NoHandler(name.clone()))?;
        let sent = events.send(vec![Message::new(event)]).await;
        let sent = sent.map_err(|source| InvokeFailed::Send { function: name.clone(), source })?;
        let closed = || InvokeFailed::Invoke(InvokeError::Closed { function: name.clone() });
        Ok(sent.first().ok_or_else(closed)?.id)
    }

    /// Returns a function's handler: its versions, aliases and logs.
    ///
    /// # Errors
    /// See [`InvokeFailed`].
    pub fn handler(&self, name: &FunctionName) -> Result<&Handler, InvokeFailed> {
        handler_of(self.handler_function(name)?)
    }

    fn handler_function(&self, name: &FunctionName) -> Result<&OpenFunction, InvokeFailed> {
        match self.functions().get(name) {
            Some(function) => Ok(function),
            None if self.plans().contains_key(name) => Err(InvokeFailed::NoHandler(name.clone())),
            None => Err(InvokeFailed::NoFunction(name.clone())),
        }
    }
}

fn handler_of(function: &OpenFunction) -> Result<&Handler, InvokeFailed> {
    function.handler.as_deref().ok_or_else(|| InvokeFailed::NoHandler(function.plan.name.clone()))
}
