//! Messages: what is sent is received, within SQS's rules, and refused in its words outside of them.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures::FutureExt;
use serde_json::{Value, json};
use weir_queue::Message;

use crate::node::{ARN, Node};

#[tokio::test]
async fn the_limits_of_a_message_are_sqs_s() {
    let node = Node::new().await;
    let url = node.queue("q", json!({"MaximumMessageSize": "1024"})).await;
    let send = async |input: Value| {
        let mut input = input;
        input["QueueUrl"] = json!(url);
        let answer = node.json("SendMessage", input).await;
        if answer.status.is_success() { "ok".to_owned() } else { answer.failure().2 }
    };
    // Recorded from SQS.
    let too_large = "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.";
    assert_eq!(send(json!({"MessageBody": "a".repeat(1025)})).await, too_large);
    assert_eq!(send(json!({"MessageBody": "a".repeat(1024)})).await, "ok");
    // A name of 1, a type of 6, a value of 2: nine of them fill up 1,024 bytes with a body of 1,015.
    let attribute = json!({"k": {"DataType": "String", "StringValue": "vv"}});
    assert_eq!(send(json!({"MessageBody": "a".repeat(1015), "MessageAttributes": attribute})).await, "ok");
    assert_eq!(send(json!({"MessageBody": "a".repeat(1016), "MessageAttributes": attribute})).await, too_large);
    let binary = json!({"k": {"DataType": "Binary", "BinaryValue": "AAECAw=="}});
    assert_eq!(send(json!({"MessageBody": "a".repeat(1013), "MessageAttributes": binary})).await, "ok");
    assert_eq!(send(json!({"MessageBody": "a".repeat(1014), "MessageAttributes": binary})).await, too_large);
    for (input, said) in [
        (json!({}), "The request must contain the parameter MessageBody."),
        (json!({"MessageBody": ""}), "The request must contain the parameter MessageBody."),
        (
            json!({"MessageBody": "x", "DelaySeconds": 901}),
            "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
        ),
        (
            json!({"MessageBody": "x", "DelaySeconds": -1}),
            "Value -1 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
        ),
        (
            json!({"MessageBody": "x", "MessageDeduplicationId": "d"}),
            "Value d for parameter MessageDeduplicationId is invalid. Reason: The request include parameter that is not valid \
             for this queue type.",
        ),
        (
            json!({"MessageBody": "x", "MessageGroupId": "a b"}),
            "Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include alphanumeric and \
             punctuation characters. 1 to 128 in length.",
        ),
        (
            json!({"MessageBody": "\u{0}"}),
            "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | \
             #x10000 to #x10FFFF",
        ),
        (
            json!({"MessageBody": "x", "MessageSystemAttributes": {"Foo": {"DataType": "String", "StringValue": "x"}}}),
            "Message system attribute name 'Foo' is invalid: AWSTraceHeader is the only one that can be sent.",
        ),
        (
            json!({"MessageBody": "x", "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "Number", "StringValue": "1"}}}),
            "The message system attribute 'AWSTraceHeader' has an invalid type: it must be String.",
        ),
    ] {
        assert_eq!(send(input.clone()).await, said, "{input}");
    }
    assert_eq!(send(json!({"MessageBody": "x", "MessageGroupId": "tenant-1"})).await, "ok", "a fair queue's group");
}

#[tokio::test]
async fn a_megabyte_of_any_text_goes_through_both_protocols_unchanged() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    let text: String = "é<&>\"'\r\n\t\u{10ffff}%+= ".chars().cycle().take(500_000).collect();
    let sum = node.send(&url, &text).await["MD5OfMessageBody"].clone();
    let form: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("Action", "SendMessage"), ("QueueUrl", &url), ("MessageBody", &text)])
        .finish();
    assert_eq!(node.query(&form).await.element("MD5OfMessageBody"), sum.as_str().unwrap());
    let message = node.ok("ReceiveMessage", json!({"QueueUrl": url})).await["Messages"][0].take();
    assert!(message["Body"] == text && message["MD5OfBody"] == sum);
    let answer = node.query(&format!("Action=ReceiveMessage&QueueUrl={url}")).await;
    assert!(answer.element("Body") == text && answer.element("MD5OfBody") == sum.as_str().unwrap());
}

