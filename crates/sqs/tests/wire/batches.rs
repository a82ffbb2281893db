//! Batches: what fails them as a whole, and what fails an entry alone.

use serde_json::{Value, json};

use crate::node::Node;

const ACTIONS: [&str; 3] = ["SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"];

fn entry(action: &str, id: &str) -> Value {
    match action {
        "SendMessageBatch" => json!({"Id": id, "MessageBody": "x"}),
        "DeleteMessageBatch" => json!({"Id": id, "ReceiptHandle": "x"}),
        _ => json!({"Id": id, "ReceiptHandle": "x", "VisibilityTimeout": 0}),
    }
}

#[tokio::test]
async fn the_rules_of_batches_hold_for_all_three() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    for action in ACTIONS {
        let fail = async |ids: &[&str]| {
            let entries: Value = ids.iter().map(|id| entry(action, id)).collect();
            let (status, code, message) =
                node.json(action, json!({"QueueUrl": url, "Entries": entries})).await.failure();
            assert_eq!(status, 400);
            (code.trim_start_matches("AWS.SimpleQueueService.").to_owned(), message)
        };
        let (code, message) = fail(&[]).await;
        assert_eq!(code, "EmptyBatchRequest");
        assert_eq!(message, format!("There should be at least one {action}RequestEntry in the request."));
        let (code, message) = fail(&["a"; 20]).await;
        assert_eq!(code, "TooManyEntriesInBatchRequest");
        assert_eq!(message, "Maximum number of entries per request are 10. You have sent 20.");
        for id in ["", "invalid:id", "é", &"x".repeat(81)] {
            let (code, message) = fail(&[id]).await;
            assert_eq!(code, "InvalidBatchEntryId", "{id}");
            assert_eq!(
                message,
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 \
                 letters long."
            );
        }
        assert_eq!(fail(&["a", "b", "a"]).await, ("BatchEntryIdsNotDistinct".to_owned(), "Id a repeated.".to_owned()));
    }
}

#[tokio::test]
async fn a_batch_has_a_size_of_its_own() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    let half = "a".repeat(512 * 1024);
    let send = async |last: &str| {
        let entries = json!([
            {"Id": "1", "MessageBody": half},
            {"Id": "2", "MessageBody": half.strip_suffix('a').unwrap()},
            {"Id": "3", "MessageBody": last},
        ]);
        node.json("SendMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await
    };
    // Recorded from SQS, with its limit of then.
    assert_eq!(
        send("aa").await.failure(),
        (
            400,
            "AWS.SimpleQueueService.BatchRequestTooLong".to_owned(),
            "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.".to_owned()
        )
    );
    assert_eq!(send("a").await.json()["Successful"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_entry_fails_alone_and_in_its_place() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    let sent = node
        .ok(
            "SendMessageBatch",
            json!({"QueueUrl": url, "Entries": [
                {"Id": "empty", "MessageBody": ""},
                {"Id": "good", "MessageBody": "1"},
                {"Id": "control", "MessageBody": "\u{1}"},
                {"Id": "better", "MessageBody": "2", "MessageAttributes": {"a": {"DataType": "String", "StringValue": "v"}}},
            ]}),
        )
        .await;
    let ids = |list: &Value, name: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|entry| entry[name].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&sent["Successful"], "Id"), ["good", "better"]);
    assert_eq!(ids(&sent["Failed"], "Code"), ["MissingParameter", "InvalidMessageContents"]);
    let messages = node.receive(&url).await;
    assert_eq!(ids(&json!(messages), "MessageId"), ids(&sent["Successful"], "MessageId"));

    let receipt = |n: usize| messages[n]["ReceiptHandle"].clone();
    let changed = node
        .ok(
            "ChangeMessageVisibilityBatch",
            json!({"QueueUrl": url, "Entries": [
                {"Id": "a", "ReceiptHandle": "garbled", "VisibilityTimeout": 1},
                {"Id": "b", "ReceiptHandle": receipt(0), "VisibilityTimeout": 100},
                {"Id": "c", "ReceiptHandle": receipt(1)},
                {"Id": "d", "ReceiptHandle": receipt(1), "VisibilityTimeout": 50_000},
            ]}),
        )
        .await;
    assert_eq!(ids(&changed["Successful"], "Id"), ["b"]);
    assert_eq!(
        ids(&changed["Failed"], "Code"),
        ["ReceiptHandleIsInvalid", "MissingParameter", "InvalidParameterValue"]
    );
    let deleted = node
        .ok(
            "DeleteMessageBatch",
            json!({"QueueUrl": url, "Entries": [
                {"Id": "a", "ReceiptHandle": receipt(1)},
                {"Id": "b"},
                {"Id": "c", "ReceiptHandle": receipt(0)},
            ]}),
        )
        .await;
    assert_eq!(ids(&deleted["Successful"], "Id"), ["a", "c"]);
    assert_eq!(ids(&deleted["Failed"], "Code"), ["MissingParameter"]);
    node.pass(3600);
    assert!(node.receive(&url).await.is_empty());
}

#[tokio::test]
async fn a_fifo_batch_fails_as_a_whole_without_groups() {
    let node = Node::new().await;
    let url = node.queue("q.fifo", json!({"FifoQueue": "true", "ContentBasedDeduplication": "true"})).await;
    let entries = json!([{"Id": "1", "MessageBody": "x", "MessageGroupId": "g"}, {"Id": "2", "MessageBody": "y"}]);
    assert_eq!(node.code("SendMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await, "MissingParameter");
    let entries = json!([
        {"Id": "1", "MessageBody": "x", "MessageGroupId": "g"},
        {"Id": "2", "MessageBody": "y", "MessageGroupId": "g"},
        {"Id": "3", "MessageBody": "x", "MessageGroupId": "g"},
    ]);
    let sent = node.ok("SendMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(sent["Successful"][0]["MessageId"], sent["Successful"][2]["MessageId"], "a repeat within the batch");
    let bodies: Vec<Value> = node.receive(&url).await.into_iter().map(|mut message| message["Body"].take()).collect();
    assert_eq!(bodies, [json!("x"), json!("y")]);
}
