//! Queues: making, finding, changing and listing them; what is refused, and in which words.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use weir_queue::{DeadLetter, DeadLetterTo, Settings};

use crate::node::{ARN, Node, URL};

#[tokio::test]
async fn a_name_follows_sqs_s_rule() {
    let node = Node::new().await;
    for name in ["a b", "a.b", "é", &"a".repeat(81), "_mine", "orders.fifo"] {
        assert_eq!(node.code("CreateQueue", json!({"QueueName": name})).await, "InvalidParameterValue", "{name}");
    }
    let not_fifo = json!({"QueueName": "orders", "Attributes": {"FifoQueue": "true"}});
    assert_eq!(node.code("CreateQueue", not_fifo).await, "InvalidParameterValue");
    assert_eq!(node.code("CreateQueue", json!({})).await, "MissingParameter");
    node.queue(&"a".repeat(80), json!({})).await;
    node.queue("9-_", json!({"FifoQueue": "false"})).await;
    node.queue("orders.fifo", json!({"FifoQueue": "true"})).await;
}

#[tokio::test]
async fn making_a_queue_again_is_right_with_the_same_attributes_alone() {
    let node = Node::new().await;
    let url = node.queue("q", json!({"DelaySeconds": "5"})).await;
    assert_eq!(node.queue("q", json!({"DelaySeconds": "5"})).await, url);
    assert_eq!(node.queue("q", json!({})).await, url, "what is not asked for may be anything");
    let answer = node.json("CreateQueue", json!({"QueueName": "q", "Attributes": {"DelaySeconds": "6"}})).await;
    assert_eq!(
        answer.failure(),
        (
            400,
            "QueueAlreadyExists".to_owned(),
            "A queue already exists with the same name and a different value for attribute DelaySeconds".to_owned()
        )
    );
    assert_eq!(answer.json()["__type"], "com.amazonaws.sqs#QueueNameExists");
}

#[tokio::test]
async fn all_attributes_are_shown() {
    let node = Node::new().await;
    let url = node.queue("q", json!({"MaximumMessageSize": "2048", "SqsManagedSseEnabled": "false"})).await;
    node.send(&url, "ready").await;
    node.send(&url, "in flight").await;
    node.ok("SendMessage", json!({"QueueUrl": url, "MessageBody": "later", "DelaySeconds": 60})).await;
    node.ok("ReceiveMessage", json!({"QueueUrl": url})).await;
    node.pass(2);
    node.ok("SetQueueAttributes", json!({"QueueUrl": url, "Attributes": {"ReceiveMessageWaitTimeSeconds": "0"}})).await;
    let all = node.ok("GetQueueAttributes", json!({"QueueUrl": url, "AttributeNames": ["All"]})).await;
    assert_eq!(
        all["Attributes"],
        json!({
            "QueueArn": format!("{ARN}:q"),
            "ApproximateNumberOfMessages": "1",
            "ApproximateNumberOfMessagesNotVisible": "1",
            "ApproximateNumberOfMessagesDelayed": "1",
            "CreatedTimestamp": "1700000000",
            "LastModifiedTimestamp": "1700000002",
            "VisibilityTimeout": "30",
            "MaximumMessageSize": "2048",
            "MessageRetentionPeriod": "345600",
            "DelaySeconds": "0",
            "ReceiveMessageWaitTimeSeconds": "0",
            "SqsManagedSseEnabled": "false",
        })
    );
    assert_eq!(node.ok("GetQueueAttributes", json!({"QueueUrl": url})).await, json!({}));
    let known = json!({"QueueUrl": url, "AttributeNames": ["Policy", "KmsMasterKeyId", "FifoQueue"]});
    assert_eq!(node.ok("GetQueueAttributes", known).await, json!({}));
    let unknown = json!({"QueueUrl": url, "AttributeNames": ["Color"]});
    assert_eq!(node.code("GetQueueAttributes", unknown).await, "InvalidAttributeName");

    let url = node.queue("q.fifo", json!({"FifoQueue": "true", "ContentBasedDeduplication": "true"})).await;
    let names = json!(["FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"]);
    let fifo = node.ok("GetQueueAttributes", json!({"QueueUrl": url, "AttributeNames": names})).await;
    assert_eq!(
        fifo["Attributes"],
        json!({
            "FifoQueue": "true",
            "ContentBasedDeduplication": "true",
            "DeduplicationScope": "queue",
            "FifoThroughputLimit": "perQueue",
        })
    );
}