/// Recorded from SQS.
#[tokio::test]
async fn message_attributes_are_chosen_by_name_and_prefix() {
    let node = Node::new().await;
    let url = node.queue("q", json!({"VisibilityTimeout": "0"})).await;
    let text = |value: &str| json!({"DataType": "String", "StringValue": value});
    let attributes = json!({"General": text("Kenobi"), "Hello": text("There"), "Help.Me": text("Me")});
    node.ok("SendMessage", json!({"QueueUrl": url, "MessageBody": "msg", "MessageAttributes": attributes})).await;
    for (names, sum, count) in [
        (json!([]), Value::Null, 0),
        (json!(["All"]), json!("4c360f3fdafd970e05fae2f149d997f5"), 3),
        (json!([".*"]), json!("4c360f3fdafd970e05fae2f149d997f5"), 3),
        (json!(["Foo", "Help"]), Value::Null, 0),
        (json!(["Hello", "General"]), json!("fca026605781cb4126a1e9044df24232"), 2),
        (json!(["Foo", "Hello"]), json!("a311262e065454b75da111d535b8dacd"), 1),
        (json!(["Hel.*"]), json!("83fee93c1bcd8b9a5a923ffacdc636c7"), 2),
    ] {
        let input = json!({"QueueUrl": url, "MessageAttributeNames": names});
        let message = node.ok("ReceiveMessage", input).await["Messages"][0].take();
        assert_eq!(message["MD5OfMessageAttributes"], sum, "{names}");
        assert_eq!(message["MessageAttributes"].as_object().map_or(0, serde_json::Map::len), count, "{names}");
    }
}

#[tokio::test]
async fn a_trace_header_travels_with_its_message() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let system = json!({"AWSTraceHeader": {"DataType": "String", "StringValue": header}});
    let sent =
        node.ok("SendMessage", json!({"QueueUrl": url, "MessageBody": "x", "MessageSystemAttributes": system})).await;
    assert_eq!(sent["MD5OfMessageSystemAttributes"].as_str().unwrap().len(), 32);
    let input = json!({"QueueUrl": url, "MessageSystemAttributeNames": ["AWSTraceHeader"]});
    let message = node.ok("ReceiveMessage", input).await["Messages"][0].take();
    assert_eq!(message["Attributes"], json!({"AWSTraceHeader": header}));
}

#[tokio::test]
async fn a_fifo_queue_needs_groups_and_recognises_repeats() {
    let node = Node::new().await;
    let url = node.queue("q.fifo", json!({"FifoQueue": "true"})).await;
    let send = |input: Value| {
        let mut all = json!({"QueueUrl": url, "MessageBody": "x"});
        all.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        all
    };
    assert_eq!(node.code("SendMessage", send(json!({}))).await, "MissingParameter");
    assert_eq!(node.code("SendMessage", send(json!({"MessageGroupId": "g"}))).await, "InvalidParameterValue");
    let delayed = send(json!({"MessageGroupId": "g", "MessageDeduplicationId": "1", "DelaySeconds": 2}));
    // Recorded from SQS.
    assert_eq!(
        node.json("SendMessage", delayed).await.failure().2,
        "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue \
         type."
    );
    let first = node.ok("SendMessage", send(json!({"MessageGroupId": "g", "MessageDeduplicationId": "1"}))).await;
    let repeat = node.ok("SendMessage", send(json!({"MessageGroupId": "g", "MessageDeduplicationId": "1"}))).await;
    assert_eq!((&first["MessageId"], &first["SequenceNumber"]), (&repeat["MessageId"], &repeat["SequenceNumber"]));
    let second = node.ok("SendMessage", send(json!({"MessageGroupId": "g", "MessageDeduplicationId": "2"}))).await;
    let number = |sent: &Value| sent["SequenceNumber"].as_str().unwrap().to_owned();
    assert_eq!(number(&first).len(), 20);
    assert!(number(&first) < number(&second));
    let messages = node.receive(&url).await;
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["Attributes"]["MessageGroupId"], "g");
    assert_eq!(messages[0]["Attributes"]["MessageDeduplicationId"], "1");
    assert_eq!(messages[0]["Attributes"]["SequenceNumber"], first["SequenceNumber"]);
}

