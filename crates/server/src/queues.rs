//! `/v1/queues`: messages in, a look at what waits, and moves between queues. Clients of SQS have their own way in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use weir_queue::limits::{DELAY_MAX, MESSAGE_BYTES_MAX};
use weir_queue::{
    ChangeError, Message, Move, MoveError, MoveFilter, MoveStatus, Queue, QueueError, Received, SendError,
};
use weir_runtime::Node;
use weir_types::{QueueName, SequenceNumber, Timestamp, span};

use crate::body;
use crate::error::{ErrorCode, ErrorReply};

/// What one request may carry in messages, one on each line.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages of one request.
const BATCH_MAX: usize = 10_000;
/// Messages of one look.
const LOOK_MAX: usize = 1000;

fn queue(node: &Node, text: &str) -> Result<Arc<Queue>, ErrorReply> {
    let missing = |message: String| ErrorReply::new(ErrorCode::NotFound, message);
    let name: QueueName = text.parse().map_err(|error| missing(format!("queue: {error}")))?;
    let found = node.queues().get(&name).filter(|queue| !queue.name().is_internal());
    found.ok_or_else(|| missing(format!("there is no queue `{name}`")))
}

/// Lists the queues.
pub(crate) async fn list(State(node): State<Arc<Node>>) -> Json<Value> {
    Json(json!({ "queues": node.status().queues }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendParameters {
    group: Option<String>,
    deduplication: Option<String>,
    /// Such as `30s`.
    delay: Option<String>,
}

/// Takes in a message: the whole body, or with `application/x-ndjson` each line. All are durable when it answers.
pub(crate) async fn send(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    parameters: Result<Query<SendParameters>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ErrorReply> {
    let Query(parameters) = parameters?;
    let queue = queue(&node, &name)?;
    let invalid = |message: String| ErrorReply::new(ErrorCode::InvalidRequest, message);
    let delay = match &parameters.delay {
        None => None,
        Some(text) => {
            let delay = span::parse(text).map_err(|error| invalid(format!("delay: {error}")))?;
            if delay > DELAY_MAX {
                return Err(invalid(format!("a delay is {} at most", span::display(DELAY_MAX))));
            }
            Some(delay)
        }
    };
    let lines =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-ndjson"));
    let bytes_max = if lines { BATCH_BYTES_MAX } else { MESSAGE_BYTES_MAX };
    let body = body::read_up_to(node.env(), body, bytes_max).await?;
    if std::str::from_utf8(&body).is_err() {
        return Err(ErrorReply::new(ErrorCode::InvalidBody, "a message is text: the body is not UTF-8"));
    }
    let bodies: Vec<bytes::Bytes> = if lines {
        let lines = body.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        lines.filter(|line| !line.is_empty()).map(|line| body.slice_ref(line)).collect()
    } else {
        vec![body]
    };
    if bodies.is_empty() || bodies.len() > BATCH_MAX {
        let message = format!("there are {} messages in the body; 1 to {BATCH_MAX} are taken", bodies.len());
        return Err(ErrorReply::new(ErrorCode::InvalidBody, message));
    }
    let count = bodies.len();
    let messages = bodies.into_iter().enumerate().map(|(index, body)| Message {
        body,
        group: parameters.group.clone(),
        // One id for many messages would make repeats of all but the first.
        deduplication: parameters
            .deduplication
            .as_ref()
            .map(|id| if count > 1 { format!("{id}-{index}") } else { id.clone() }),
        delay,
        ..Message::default()
    });
    let sent = queue.send(messages.collect()).await.map_err(|error| send_refused(&error))?;
    let ids: Vec<String> = sent.iter().map(|sent| sent.id.to_string()).collect();
    Ok((StatusCode::CREATED, Json(json!({ "sent": ids.len(), "ids": ids }))).into_response())
}

fn send_refused(error: &SendError) -> ErrorReply {
    let code = match error {
        SendError::Queue(error) => return queue_failed(error),
        SendError::TooLarge { .. } | SendError::BatchTooLarge { .. } => ErrorCode::BodyTooLarge,
        _ => ErrorCode::InvalidRequest,
    };
    ErrorReply::of(code, error)
}

fn queue_failed(error: &QueueError) -> ErrorReply {
    let code = match error {
        QueueError::Append { source, .. } => crate::records::append_code(source),
        QueueError::Read { .. } => ErrorCode::Damaged,
        QueueError::Closed { .. } => ErrorCode::Closing,
    };
    ErrorReply::of(code, error)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LookParameters {
    #[serde(default)]
    from: u64,
    #[serde(default = "default_look")]
    limit: usize,
}

fn default_look() -> usize {
    20
}

/// Shows messages in the order of their places, without taking them.
pub(crate) async fn look(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    parameters: Result<Query<LookParameters>, QueryRejection>,
) -> Result<Json<Value>, ErrorReply> {
    let Query(parameters) = parameters?;
    let queue = queue(&node, &name)?;
    let limit = parameters.limit.clamp(1, LOOK_MAX);
    let messages = queue.browse(SequenceNumber(parameters.from), limit).await.map_err(|error| queue_failed(&error))?;
    let next = messages.last().map(|message| message.sequence + 1);
    let messages: Vec<Value> = messages.iter().map(describe).collect();
    Ok(Json(json!({ "messages": messages, "next": next })))
}

fn describe(message: &Received) -> Value {
    let mut value = json!({
        "id": message.id,
        "sequence": message.sequence,
        "sent_at": message.sent_at.to_string(),
        "receive_count": message.receive_count,
    });
    match std::str::from_utf8(&message.body) {
        Ok(text) => value["body"] = json!(text),
        Err(_) => value["body_base64"] = json!(BASE64.encode(&message.body)),
    }
    if let Some(group) = &message.group {
        value["group"] = json!(group);
    }
    if let Some(source) = &message.source {
        value["dead_letter_source"] = json!(source);
    }
    if !message.attributes.is_empty() {
        value["attributes"] = json!(message.attributes);
    }
    if !message.headers.is_empty() {
        let headers: BTreeMap<&str, &str> =
            message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        value["headers"] = json!(headers);
    }
    value
}

/// Deletes all messages of a queue.
pub(crate) async fn purge(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Result<Json<Value>, ErrorReply> {
    let queue = queue(&node, &name)?;
    let stats = queue.stats();
    queue.purge().await.map_err(|error| queue_failed(&error))?;
    Ok(Json(json!({ "queue": queue.name(), "purged": stats.ready + stats.in_flight + stats.delayed })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Redrive {
    /// None: each message to the queue that gave it up.
    to: Option<QueueName>,
    /// Messages a second at most.
    rate: Option<u32>,
    contains: Option<String>,
    group: Option<String>,
    /// Milliseconds since 1970.
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// Begins to move a queue's messages.
pub(crate) async fn redrive(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, ErrorReply> {
    let queue = queue(&node, &name)?;
    let request: Redrive = body::read_json(node.env(), body).await?;
    let filter = MoveFilter {
        body_contains: request.contains,
        group: request.group,
        since: request.since,
        until: request.until,
    };
    let filter = (filter != MoveFilter::default()).then_some(filter);
    let begun = node.queues().start_move(queue.name(), request.to, request.rate, filter).await;
    let id = begun.map_err(|error| move_refused(&error))?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "move": id.to_string() }))).into_response())
}

/// Lists the last moves of a queue's messages, newest first.
pub(crate) async fn moves(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Result<Json<Value>, ErrorReply> {
    let queue = queue(&node, &name)?;
    let moves: Vec<Value> = node.queues().moves(queue.name()).iter().map(describe_move).collect();
    Ok(Json(json!({ "moves": moves })))
}

/// Ends a move.
pub(crate) async fn cancel_move(
    State(node): State<Arc<Node>>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Json<Value>, ErrorReply> {
    queue(&node, &name)?;
    // Any text is an id; one that nobody knows is answered so.
    let Ok(id) = id.parse();
    let moved = node.queues().cancel_move(&id).await.map_err(|error| move_refused(&error))?;
    Ok(Json(json!({ "move": id.to_string(), "moved": moved })))
}

fn describe_move(moved: &Move) -> Value {
    json!({
        "move": moved.id.to_string(),
        "to": moved.to,
        "status": match moved.status {
            MoveStatus::Running => "running",
            MoveStatus::Completed => "completed",
            MoveStatus::Cancelling => "cancelling",
            MoveStatus::Cancelled => "cancelled",
            MoveStatus::Failed => "failed",
        },
        "moved": moved.moved,
        "to_move": moved.to_move,
        "started_at": moved.started_at.to_string(),
        "failure": moved.failure,
    })
}

fn move_refused(error: &MoveError) -> ErrorReply {
    let code = match error {
        MoveError::NoQueue { .. } | MoveError::NoMove { .. } => ErrorCode::NotFound,
        MoveError::Submit(_) => ErrorCode::Busy,
        _ => ErrorCode::InvalidRequest,
    };
    ErrorReply::of(code, error)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    fifo: Option<bool>,
    visibility_timeout: Option<String>,
    retention: Option<String>,
}

/// Makes a queue beside those of the plan, as SQS's clients may too.
pub(crate) async fn create(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, ErrorReply> {
    let invalid = |message: String| ErrorReply::new(ErrorCode::InvalidRequest, message);
    let name: QueueName = name.parse().map_err(|error| invalid(format!("queue: {error}")))?;
    if name.is_internal() {
        return Err(invalid(format!("queue: `{name}` begins with an underscore, as weir's own do")));
    }
    let request: Create = body::read_json(node.env(), body).await?;
    let time = |what: &str, text: Option<String>, otherwise: Duration| match text {
        None => Ok(otherwise),
        Some(text) => span::parse(&text).map_err(|error| invalid(format!("{what}: {error}"))),
    };
    let mut settings = weir_queue::Settings::default();
    settings.visibility_timeout = time("visibility_timeout", request.visibility_timeout, settings.visibility_timeout)?;
    settings.retention = time("retention", request.retention, settings.retention)?;
    if request.fifo.unwrap_or(name.is_fifo()) {
        settings.fifo = Some(weir_queue::Fifo {
            content_deduplication: true,
            deduplication_scope: weir_queue::DeduplicationScope::Queue,
            throughput_limit: weir_queue::ThroughputLimit::PerQueue,
        });
    }
    match node.queues().create(name.clone(), settings, BTreeMap::new()).await {
        Ok(_) => Ok((StatusCode::CREATED, Json(json!({ "queue": name }))).into_response()),
        Err(error) => Err(ErrorReply::of(ErrorCode::InvalidRequest, &error)),
    }
}

/// Deletes a queue that is not of the plan.
pub(crate) async fn delete(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Result<Json<Value>, ErrorReply> {
    let queue = queue(&node, &name)?;
    node.queues().delete(queue.name()).await.map_err(|error| {
        let code = match &error {
            ChangeError::NoQueue { .. } => ErrorCode::NotFound,
            ChangeError::Queue(error) => return queue_failed(error),
            _ => ErrorCode::Busy,
        };
        ErrorReply::of(code, &error)
    })?;
    Ok(Json(json!({ "queue": name, "deleted": true })))
}