#[tokio::test]
async fn attributes_out_of_range_or_without_effect_are_refused() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    for (name, value, code) in [
        ("VisibilityTimeout", "43201", "InvalidAttributeValue"),
        ("VisibilityTimeout", "-1", "InvalidAttributeValue"),
        ("VisibilityTimeout", "soon", "InvalidAttributeValue"),
        ("DelaySeconds", "901", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "59", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "1209601", "InvalidAttributeValue"),
        ("ReceiveMessageWaitTimeSeconds", "21", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1023", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1048577", "InvalidAttributeValue"),
        ("ContentBasedDeduplication", "true", "InvalidAttributeName"),
        ("DeduplicationScope", "queue", "InvalidAttributeName"),
        ("FifoThroughputLimit", "perQueue", "InvalidAttributeName"),
        ("FifoQueue", "true", "InvalidAttributeValue"),
        ("SqsManagedSseEnabled", "true", "InvalidAttributeValue"),
        ("SqsManagedSseEnabled", "maybe", "InvalidAttributeValue"),
        ("KmsMasterKeyId", "alias/aws/sqs", "InvalidAttributeValue"),
        ("KmsDataKeyReusePeriodSeconds", "300", "InvalidAttributeValue"),
        ("Policy", "{\"Statement\":[]}", "InvalidAttributeValue"),
        ("QueueArn", "arn", "InvalidAttributeName"),
        ("Color", "red", "InvalidAttributeName"),
    ] {
        let set = json!({"QueueUrl": url, "Attributes": {name: value}});
        assert_eq!(node.code("SetQueueAttributes", set).await, code, "{name}={value}");
        if name != "FifoQueue" {
            let create = json!({"QueueName": "new", "Attributes": {name: value}});
            assert_eq!(node.code("CreateQueue", create).await, code, "{name}={value}");
        }
    }
    let fifo = node.queue("q.fifo", json!({"FifoQueue": "true"})).await;
    for (attributes, code) in [
        (json!({"DeduplicationScope": "all"}), "InvalidAttributeValue"),
        (json!({"FifoThroughputLimit": "none"}), "InvalidAttributeValue"),
        (json!({"ContentBasedDeduplication": "yes"}), "InvalidAttributeValue"),
        (json!({"FifoThroughputLimit": "perMessageGroupId"}), "InvalidAttributeValue"),
    ] {
        let set = json!({"QueueUrl": fifo, "Attributes": attributes});
        assert_eq!(node.code("SetQueueAttributes", set.clone()).await, code, "{set}");
    }
    let set = json!({"FifoThroughputLimit": "perMessageGroupId", "DeduplicationScope": "messageGroup"});
    node.ok("SetQueueAttributes", json!({"QueueUrl": fifo, "Attributes": set})).await;
    assert_eq!(node.code("GetQueueUrl", json!({"QueueName": "new"})).await, "AWS.SimpleQueueService.NonExistentQueue");
}