#[tokio::test]
async fn receives_outside_of_the_limits_are_refused() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    for (name, value, said) in [
        ("MaxNumberOfMessages", 11, "Must be between 1 and 10, if provided."),
        ("MaxNumberOfMessages", 0, "Must be between 1 and 10, if provided."),
        ("WaitTimeSeconds", 21, "Must be >= 0 and <= 20, if provided."),
        ("VisibilityTimeout", 43_201, "Must be >= 0 and <= 43200, if provided."),
    ] {
        let answer = node.json("ReceiveMessage", json!({"QueueUrl": url, name: value})).await;
        assert_eq!(answer.failure().2, format!("Value {value} for parameter {name} is invalid. Reason: {said}"));
    }
    let attempt = json!({"QueueUrl": url, "ReceiveRequestAttemptId": "a"});
    assert_eq!(node.code("ReceiveMessage", attempt).await, "InvalidParameterValue");
    let unknown = json!({"QueueUrl": url, "MessageSystemAttributeNames": ["Color"]});
    assert_eq!(node.code("ReceiveMessage", unknown).await, "InvalidAttributeName");
}

#[tokio::test]
async fn a_receipt_is_fenced() {
    let node = Node::new().await;
    let url = node.queue("q", json!({"VisibilityTimeout": "10"})).await;
    node.send(&url, "x").await;
    let old = node.receive(&url).await.remove(0)["ReceiptHandle"].take();
    node.pass(11);
    let message = node.receive(&url).await.remove(0);
    assert_eq!(message["Attributes"]["ApproximateReceiveCount"], "2");
    node.ok("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": old})).await;
    let change = json!({"QueueUrl": url, "ReceiptHandle": old, "VisibilityTimeout": 0});
    assert_eq!(node.code("ChangeMessageVisibility", change).await, "InvalidParameterValue");
    assert!(node.receive(&url).await.is_empty(), "the newer lease holds");
    node.pass(11);
    let message = node.receive(&url).await.remove(0);
    assert_eq!(message["Attributes"]["ApproximateReceiveCount"], "3", "and the old receipt has deleted nothing");
    let receipt = message["ReceiptHandle"].clone();
    node.ok("ChangeMessageVisibility", json!({"QueueUrl": url, "ReceiptHandle": receipt, "VisibilityTimeout": 0}))
        .await;
    let receipt = node.receive(&url).await.remove(0)["ReceiptHandle"].take();
    node.ok("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": receipt})).await;
    node.ok("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": receipt})).await;
    node.pass(11);
    assert!(node.receive(&url).await.is_empty());
    for receipt in ["garbled", "AAAA", &"x".repeat(2000)] {
        let answer = node.json("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": receipt})).await;
        let (status, code, message) = answer.failure();
        assert_eq!((status, code.as_str()), (404, "ReceiptHandleIsInvalid"), "{message}");
    }
    let change = json!({"QueueUrl": url, "ReceiptHandle": receipt, "VisibilityTimeout": 43_201});
    assert_eq!(node.code("ChangeMessageVisibility", change).await, "InvalidParameterValue");
    let change = json!({"QueueUrl": url, "ReceiptHandle": receipt});
    assert_eq!(node.code("ChangeMessageVisibility", change).await, "MissingParameter");
}

