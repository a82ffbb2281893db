//! `StartMessageMoveTask`, `CancelMessageMoveTask`, `ListMessageMoveTasks`: dead letters go back.
//!
//! A task's handle is what SQS's is too: an id and the source's ARN, in base64.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use weir_queue::{Move, MoveError, MoveId, MoveStatus, Queue};

use crate::action::Context;
use crate::action::cause::passing;
use crate::action::dead_letter_sources::sends_dead_letters_to;
use crate::error::{ErrorCode, Failure};
use crate::limits::{MOVE_RATE_MAX, PAGE_MOVES_MAX};
use crate::wire::{Reply, Xml};

/// Starts a task.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct StartMessageMoveTask {
    source_arn: Option<String>,
    destination_arn: Option<String>,
    max_number_of_messages_per_second: Option<i64>,
}

/// Ends a task.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CancelMessageMoveTask {
    task_handle: Option<String>,
}

/// Asks for the last tasks of a queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListMessageMoveTasks {
    source_arn: Option<String>,
    max_results: Option<i64>,
}

/// A task that was started.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Started {
    task_handle: String,
}

impl Reply for Started {
    fn xml(&self, xml: &mut Xml) {
        xml.text("TaskHandle", &self.task_handle);
    }
}

/// How far a task had come when it was ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cancelled {
    approximate_number_of_messages_moved: u64,
}

impl Reply for Cancelled {
    fn xml(&self, xml: &mut Xml) {
        xml.plain("ApproximateNumberOfMessagesMoved", self.approximate_number_of_messages_moved);
    }
}

/// The last tasks of a queue, the newest first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tasks {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    results: Vec<Task>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Task {
    #[serde(skip_serializing_if = "Option::is_none")]
    task_handle: Option<String>,
    status: &'static str,
    source_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_number_of_messages_per_second: Option<u32>,
    approximate_number_of_messages_moved: u64,
    approximate_number_of_messages_to_move: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<String>,
    started_timestamp: i64,
}

impl Reply for Tasks {
    fn xml(&self, xml: &mut Xml) {
        for task in &self.results {
            xml.element("ListMessageMoveTasksResultEntry", |xml| {
                xml.optional("TaskHandle", task.task_handle.as_deref());
                xml.text("Status", task.status);
                xml.text("SourceArn", &task.source_arn);
                xml.optional("DestinationArn", task.destination_arn.as_deref());
                if let Some(rate) = task.max_number_of_messages_per_second {
                    xml.plain("MaxNumberOfMessagesPerSecond", rate);
                }
                xml.plain("ApproximateNumberOfMessagesMoved", task.approximate_number_of_messages_moved);
                xml.plain("ApproximateNumberOfMessagesToMove", task.approximate_number_of_messages_to_move);
                xml.optional("FailureReason", task.failure_reason.as_deref());
                xml.plain("StartedTimestamp", task.started_timestamp);
            });
        }
    }
}

/// What a handle holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handle {
    task_id: String,
    source_arn: String,
}

/// Starts to move the dead letters of a queue to another, or each to the queue that it came from.
///
/// # Errors
/// `ResourceNotFoundException` if a queue isn't there, `InvalidParameterValue` if the source is nobody's dead-letter queue, or is
/// being moved.
pub async fn start(context: &Context<'_>, request: StartMessageMoveTask) -> Result<Started, Failure> {
    let source_arn = request.source_arn.ok_or_else(|| Failure::missing("SourceArn"))?;
    let source = queue_of_arn(context, "SourceArn", &source_arn)?;
    let rate = match request.max_number_of_messages_per_second {
        None => None,
        Some(rate) => {
            Some(u32::try_from(rate).ok().filter(|_| (1..=MOVE_RATE_MAX).contains(&rate)).ok_or_else(|| {
                Failure::value(
                    "MaxNumberOfMessagesPerSecond",
                    rate,
                    &format!("Must be between 1 and {MOVE_RATE_MAX}, if provided."),
                )
            })?)
        }
    };
    if !context.queues.list().iter().any(|queue| sends_dead_letters_to(queue, source.name())) {
        return Err(Failure::parameter("Source queue must be configured as a Dead Letter Queue."));
    }
    let to = match request.destination_arn.as_deref() {
        None => None,
        Some(arn) => Some(queue_of_arn(context, "DestinationArn", arn)?.name().clone()),
    };
    let started = context.queues.start_move(source.name(), to, rate, None).await;
    let id = started.map_err(|error| failed("starting the move", &error))?;
    Ok(Started { task_handle: handle(&id, &source_arn)? })
}