#[tokio::test]
async fn redrive_policies_are_checked_and_shown() {
    let node = Node::new().await;
    let url = node.queue("orders", json!({})).await;
    let dead = node.queue("dead", json!({})).await;
    node.queue("dead.fifo", json!({"FifoQueue": "true"})).await;
    let set = async |policy: &str| {
        let attributes = json!({"QueueUrl": url, "Attributes": {"RedrivePolicy": policy}});
        let answer = node.json("SetQueueAttributes", attributes).await;
        if answer.status.is_success() { "ok".to_owned() } else { answer.failure().2 }
    };
    let arn = format!("{ARN}:dead");
    let policy =
        |arn: &str, count: &str| format!("{{\"deadLetterTargetArn\": \"{arn}\", \"maxReceiveCount\": {count}}}");
    // Recorded from SQS.
    assert_eq!(
        set(&policy("dummy", "42")).await,
        "Value {\"deadLetterTargetArn\": \"dummy\", \"maxReceiveCount\": 42} for parameter RedrivePolicy is invalid. Reason: \
         Invalid value for deadLetterTargetArn."
    );
    for (policy, reason) in [
        (policy(&format!("{ARN}:none"), "1"), "Dead letter target does not exist."),
        (policy(&format!("{ARN}:orders"), "1"), "target of its own"),
        (policy(&format!("{ARN}:dead.fifo"), "1"), "same type"),
        (policy(&arn, "0"), "valid values are from 1 to 1000"),
        (policy(&arn, "1001"), "valid values are from 1 to 1000"),
        (policy(&arn, "1.5"), "valid values are from 1 to 1000"),
        (format!("{{\"deadLetterTargetArn\": \"{arn}\"}}"), "mandatory attribute: maxReceiveCount"),
        ("{\"maxReceiveCount\": 1}".to_owned(), "mandatory attribute: deadLetterTargetArn"),
        ("[]".to_owned(), "not a valid JSON map"),
        (
            format!("{{\"deadLetterTargetArn\": \"{arn}\", \"maxReceiveCount\": 1, \"more\": 1}}"),
            "not a valid JSON map",
        ),
    ] {
        let said = set(&policy).await;
        assert!(said.contains(reason), "{policy}: {said}");
    }
    assert_eq!(set(&policy(&arn, "\"7\"")).await, "ok");
    let names = json!({"QueueUrl": url, "AttributeNames": ["RedrivePolicy"]});
    let shown = node.ok("GetQueueAttributes", names.clone()).await;
    let shown: Value = serde_json::from_str(shown["Attributes"]["RedrivePolicy"].as_str().unwrap()).unwrap();
    assert_eq!(shown, json!({"deadLetterTargetArn": arn, "maxReceiveCount": 7}));
    let sources = node.ok("ListDeadLetterSourceQueues", json!({"QueueUrl": dead})).await;
    assert_eq!(sources, json!({"queueUrls": [url]}));
    assert_eq!(set("").await, "ok");
    assert_eq!(node.ok("GetQueueAttributes", names).await, json!({}));
    assert_eq!(node.ok("ListDeadLetterSourceQueues", json!({"QueueUrl": dead})).await, json!({"queueUrls": []}));

    let allow = async |policy: Value| {
        let attributes = json!({"QueueUrl": dead, "Attributes": {"RedriveAllowPolicy": policy.to_string()}});
        node.json("SetQueueAttributes", attributes).await.status.as_u16()
    };
    assert_eq!(allow(json!({"redrivePermission": "denyAll"})).await, 200);
    assert!(set(&policy(&arn, "1")).await.contains("RedriveAllowPolicy"));
    assert_eq!(allow(json!({"redrivePermission": "byQueue", "sourceQueueArns": [format!("{ARN}:orders")]})).await, 200);
    assert_eq!(set(&policy(&arn, "1")).await, "ok");
    assert_eq!(allow(json!({"redrivePermission": "byQueue"})).await, 400);
    assert_eq!(allow(json!({"redrivePermission": "byQueue", "sourceQueueArns": ["x"]})).await, 400);
    assert_eq!(allow(json!({"redrivePermission": "allowAll", "sourceQueueArns": [arn]})).await, 400);
    assert_eq!(allow(json!({"redrivePermission": "perhaps"})).await, 400);
    assert_eq!(allow(json!({"redrivePermission": "allowAll"})).await, 200);
}

#[tokio::test]
async fn urls_are_made_with_the_host_that_the_client_used() {
    let node = Node::new().await;
    node.queue("q", json!({})).await;
    let ask = async |uri: &str, headers: &[(&str, &str)]| {
        let mut request = Request::post(uri).header("x-amz-target", "AmazonSQS.GetQueueUrl");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from("{\"QueueName\":\"q\"}")).unwrap();
        node.answer(request).await.json()["QueueUrl"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask("/", &[("host", "a.example:9324")]).await, "http://a.example:9324/000000000000/q");
    // HTTP/2 has the authority in place of the header.
    assert_eq!(ask("http://b.example:80/", &[]).await, "http://b.example:80/000000000000/q");
    let proxied = [("host", "c.example"), ("x-forwarded-proto", "https")];
    assert_eq!(ask("/", &proxied).await, "https://c.example/000000000000/q");
}

