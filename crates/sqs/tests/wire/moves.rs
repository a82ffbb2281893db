//! Message move tasks: dead letters go back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::node::{ARN, Node};

/// A queue whose one message has become a dead letter.
async fn with_a_dead_letter(node: &Node) -> (String, String) {
    let dead = node.queue("dead", json!({})).await;
    let policy = format!("{{\"deadLetterTargetArn\":\"{ARN}:dead\",\"maxReceiveCount\":\"1\"}}");
    let url = node.queue("q", json!({"RedrivePolicy": policy, "VisibilityTimeout": "1"})).await;
    node.send(&url, "poison").await;
    assert_eq!(node.receive(&url).await.len(), 1);
    node.pass(2);
    assert!(node.receive(&url).await.is_empty());
    settled(node, &dead, "ApproximateNumberOfMessages", "1").await;
    (url, dead)
}

/// Waits until a queue's attribute has a value. Each round gives way to the queues' own tasks.
async fn settled(node: &Node, url: &str, name: &str, value: &str) {
    for _ in 0..10_000 {
        let input = json!({"QueueUrl": url, "AttributeNames": [name]});
        if node.ok("GetQueueAttributes", input).await["Attributes"][name] == value {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{name} of {url} never became {value}");
}

#[tokio::test]
async fn dead_letters_go_back_where_they_came_from() {
    let node = Node::new().await;
    let (url, _) = with_a_dead_letter(&node).await;
    let source = format!("{ARN}:dead");
    let started = node.ok("StartMessageMoveTask", json!({"SourceArn": source})).await;
    let handle = STANDARD.decode(started["TaskHandle"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&handle).unwrap()["sourceArn"], source);
    for _ in 0..10_000 {
        let tasks = node.ok("ListMessageMoveTasks", json!({"SourceArn": source, "MaxResults": 10})).await;
        let task = &tasks["Results"][0];
        if task["Status"] == "COMPLETED" {
            assert_eq!(
                *task,
                json!({
                    "Status": "COMPLETED",
                    "SourceArn": source,
                    "ApproximateNumberOfMessagesMoved": 1,
                    "ApproximateNumberOfMessagesToMove": 1,
                    "StartedTimestamp": 1_700_000_002_000_i64,
                })
            );
            let answer = node.query(&format!("Action=ListMessageMoveTasks&SourceArn={source}")).await;
            assert_eq!(answer.element("Status"), "COMPLETED");
            assert_eq!(node.receive(&url).await[0]["Body"], "poison");
            return;
        }
        assert_eq!(task["Status"], "RUNNING");
        node.pass(1);
        tokio::task::yield_now().await;
    }
    panic!("the move never ended");
}

#[tokio::test]
async fn tasks_that_cannot_be_are_refused_in_sqs_s_words() {
    let node = Node::new().await;
    with_a_dead_letter(&node).await;
    node.queue("other", json!({})).await;
    let (dead, other, none) = (format!("{ARN}:dead"), format!("{ARN}:other"), format!("{ARN}:none"));
    let format = "You must use this format to specify the SourceArn: \
                  arn:<partition>:<service>:<region>:<account-id>:<resource-id>";
    for (action, input, status, said) in [
        ("StartMessageMoveTask", json!({}), 400, "The request must contain the parameter SourceArn."),
        ("StartMessageMoveTask", json!({"SourceArn": "dead"}), 400, format),
        (
            "StartMessageMoveTask",
            json!({"SourceArn": none}),
            404,
            "The resource that you specified for the SourceArn parameter doesn't exist.",
        ),
        (
            "StartMessageMoveTask",
            json!({"SourceArn": other}),
            400,
            "Source queue must be configured as a Dead Letter Queue.",
        ),
        (
            "StartMessageMoveTask",
            json!({"SourceArn": dead, "DestinationArn": none}),
            404,
            "The resource that you specified for the DestinationArn parameter doesn't exist.",
        ),
        (
            "StartMessageMoveTask",
            json!({"SourceArn": dead, "MaxNumberOfMessagesPerSecond": 501}),
            400,
            "Value 501 for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and 500, if provided.",
        ),
        ("CancelMessageMoveTask", json!({"TaskHandle": "?"}), 400, "Value for parameter TaskHandle is invalid."),
        (
            "CancelMessageMoveTask",
            json!({"TaskHandle": STANDARD.encode(json!({"taskId": "x", "sourceArn": none}).to_string())}),
            404,
            "The resource that you specified for the SourceArn parameter doesn't exist.",
        ),
        (
            "CancelMessageMoveTask",
            json!({"TaskHandle": STANDARD.encode(json!({"taskId": "x", "sourceArn": dead}).to_string())}),
            404,
            "Task does not exist.",
        ),
        ("ListMessageMoveTasks", json!({"SourceArn": "dead"}), 400, format),
    ] {
        let (found, _, message) = node.json(action, input.clone()).await.failure();
        assert_eq!((found, message.as_str()), (status, said), "{action} {input}");
    }
}

#[tokio::test]
async fn one_task_runs_at_a_time_and_can_be_cancelled() {
    let node = Node::new().await;
    let dead = node.queue("dead", json!({})).await;
    let policy = format!("{{\"deadLetterTargetArn\":\"{ARN}:dead\",\"maxReceiveCount\":\"1\"}}");
    node.queue("q", json!({"RedrivePolicy": policy})).await;
    let other = node.queue("other", json!({})).await;
    for n in 0..5 {
        node.send(&dead, &n.to_string()).await;
    }
    let (source, to) = (format!("{ARN}:dead"), format!("{ARN}:other"));
    let start = json!({"SourceArn": source, "DestinationArn": to, "MaxNumberOfMessagesPerSecond": 1});
    let started = node.ok("StartMessageMoveTask", start.clone()).await;
    assert_eq!(
        node.json("StartMessageMoveTask", start).await.failure().2,
        "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
    );
    let task = node.ok("ListMessageMoveTasks", json!({"SourceArn": source})).await["Results"][0].take();
    assert_eq!((&task["Status"], &task["TaskHandle"]), (&json!("RUNNING"), &started["TaskHandle"]));
    assert_eq!((&task["DestinationArn"], &task["MaxNumberOfMessagesPerSecond"]), (&json!(to), &json!(1)));
    let cancelled = node.ok("CancelMessageMoveTask", json!({"TaskHandle": started["TaskHandle"]})).await;
    assert!(cancelled["ApproximateNumberOfMessagesMoved"].as_u64().unwrap() < 5);
    let count = async |url: &str| {
        let input = json!({"QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessages"]});
        let shown = node.ok("GetQueueAttributes", input).await;
        shown["Attributes"]["ApproximateNumberOfMessages"].as_str().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(count(&dead).await + count(&other).await, 5, "nothing is lost on the way");
}
