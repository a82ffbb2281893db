//! The actions: one file per operation, each from a typed request to a typed reply.

mod cause;
mod change_visibility;
mod create_queue;
mod dead_letter_sources;
mod delete_message;
mod delete_queue;
mod get_queue_url;
mod list_queues;
mod move_tasks;
mod purge_queue;
mod queue_attributes;
mod receive_message;
mod send_message;
mod tags;

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use serde::de::DeserializeOwned;
use weir_env::Env;
use weir_queue::{Queue, Queues};

use crate::address::Address;
use crate::error::{ErrorCode, Failure};
use crate::limits::ACTION_TIMEOUT;
use crate::purges::Purges;
use crate::wire::{Answer, Call, Reply};

macro_rules! actions {
    ($($action:ident),+ $(,)?) => {
        /// Every action of SQS.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Action {
            $(#[doc = concat!("`", stringify!($action), "`.")] $action,)+
        }

        impl Action {
            /// Reads an action's name.
            ///
            /// # Errors
            /// `InvalidAction`.
            pub fn named(name: &str) -> Result<Self, Failure> {
                match name {
                    $(stringify!($action) => Ok(Self::$action),)+
                    _ => Err(Failure::new(
                        ErrorCode::InvalidAction,
                        format!("The action {name} is not valid for this endpoint."),
                    )),
                }
            }

            /// Returns the action's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$action => stringify!($action),)+
                }
            }
        }
    };
}

actions! {
    AddPermission,
    CancelMessageMoveTask,
    ChangeMessageVisibility,
    ChangeMessageVisibilityBatch,
    CreateQueue,
    DeleteMessage,
    DeleteMessageBatch,
    DeleteQueue,
    GetQueueAttributes,
    GetQueueUrl,
    ListDeadLetterSourceQueues,
    ListMessageMoveTasks,
    ListQueueTags,
    ListQueues,
    PurgeQueue,
    ReceiveMessage,
    RemovePermission,
    SendMessage,
    SendMessageBatch,
    SetQueueAttributes,
    StartMessageMoveTask,
    TagQueue,
    UntagQueue,
}

impl Action {
    /// Tells whether the action names its queue by a URL.
    pub fn has_queue_url(self) -> bool {
        !matches!(
            self,
            Self::CancelMessageMoveTask
                | Self::CreateQueue
                | Self::GetQueueUrl
                | Self::ListMessageMoveTasks
                | Self::ListQueues
                | Self::StartMessageMoveTask
        )
    }
}

/// What an action works with.
pub struct Context<'a> {
    /// The node's queues.
    pub queues: &'a Queues,
    /// The clock.
    pub env: &'a Env,
    /// How queues are addressed.
    pub address: &'a Address,
    /// When queues were purged.
    pub purges: &'a Purges,
    /// `scheme://host`, as this client sees the server.
    pub base: String,
}

impl Context<'_> {
    /// Finds the queue that a request names.
    ///
    /// # Errors
    /// `MissingParameter`, `InvalidAddress`, `QueueDoesNotExist`.
    pub fn queue(&self, url: Option<&str>) -> Result<Arc<Queue>, Failure> {
        let url = url.filter(|url| !url.is_empty()).ok_or_else(|| Failure::missing("QueueUrl"))?;
        let name = self.address.queue_of_url(url)?;
        self.queues.get(&name).ok_or_else(Failure::no_queue)
    }

    /// Returns the URL of a queue, for this client.
    pub fn url(&self, queue: &Queue) -> String {
        self.address.url(&self.base, queue.name())
    }
}

/// Runs an action and answers. `admitted` stands for the memory of the request, and is given back when the request no longer
/// needs it: a receive may wait for long.
pub async fn run<P>(context: &Context<'_>, call: Call, answer: &Answer, admitted: P) -> Response {
    let action = call.action;
    let done = match action {
        Action::ReceiveMessage => {
            let request: Result<receive_message::ReceiveMessage, Failure> = call.input();
            drop(admitted);
            match request {
                // The wait has its own limit.
                Ok(request) => {
                    let limit = ACTION_TIMEOUT + receive_message::WAIT_MAX;
                    within(context, limit, receive_message::receive_message(context, request))
                        .await
                        .map(|reply| answer.reply(action.name(), &reply))
                }
                Err(failure) => Err(failure),
            }
        }
        _ => {
            let done = within(context, ACTION_TIMEOUT, short(context, call, answer)).await;
            drop(admitted);
            done
        }
    };
    done.unwrap_or_else(|failure| answer.failure(&failure))
}

async fn within<T>(
    context: &Context<'_>,
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    context.env.within(limit, work).await.unwrap_or_else(|| {
        Err(Failure::new(
            ErrorCode::ServiceUnavailable,
            format!("The action took longer than {} s. It may still take effect. Try again.", limit.as_secs()),
        ))
    })
}

/// Every action but the one that waits.
async fn short(context: &Context<'_>, call: Call, answer: &Answer) -> Result<Response, Failure> {
    let action = call.action;
    let name = action.name();
    // A macro keeps each line to what differs: which function answers.
    macro_rules! reply {
        ($function:path) => {
            reply(answer, name, call, async |request| $function(context, request).await).await
        };
    }
    match action {
        Action::AddPermission | Action::RemovePermission => Err(Failure::new(
            ErrorCode::UnsupportedOperation,
            format!(
                "{name} is not supported: queues have no policies here, and whoever may reach the server may use them."
            ),
        )),
        Action::CancelMessageMoveTask => reply!(move_tasks::cancel),
        Action::ChangeMessageVisibility => reply!(change_visibility::change_message_visibility),
        Action::ChangeMessageVisibilityBatch => reply!(change_visibility::change_message_visibility_batch),
        Action::CreateQueue => reply!(create_queue::create_queue),
        Action::DeleteMessage => reply!(delete_message::delete_message),
        Action::DeleteMessageBatch => reply!(delete_message::delete_message_batch),
        Action::DeleteQueue => reply!(delete_queue::delete_queue),
        Action::GetQueueAttributes => reply!(queue_attributes::get_queue_attributes),
        Action::GetQueueUrl => reply!(get_queue_url::get_queue_url),
        Action::ListDeadLetterSourceQueues => reply!(dead_letter_sources::list_dead_letter_source_queues),
        Action::ListMessageMoveTasks => reply!(move_tasks::list),
        Action::ListQueueTags => reply!(tags::list_queue_tags),
        Action::ListQueues => reply!(list_queues::list_queues),
        Action::PurgeQueue => reply!(purge_queue::purge_queue),
        Action::ReceiveMessage => reply!(receive_message::receive_message),
        Action::SendMessage => reply!(send_message::send_message),
        Action::SendMessageBatch => reply!(send_message::send_message_batch),
        Action::SetQueueAttributes => reply!(queue_attributes::set_queue_attributes),
        Action::StartMessageMoveTask => reply!(move_tasks::start),
        Action::TagQueue => reply!(tags::tag_queue),
        Action::UntagQueue => reply!(tags::untag_queue),
    }
}

async fn reply<I: DeserializeOwned, O: Reply>(
    answer: &Answer,
    name: &str,
    call: Call,
    function: impl AsyncFnOnce(I) -> Result<O, Failure>,
) -> Result<Response, Failure> {
    let reply = function(call.input()?).await?;
    Ok(answer.reply(name, &reply))
}