#[tokio::test]
async fn queues_are_listed_in_pages() {
    let node = Node::new().await;
    for n in 0..5 {
        node.queue(&format!("q{n}"), json!({})).await;
    }
    node.queue("other", json!({})).await;
    let mut token = Value::Null;
    let mut pages = Vec::new();
    loop {
        let input = json!({"QueueNamePrefix": "q", "MaxResults": 2, "NextToken": token});
        let page = node.ok("ListQueues", input).await;
        pages.push(page["QueueUrls"].as_array().unwrap().len());
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(pages, [2, 2, 1]);
    assert_eq!(node.ok("ListQueues", json!({})).await["QueueUrls"].as_array().unwrap().len(), 6);
    for input in [json!({"MaxResults": 0}), json!({"MaxResults": 1001}), json!({"NextToken": "?"})] {
        assert_eq!(node.code("ListQueues", input.clone()).await, "InvalidParameterValue", "{input}");
    }
}

#[tokio::test]
async fn weirs_own_queues_can_be_neither_seen_nor_touched() {
    let node = Node::new().await;
    let own = "_function-score".parse().unwrap();
    node.queues.create(own, Settings::default(), Default::default()).await.unwrap();
    assert_eq!(node.ok("ListQueues", json!({})).await, json!({}));
    let url = format!("{URL}/_function-score");
    let none = "AWS.SimpleQueueService.NonExistentQueue";
    assert_eq!(node.code("SendMessage", json!({"QueueUrl": url, "MessageBody": "x"})).await, none);
    assert_eq!(node.code("DeleteQueue", json!({"QueueUrl": url})).await, none);
    assert_eq!(node.code("GetQueueUrl", json!({"QueueName": "_function-score"})).await, "InvalidParameterValue");
    let orders = node.queue("orders", json!({})).await;
    let policy = format!("{{\"deadLetterTargetArn\":\"{ARN}:_function-score\",\"maxReceiveCount\":1}}");
    let set = json!({"QueueUrl": orders, "Attributes": {"RedrivePolicy": policy}});
    assert_eq!(node.code("SetQueueAttributes", set).await, "InvalidParameterValue");
    let source = format!("{ARN}:_function-score");
    assert_eq!(node.code("StartMessageMoveTask", json!({"SourceArn": source})).await, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_plan_s_dead_letters_to_the_table_stay_when_a_client_changes_something_else() {
    let node = Node::new().await;
    let name: weir_types::QueueName = "orders".parse().unwrap();
    let dead_letter = Some(DeadLetter { max_receives: 3, to: DeadLetterTo::Table });
    let settings = Settings { dead_letter: dead_letter.clone(), ..Settings::default() };
    node.queues.create(name.clone(), settings, Default::default()).await.unwrap();
    let set = json!({"QueueUrl": format!("{URL}/orders"), "Attributes": {"VisibilityTimeout": "60"}});
    node.ok("SetQueueAttributes", set).await;
    assert_eq!(node.queues.get(&name).unwrap().settings().dead_letter, dead_letter);
}

#[tokio::test]
async fn a_deleted_queue_is_gone_and_its_name_is_free() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    node.send(&url, "old").await;
    node.ok("DeleteQueue", json!({"QueueUrl": url})).await;
    let none = "AWS.SimpleQueueService.NonExistentQueue";
    for action in ["DeleteQueue", "GetQueueAttributes", "ReceiveMessage", "ListQueueTags", "ListDeadLetterSourceQueues"]
    {
        assert_eq!(node.code(action, json!({"QueueUrl": url})).await, none, "{action}");
    }
    let url = node.queue("q", json!({})).await;
    assert!(node.receive(&url).await.is_empty());
    assert_eq!(node.code("DeleteQueue", json!({"QueueUrl": "http://weir.test/q"})).await, "InvalidAddress");
    assert_eq!(node.code("DeleteQueue", json!({})).await, "MissingParameter");
}

#[tokio::test]
async fn a_queue_is_purged_once_a_minute() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    node.send(&url, "old").await;
    node.ok("PurgeQueue", json!({"QueueUrl": url})).await;
    assert!(node.receive(&url).await.is_empty());
    node.pass(59);
    assert_eq!(
        node.json("PurgeQueue", json!({"QueueUrl": url})).await.failure(),
        (
            403,
            "AWS.SimpleQueueService.PurgeQueueInProgress".to_owned(),
            "Only one PurgeQueue operation on q is allowed every 60 seconds.".to_owned()
        )
    );
    node.pass(1);
    node.ok("PurgeQueue", json!({"QueueUrl": url})).await;
}

#[tokio::test]
async fn tags_have_limits() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    let many: Value = (0..50).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    node.ok("TagQueue", json!({"QueueUrl": url, "Tags": many})).await;
    for tags in
        [json!({"one more": "v"}), json!({"aws:x": "v"}), json!({"k".repeat(129): "v"}), json!({"k0": "v".repeat(257)})]
    {
        let input = json!({"QueueUrl": url, "Tags": tags});
        assert_eq!(node.code("TagQueue", input.clone()).await, "InvalidParameterValue", "{input}");
    }
    node.ok("TagQueue", json!({"QueueUrl": url, "Tags": {"k0": "changed"}})).await;
    assert_eq!(node.ok("ListQueueTags", json!({"QueueUrl": url})).await["Tags"]["k0"], "changed");
}

#[tokio::test]
async fn what_weir_does_not_do_is_refused() {
    let node = Node::new().await;
    let url = node.queue("q", json!({})).await;
    let unsupported = "AWS.SimpleQueueService.UnsupportedOperation";
    let add = json!({"QueueUrl": url, "Label": "l", "AWSAccountIds": ["1"], "Actions": ["*"]});
    assert_eq!(node.code("AddPermission", add).await, unsupported);
    assert_eq!(node.code("RemovePermission", json!({"QueueUrl": url, "Label": "l"})).await, unsupported);
    let other = json!({"QueueName": "q", "QueueOwnerAWSAccountId": "111111111111"});
    assert_eq!(node.code("GetQueueUrl", other).await, "AWS.SimpleQueueService.NonExistentQueue");
    let unknown = json!({"QueueUrl": url, "MessageBody": "x", "Encrypt": true});
    assert_eq!(node.code("SendMessage", unknown).await, "MalformedInput");
}
