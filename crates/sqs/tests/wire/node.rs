//! Queues in memory behind the wire API, and a clock that stands still.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use serde_json::{Value, json};
use weir_env::{Env, ManualClock};
use weir_log::MemoryEngine;
use weir_machine::Snapshots;
use weir_queue::Queues;
use weir_sqs::{Options, Sqs};
use weir_types::Timestamp;

/// What URLs begin with in these tests.
pub const URL: &str = "http://weir.test:4566/000000000000";
/// What ARNs begin with.
pub const ARN: &str = "arn:aws:sqs:us-east-1:000000000000";

pub struct Node {
    pub sqs: Sqs,
    pub queues: Arc<Queues>,
    pub clock: ManualClock,
}

/// An answer of either protocol.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub query_error: Option<String>,
    pub request_id: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).unwrap() }
    }

    /// `(status, code, message)` of a failure, in the words of the query protocol.
    pub fn failure(&self) -> (u16, String, String) {
        let status = self.status.as_u16();
        if self.text.starts_with("<?xml") {
            return (status, self.element("Code"), self.element("Message"));
        }
        let header = self.query_error.clone().unwrap_or_else(|| panic!("no failure: {}", self.text));
        let message = self.json()["message"].as_str().unwrap().to_owned();
        (status, header.split(';').next().unwrap().to_owned(), message)
    }

    /// The text of the first element of that name, unescaped.
    pub fn element(&self, name: &str) -> String {
        let inside =
            self.text.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
        let inside = inside.unwrap_or_else(|| panic!("no {name} in {}", self.text)).0;
        quick_xml::escape::unescape(inside).unwrap().into_owned()
    }
}

impl Node {
    pub async fn new() -> Self {
        let clock = ManualClock::at(Timestamp(1_700_000_000_000));
        let env = Env::seeded(clock.clone(), 7);
        let engine = Arc::new(MemoryEngine::new(env.clone()));
        let snapshots = Snapshots::new(Arc::new(InMemory::new()), Path::from("snapshots"));
        let queues = Queues::open(engine, snapshots, env.clone()).await.unwrap();
        Self { sqs: Sqs::new(Arc::clone(&queues), env, Options::default()), queues, clock }
    }

    pub async fn answer(&self, request: Request<Body>) -> Answer {
        let response: Response = self.sqs.answer(request).await;
        let (head, body) = response.into_parts();
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        Answer {
            status: head.status,
            query_error: header("x-amzn-query-error"),
            request_id: header("x-amzn-requestid").unwrap(),
            text: String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
        }
    }

    /// Asks in AWS JSON 1.0.
    pub async fn json(&self, action: &str, input: Value) -> Answer {
        let request = Request::post("/")
            .header("host", "weir.test:4566")
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("AmazonSQS.{action}"))
            .header("x-amzn-query-mode", "true");
        self.answer(request.body(input.to_string().into()).unwrap()).await
    }

    /// Asks in the query protocol.
    pub async fn query(&self, form: &str) -> Answer {
        let request = Request::post("/")
            .header("host", "weir.test:4566")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        self.answer(request.body(form.to_owned().into()).unwrap()).await
    }

    /// Asks, and expects success.
    pub async fn ok(&self, action: &str, input: Value) -> Value {
        let answer = self.json(action, input.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{action} {input}: {}", answer.text);
        answer.json()
    }

    /// Asks, and expects a failure: its code in the words of the query protocol.
    pub async fn code(&self, action: &str, input: Value) -> String {
        let answer = self.json(action, input.clone()).await;
        assert_ne!(answer.status, StatusCode::OK, "{action} {input}: {}", answer.text);
        answer.failure().1
    }

    /// Makes a queue and returns its URL.
    pub async fn queue(&self, name: &str, attributes: Value) -> String {
        let made = self.ok("CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await;
        made["QueueUrl"].as_str().unwrap().to_owned()
    }

    pub async fn send(&self, url: &str, body: &str) -> Value {
        self.ok("SendMessage", json!({"QueueUrl": url, "MessageBody": body})).await
    }

    /// Receives up to ten messages.
    pub async fn receive(&self, url: &str) -> Vec<Value> {
        let input = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"]});
        match self.ok("ReceiveMessage", input).await["Messages"].take() {
            Value::Array(messages) => messages,
            _ => Vec::new(),
        }
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

/// What a text looks like once whatever differs from run to run has a name: ids, receipts, requests.
pub fn golden(text: &str) -> String {
    let mut shown = String::new();
    let mut last = "";
    for piece in text.split_inclusive(['"', '<', '>']) {
        let value = piece.trim_end_matches(['"', '<', '>']);
        let is_uuid = value.len() == 36 && value.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        let name = if is_uuid {
            "UUID"
        } else if last == "ReceiptHandle" && !matches!(value, "" | ":") {
            "RECEIPT"
        } else {
            value
        };
        shown.push_str(name);
        shown.push_str(&piece[value.len()..]);
        if !matches!(value, "" | ":") {
            last = value;
        }
    }
    shown
}