#[tokio::test]
async fn a_long_poll_wakes_on_a_send_and_one_that_was_dropped_takes_nothing() {
    let node = Node::new().await;
    let url = node.queue("q", json!({"ReceiveMessageWaitTimeSeconds": "20"})).await;
    let mut dropped = Box::pin(node.receive(&url));
    assert!((&mut dropped).now_or_never().is_none());
    tokio::task::yield_now().await;
    drop(dropped);
    let poll = node.receive(&url);
    let send = async {
        tokio::task::yield_now().await;
        node.send(&url, "x").await
    };
    let (messages, _) = tokio::join!(poll, send);
    assert_eq!(messages[0]["Attributes"]["ApproximateReceiveCount"], "1");
    let mut empty = Box::pin(node.receive(&url));
    assert!((&mut empty).now_or_never().is_none());
    // What holds the poll now is time alone: it ends as the clock passes its 20 s.
    let passed = async {
        for _ in 0..40 {
            tokio::task::yield_now().await;
            node.clock.advance(Duration::from_millis(600));
        }
    };
    let (messages, ()) = tokio::join!(empty, passed);
    assert!(messages.is_empty());
}

#[tokio::test]
async fn a_body_that_is_no_text_goes_out_in_base64_and_says_so() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    let queue = node.queues.get(&"q".parse().unwrap()).unwrap();
    queue.send(vec![Message::new(vec![0xff, 0xfe, 0x00])]).await.unwrap();
    let message = node.receive(&url).await.remove(0);
    assert_eq!(message["Body"], "//4A");
    assert_eq!(message["MessageAttributes"]["weir.encoding"]["StringValue"], "base64");
}

#[tokio::test]
async fn dead_letters_say_where_they_come_from() {
    let node = Node::new().await;
    let dead = node.queue("dead", json!({})).await;
    let policy = format!("{{\"deadLetterTargetArn\":\"{ARN}:dead\",\"maxReceiveCount\":\"1\"}}");
    let url = node.queue("q", json!({"RedrivePolicy": policy, "VisibilityTimeout": "1"})).await;
    let sent = node.send(&url, "poison").await;
    assert_eq!(node.receive(&url).await.len(), 1);
    node.pass(2);
    assert!(node.receive(&url).await.is_empty());
    let input = json!({"QueueUrl": dead, "AttributeNames": ["All"], "WaitTimeSeconds": 20});
    let message = node.ok("ReceiveMessage", input).await["Messages"][0].take();
    assert_eq!((&message["Body"], &message["MessageId"]), (&json!("poison"), &sent["MessageId"]));
    assert_eq!(message["Attributes"]["DeadLetterQueueSourceArn"], format!("{ARN}:q"));
    assert_eq!(message["Attributes"]["SentTimestamp"], "1700000000000");
}

#[tokio::test]
async fn bodies_have_a_size_and_a_form() {
    let node = Node::new().await;
    let request = |body: Vec<u8>, encoding: &str| {
        Request::post("/")
            .header("x-amz-target", "AmazonSQS.ListQueues")
            .header("content-encoding", encoding)
            .body(Body::from(body))
            .unwrap()
    };
    for (body, encoding, said) in [
        (vec![b' '; 8 << 20], "identity", "longer than"),
        (b"{".to_vec(), "identity", "EOF"),
        (b"{}".to_vec(), "gzip", "content encoding gzip"),
        (b"{\"MaxResults\": \"two\"}".to_vec(), "identity", "invalid type"),
    ] {
        let (status, code, message) = node.answer(request(body, encoding)).await.failure();
        assert_eq!((status, code.as_str()), (400, "MalformedInput"));
        assert!(message.contains(said), "{message}");
    }
    assert!(node.answer(request(Vec::new(), "identity")).await.status.is_success());
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let node = Node::new().await;
    let body = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let request = Request::post("/").header("x-amz-target", "AmazonSQS.ListQueues").body(body).unwrap();
    let passed = async {
        for _ in 0..4 {
            tokio::task::yield_now().await;
            node.pass(10);
        }
    };
    let (answer, ()) = tokio::join!(node.answer(request), passed);
    assert!(answer.failure().2.contains("did not arrive within 30 s"));
}