/// Ends a task. What has been moved stays moved.
///
/// # Errors
/// `InvalidParameterValue` for a handle that is none, `ResourceNotFoundException` if there is no such task, or no more.
pub async fn cancel(context: &Context<'_>, request: CancelMessageMoveTask) -> Result<Cancelled, Failure> {
    let text = request.task_handle.ok_or_else(|| Failure::missing("TaskHandle"))?;
    let invalid = || Failure::parameter("Value for parameter TaskHandle is invalid.");
    let bytes = STANDARD.decode(text).map_err(|_| invalid())?;
    let handle: Handle = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    let source = queue_of_arn(context, "SourceArn", &handle.source_arn)?;
    let none = || Failure::new(ErrorCode::ResourceNotFound, "Task does not exist.");
    let id: MoveId = handle.task_id.parse().map_err(|_| none())?;
    if !context.queues.moves(source.name()).iter().any(|task| task.id == id) {
        return Err(none());
    }
    match context.queues.cancel_move(&id).await {
        Ok(moved) => Ok(Cancelled { approximate_number_of_messages_moved: moved }),
        Err(error) => Err(failed("cancelling the move", &error)),
    }
}

/// Lists the last tasks of a queue, the newest first: one, unless more are asked for.
///
/// # Errors
/// `ResourceNotFoundException`, `InvalidParameterValue`.
pub async fn list(context: &Context<'_>, request: ListMessageMoveTasks) -> Result<Tasks, Failure> {
    let source_arn = request.source_arn.ok_or_else(|| Failure::missing("SourceArn"))?;
    let source = queue_of_arn(context, "SourceArn", &source_arn)?;
    let max = request.max_results.unwrap_or(1);
    let max = usize::try_from(max).ok().filter(|_| (1..=PAGE_MOVES_MAX).contains(&max)).ok_or_else(|| {
        Failure::value("MaxResults", max, &format!("Must be between 1 and {PAGE_MOVES_MAX}, if provided."))
    })?;
    let moves = context.queues.moves(source.name());
    let results = moves.iter().take(max).map(|task| shown(context, &source_arn, task)).collect::<Result<_, _>>()?;
    Ok(Tasks { results })
}

fn shown(context: &Context<'_>, source_arn: &str, task: &Move) -> Result<Task, Failure> {
    let status = match &task.status {
        MoveStatus::Running => "RUNNING",
        MoveStatus::Cancelling => "CANCELLING",
        MoveStatus::Completed => "COMPLETED",
        MoveStatus::Cancelled => "CANCELLED",
        MoveStatus::Failed => "FAILED",
    };
    let is_running = matches!(task.status, MoveStatus::Running);
    Ok(Task {
        // SQS gives the handle of what can still be cancelled.
        task_handle: if is_running { Some(handle(&task.id, source_arn)?) } else { None },
        status,
        source_arn: source_arn.to_owned(),
        destination_arn: task.to.as_ref().map(|to| context.address.arn(to)),
        max_number_of_messages_per_second: task.rate_per_second,
        approximate_number_of_messages_moved: task.moved,
        approximate_number_of_messages_to_move: task.to_move,
        failure_reason: task.failure.clone(),
        started_timestamp: task.started_at.0,
    })
}

fn failed(what: &'static str, error: &MoveError) -> Failure {
    match error {
        MoveError::NoQueue { .. } => Failure::new(ErrorCode::ResourceNotFound, "The queue does not exist any more."),
        MoveError::NoMove { .. } => Failure::new(ErrorCode::ResourceNotFound, "Task does not exist."),
        MoveError::NoDeadLetterQueue { .. } => {
            Failure::parameter("Source queue must be configured as a Dead Letter Queue.")
        }
        MoveError::Running { .. } => Failure::parameter(
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
        ),
        MoveError::Target { .. } | MoveError::Rate => Failure::parameter(format!("{error}.")),
        MoveError::TooMany => Failure::new(ErrorCode::OverLimit, format!("{error}.")),
        MoveError::Submit(_) => passing(what, error),
    }
}

fn handle(id: &MoveId, source_arn: &str) -> Result<String, Failure> {
    let handle = Handle { task_id: id.to_string(), source_arn: source_arn.to_owned() };
    let json = serde_json::to_vec(&handle).map_err(|error| Failure::internal("writing the task's handle", &error))?;
    Ok(STANDARD.encode(json))
}

fn queue_of_arn(context: &Context<'_>, parameter: &str, arn: &str) -> Result<Arc<Queue>, Failure> {
    if !arn.starts_with("arn:") || arn.split(':').count() != 6 {
        return Err(Failure::parameter(format!(
            "You must use this format to specify the {parameter}: \
             arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        )));
    }
    context.address.queue_of_arn(arn).and_then(|name| context.queues.get(&name)).ok_or_else(|| {
        Failure::new(
            ErrorCode::ResourceNotFound,
            format!("The resource that you specified for the {parameter} parameter doesn't exist."),
        )
    })
}
