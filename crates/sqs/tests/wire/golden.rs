//! Each action in both protocols, byte for byte. Requests and checksums are those of Amazon's API reference.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::node::{Node, URL, golden};

const NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";

/// Asks for the same thing in both protocols, and compares both answers.
async fn both(node: &Node, action: &str, input: Value, form: &str, reply: Value, xml: &str) {
    let answer = node.json(action, input).await;
    assert_eq!(answer.status, StatusCode::OK, "{action}: {}", answer.text);
    let shown = golden(&answer.text);
    let shown: Value = if shown.is_empty() { Value::Null } else { serde_json::from_str(&shown).unwrap() };
    assert_eq!(shown, reply, "{action}");
    let answer = node.query(&format!("Action={action}&Version=2012-11-05&{form}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{action}: {}", answer.text);
    assert_eq!(
        golden(&answer.text),
        format!(
            "<?xml version=\"1.0\"?><{action}Response xmlns=\"{NAMESPACE}\">{xml}<ResponseMetadata><RequestId>UUID</RequestId>\
             </ResponseMetadata></{action}Response>"
        )
    );
}

#[tokio::test]
async fn queues_are_made_found_and_listed() {
    let node = Node::new().await;
    let url = format!("{URL}/MyQueue");
    both(
        &node,
        "CreateQueue",
        json!({"QueueName": "MyQueue", "Attributes": {"VisibilityTimeout": "40"}, "tags": {"QueueType": "Production"}}),
        "QueueName=MyQueue&Attribute.1.Name=VisibilityTimeout&Attribute.1.Value=40&Tag.1.Key=QueueType&Tag.1.Value=Production",
        json!({"QueueUrl": url}),
        &format!("<CreateQueueResult><QueueUrl>{url}</QueueUrl></CreateQueueResult>"),
    )
    .await;
    both(
        &node,
        "GetQueueUrl",
        json!({"QueueName": "MyQueue", "QueueOwnerAWSAccountId": "000000000000"}),
        "QueueName=MyQueue",
        json!({"QueueUrl": url}),
        &format!("<GetQueueUrlResult><QueueUrl>{url}</QueueUrl></GetQueueUrlResult>"),
    )
    .await;
    both(
        &node,
        "ListQueues",
        json!({"QueueNamePrefix": "M"}),
        "QueueNamePrefix=M",
        json!({"QueueUrls": [url]}),
        &format!("<ListQueuesResult><QueueUrl>{url}</QueueUrl></ListQueuesResult>"),
    )
    .await;
    both(
        &node,
        "ListQueues",
        json!({"QueueNamePrefix": "x"}),
        "QueueNamePrefix=x",
        json!({}),
        "<ListQueuesResult></ListQueuesResult>",
    )
    .await;
}

#[tokio::test]
async fn attributes_are_read_and_set() {
    let node = Node::new().await;
    let url = node.queue("MyQueue", json!({})).await;
    both(
        &node,
        "SetQueueAttributes",
        json!({"QueueUrl": url, "Attributes": {"VisibilityTimeout": "35"}}),
        &format!("QueueUrl={url}&Attribute.1.Name=VisibilityTimeout&Attribute.1.Value=35"),
        Value::Null,
        "",
    )
    .await;
    both(
        &node,
        "GetQueueAttributes",
        json!({"QueueUrl": url, "AttributeNames": ["VisibilityTimeout", "DelaySeconds"]}),
        &format!("QueueUrl={url}&AttributeName.1=VisibilityTimeout&AttributeName.2=DelaySeconds"),
        json!({"Attributes": {"VisibilityTimeout": "35", "DelaySeconds": "0"}}),
        "<GetQueueAttributesResult><Attribute><Name>DelaySeconds</Name><Value>0</Value></Attribute>\
         <Attribute><Name>VisibilityTimeout</Name><Value>35</Value></Attribute></GetQueueAttributesResult>",
    )
    .await;
    both(
        &node,
        "TagQueue",
        json!({"QueueUrl": url, "Tags": {"QueueType": "Production"}}),
        &format!("QueueUrl={url}&Tag.1.Key=QueueType&Tag.1.Value=Production"),
        Value::Null,
        "",
    )
    .await;
    both(
        &node,
        "ListQueueTags",
        json!({"QueueUrl": url}),
        &format!("QueueUrl={url}"),
        json!({"Tags": {"QueueType": "Production"}}),
        "<ListQueueTagsResult><Tag><Key>QueueType</Key><Value>Production</Value></Tag></ListQueueTagsResult>",
    )
    .await;
    both(
        &node,
        "UntagQueue",
        json!({"QueueUrl": url, "TagKeys": ["QueueType"]}),
        &format!("QueueUrl={url}&TagKey.1=QueueType"),
        Value::Null,
        "",
    )
    .await;
    assert_eq!(node.ok("ListQueueTags", json!({"QueueUrl": url})).await, json!({}));
}

#[tokio::test]
async fn messages_are_sent_received_hidden_and_deleted() {
    let node = Node::new().await;
    let url = node.queue("MyQueue", json!({})).await;
    both(
        &node,
        "SendMessage",
        json!({"QueueUrl": format!("{url}/"), "MessageBody": "This is a test message", "MessageAttributes": {
            "my_attribute_name_1": {"DataType": "String", "StringValue": "my_attribute_value_1"},
            "my_attribute_name_2": {"DataType": "String", "StringValue": "my_attribute_value_2"},
        }}),
        &format!(
            "QueueUrl={url}%2F&MessageBody=This+is+a+test+message\
             &MessageAttribute.1.Name=my_attribute_name_1&MessageAttribute.1.Value.StringValue=my_attribute_value_1\
             &MessageAttribute.1.Value.DataType=String&MessageAttribute.2.Name=my_attribute_name_2\
             &MessageAttribute.2.Value.StringValue=my_attribute_value_2&MessageAttribute.2.Value.DataType=String\
             &Expires=2020-05-05T22%3A52%3A43PST"
        ),
        json!({
            "MD5OfMessageAttributes": "c48838208d2b4e14e3ca0093a8443f09",
            "MD5OfMessageBody": "fafb00f5732ab283681e124bf8747ed1",
            "MessageId": "UUID",
        }),
        "<SendMessageResult><MessageId>UUID</MessageId><MD5OfMessageBody>fafb00f5732ab283681e124bf8747ed1</MD5OfMessageBody>\
         <MD5OfMessageAttributes>c48838208d2b4e14e3ca0093a8443f09</MD5OfMessageAttributes></SendMessageResult>",
    )
    .await;
    let attributes = ["SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp"];
    both(
        &node,
        "ReceiveMessage",
        json!({"QueueUrl": url, "MaxNumberOfMessages": 1, "VisibilityTimeout": 15, "AttributeNames": attributes,
               "MessageAttributeNames": ["my_attribute_name_1"]}),
        &format!(
            "QueueUrl={url}&MaxNumberOfMessages=1&VisibilityTimeout=15&AttributeName.1=All\
             &MessageAttributeName.1=my_attribute_name_1"
        ),
        json!({"Messages": [{
            "MessageId": "UUID",
            "ReceiptHandle": "RECEIPT",
            "MD5OfBody": "fafb00f5732ab283681e124bf8747ed1",
            "Body": "This is a test message",
            "Attributes": {
                "SenderId": "000000000000",
                "SentTimestamp": "1700000000000",
                "ApproximateReceiveCount": "1",
                "ApproximateFirstReceiveTimestamp": "1700000000000",
            },
            "MD5OfMessageAttributes": "8ef4d60dbc8efda9f260e1dfd09d29f3",
            "MessageAttributes": {"my_attribute_name_1": {"StringValue": "my_attribute_value_1", "DataType": "String"}},
        }]}),
        "<ReceiveMessageResult><Message><MessageId>UUID</MessageId><ReceiptHandle>RECEIPT</ReceiptHandle>\
         <MD5OfBody>fafb00f5732ab283681e124bf8747ed1</MD5OfBody><Body>This is a test message</Body>\
         <Attribute><Name>ApproximateFirstReceiveTimestamp</Name><Value>1700000000000</Value></Attribute>\
         <Attribute><Name>ApproximateReceiveCount</Name><Value>1</Value></Attribute>\
         <Attribute><Name>SenderId</Name><Value>000000000000</Value></Attribute>\
         <Attribute><Name>SentTimestamp</Name><Value>1700000000000</Value></Attribute>\
         <MD5OfMessageAttributes>8ef4d60dbc8efda9f260e1dfd09d29f3</MD5OfMessageAttributes>\
         <MessageAttribute><Name>my_attribute_name_1</Name><Value><StringValue>my_attribute_value_1</StringValue>\
         <DataType>String</DataType></Value></MessageAttribute></Message></ReceiveMessageResult>",
    )
    .await;
    both(
        &node,
        "ReceiveMessage",
        json!({"QueueUrl": url}),
        &format!("QueueUrl={url}"),
        json!({}),
        "<ReceiveMessageResult></ReceiveMessageResult>",
    )
    .await;

    node.send(&url, "once more").await;
    let message = node.receive(&url).await.remove(0);
    let receipt = message["ReceiptHandle"].as_str().unwrap();
    let escaped: String = form_urlencoded::byte_serialize(receipt.as_bytes()).collect();
    both(
        &node,
        "ChangeMessageVisibility",
        json!({"QueueUrl": url, "ReceiptHandle": receipt, "VisibilityTimeout": 60}),
        &format!("QueueUrl={url}&ReceiptHandle={escaped}&VisibilityTimeout=60"),
        Value::Null,
        "",
    )
    .await;
    both(
        &node,
        "DeleteMessage",
        json!({"QueueUrl": url, "ReceiptHandle": receipt}),
        &format!("QueueUrl={url}&ReceiptHandle={escaped}"),
        Value::Null,
        "",
    )
    .await;
}

#[tokio::test]
async fn batches_tell_what_became_of_each_entry() {
    let node = Node::new().await;
    let url = node.queue("MyQueue", json!({})).await;
    both(
        &node,
        "SendMessageBatch",
        json!({"QueueUrl": url, "Entries": [
            {"Id": "test_msg_001", "MessageBody": "test message body 1"},
            {"Id": "test_msg_002", "MessageBody": "test message body 2", "DelaySeconds": 901},
        ]}),
        &format!(
            "QueueUrl={url}&SendMessageBatchRequestEntry.1.Id=test_msg_001\
             &SendMessageBatchRequestEntry.1.MessageBody=test%20message%20body%201\
             &SendMessageBatchRequestEntry.2.Id=test_msg_002\
             &SendMessageBatchRequestEntry.2.MessageBody=test%20message%20body%202\
             &SendMessageBatchRequestEntry.2.DelaySeconds=901"
        ),
        json!({
            "Successful": [
                {"Id": "test_msg_001", "MessageId": "UUID", "MD5OfMessageBody": "0e024d309850c78cba5eabbeff7cae71"}
            ],
            "Failed": [{
                "Id": "test_msg_002", "SenderFault": true, "Code": "InvalidParameterValue",
                "Message": "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
            }],
        }),
        "<SendMessageBatchResult><SendMessageBatchResultEntry><Id>test_msg_001</Id><MessageId>UUID</MessageId>\
         <MD5OfMessageBody>0e024d309850c78cba5eabbeff7cae71</MD5OfMessageBody></SendMessageBatchResultEntry>\
         <BatchResultErrorEntry><Id>test_msg_002</Id><SenderFault>true</SenderFault><Code>InvalidParameterValue</Code>\
         <Message>Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be &gt;= 0 and &lt;= 900.</Message>\
         </BatchResultErrorEntry></SendMessageBatchResult>",
    )
    .await;
    let messages = node.receive(&url).await;
    let receipts: Vec<&str> = messages.iter().map(|message| message["ReceiptHandle"].as_str().unwrap()).collect();
    assert_eq!(receipts.len(), 2, "one for each protocol");
    let escaped: Vec<String> =
        receipts.iter().map(|receipt| form_urlencoded::byte_serialize(receipt.as_bytes()).collect()).collect();
    for (action, more_json, more_form) in [
        ("ChangeMessageVisibilityBatch", json!(45), "&{}.1.VisibilityTimeout=45&{}.2.VisibilityTimeout=45"),
        ("DeleteMessageBatch", Value::Null, ""),
    ] {
        let entry = format!("{action}RequestEntry");
        let entries: Value = receipts
            .iter()
            .enumerate()
            .map(|(n, receipt)| match &more_json {
                Value::Null => json!({"Id": format!("m{n}"), "ReceiptHandle": receipt}),
                timeout => json!({"Id": format!("m{n}"), "ReceiptHandle": receipt, "VisibilityTimeout": timeout}),
            })
            .collect();
        both(
            &node,
            action,
            json!({"QueueUrl": url, "Entries": entries}),
            &format!(
                "QueueUrl={url}&{entry}.1.Id=m0&{entry}.1.ReceiptHandle={}&{entry}.2.Id=m1&{entry}.2.ReceiptHandle={}{}",
                escaped[0],
                escaped[1],
                more_form.replace("{}", &entry)
            ),
            json!({"Successful": [{"Id": "m0"}, {"Id": "m1"}]}),
            &format!(
                "<{action}Result><{action}ResultEntry><Id>m0</Id></{action}ResultEntry>\
                 <{action}ResultEntry><Id>m1</Id></{action}ResultEntry></{action}Result>"
            ),
        )
        .await;
    }
}

#[tokio::test]
async fn failures_have_both_spellings() {
    let node = Node::new().await;
    let url = format!("{URL}/none");
    let answer = node.json("PurgeQueue", json!({"QueueUrl": url})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.query_error.as_deref(), Some("AWS.SimpleQueueService.NonExistentQueue;Sender"));
    assert_eq!(
        answer.json(),
        json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "The specified queue does not exist."})
    );
    let answer = node.query(&format!("Action=PurgeQueue&QueueUrl={url}")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.query_error, None);
    assert_eq!(answer.element("RequestId"), answer.request_id);
    assert_eq!(
        golden(&answer.text),
        format!(
            "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type>\
             <Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>The specified queue does not exist.</Message><Detail/>\
             </Error><RequestId>UUID</RequestId></ErrorResponse>"
        )
    );
}
