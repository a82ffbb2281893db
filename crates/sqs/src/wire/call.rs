//! A request, read as far as its action: which protocol, which action, and what its parameters are.

use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::action::Action;
use crate::error::{ErrorCode, Failure};
use crate::wire::{TARGET, TARGET_PREFIX, form, queue_path};

/// In which protocol a request came, and its answer must go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// AWS JSON 1.0.
    Json,
    /// The query protocol.
    Query,
}

impl Protocol {
    /// Tells the protocol from the head alone, so that even a request without a readable body is answered in its own.
    pub fn of(head: &Parts) -> Self {
        if head.headers.contains_key(TARGET) { Self::Json } else { Self::Query }
    }
}

/// An action and its parameters, not yet typed.
#[derive(Debug)]
pub struct Call {
    /// What is to be done.
    pub action: Action,
    parameters: Parameters,
}

#[derive(Debug)]
enum Parameters {
    Json(Bytes),
    Form(Value),
}

impl Call {
    /// Reads the action.
    ///
    /// # Errors
    /// `MissingAction`, `InvalidAction`, or `MalformedInput` for a form that can't be read.
    pub fn parse(head: &Parts, body: Bytes) -> Result<Self, Failure> {
        match Protocol::of(head) {
            Protocol::Json => {
                let target = head.headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default();
                let name = target.strip_prefix(TARGET_PREFIX).unwrap_or(target);
                Ok(Self { action: Action::named(name)?, parameters: Parameters::Json(body) })
            }
            Protocol::Query => {
                let query = head.uri.query().unwrap_or_default().as_bytes();
                let form = form::parse(&[query, &body])?;
                let name = form.action.ok_or_else(|| {
                    Failure::new(ErrorCode::MissingAction, "The request must contain the parameter Action.")
                })?;
                let action = Action::named(&name)?;
                let mut parameters = form.parameters;
                // boto and older SDKs post to the queue's own URL; some say no more about the queue than that.
                if action.has_queue_url()
                    && !parameters.contains_key("QueueUrl")
                    && queue_path(head.uri.path()).is_some()
                {
                    parameters.insert("QueueUrl".to_owned(), Value::String(head.uri.path().to_owned()));
                }
                Ok(Self { action, parameters: Parameters::Form(Value::Object(parameters)) })
            }
        }
    }

    /// Reads the parameters as the action's own type.
    ///
    /// # Errors
    /// `MalformedInput` names what is unknown, or of another type.
    pub fn input<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let read = match self.parameters {
            // Some clients send nothing at all where there is nothing to say.
            Parameters::Json(bytes) if bytes.is_empty() => serde_json::from_slice(b"{}"),
            Parameters::Json(bytes) => serde_json::from_slice(&bytes),
            Parameters::Form(value) => serde_json::from_value(value),
        };
        read.map_err(|error| Failure::new(ErrorCode::MalformedInput, format!("{}: {error}.", self.action.name())))
    }
}
