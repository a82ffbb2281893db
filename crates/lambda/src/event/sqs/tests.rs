use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::arn::{Service, arn};
use super::*;

/// From <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>: a standard queue's message and a FIFO queue's.
const DOCUMENTED: &str = r#"{
    "Records": [
        {
            "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
            "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
            "body": "Test message.",
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1545082649183",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1545082649185"
            },
            "messageAttributes": {
                "myAttribute": {
                    "stringValue": "myValue",
                    "stringListValues": [],
                    "binaryListValues": [],
                    "dataType": "String"
                }
            },
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
            "awsRegion": "us-east-2"
        },
        {
            "messageId": "11d6ee51-4cc7-4302-9e22-7cd8afdaadf5",
            "receiptHandle": "AQEBBX8nesZEXmkhsmZeyIE8iQAMig7qw...",
            "body": "Test message.",
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1573251510774",
                "SequenceNumber": "18849496460467696128",
                "MessageGroupId": "1",
                "SenderId": "AIDAIO23YVJENQZJOL4VO",
                "MessageDeduplicationId": "1",
                "ApproximateFirstReceiveTimestamp": "1573251510774"
            },
            "messageAttributes": {},
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
            "awsRegion": "us-east-2"
        }
    ]
}"#;

fn standard<'a>(attributes: &'a [SqsAttribute<'a>]) -> SqsMessage<'a> {
    SqsMessage {
        message_id: "059f36b4-87a3-44ab-83d2-661975830a7d",
        receipt_handle: "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
        body: "Test message.",
        md5_of_body: "e4e68fb7bd0e697a0ae8f1bb342846b3",
        md5_of_message_attributes: None,
        receive_count: 1,
        sent_at: Timestamp(1_545_082_649_183),
        first_received_at: Timestamp(1_545_082_649_185),
        sender_id: "AIDAIENQZJOLO23YVJ4VO",
        group_id: None,
        sequence_number: None,
        deduplication_id: None,
        trace_header: None,
        dead_letter_source_arn: None,
        attributes,
    }
}

#[test]
fn event_is_the_documented_one_with_weirs_names() {
    let attribute = SqsAttribute { name: "myAttribute", data_type: "String", value: SqsValue::Text("myValue") };
    let attributes = [attribute];
    let fifo = SqsMessage {
        message_id: "11d6ee51-4cc7-4302-9e22-7cd8afdaadf5",
        receipt_handle: "AQEBBX8nesZEXmkhsmZeyIE8iQAMig7qw...",
        sent_at: Timestamp(1_573_251_510_774),
        first_received_at: Timestamp(1_573_251_510_774),
        sender_id: "AIDAIO23YVJENQZJOL4VO",
        group_id: Some("1"),
        sequence_number: Some("18849496460467696128"),
        deduplication_id: Some("1"),
        ..standard(&[])
    };
    let event = sqs([standard(&attributes), fifo], &arn(Service::Sqs, "my-queue"));
    let documented = DOCUMENTED.replace("us-east-2", "us-east-1").replace("123456789012", "000000000000");
    let wanted: Value = serde_json::from_str(&documented).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&event).unwrap(), wanted);
}

#[test]
fn dead_letter_with_a_trace_and_a_binary_attribute_says_so() {
    let attributes = [SqsAttribute { name: "raw", data_type: "Binary.gzip", value: SqsValue::Binary(&[0xff, 0x00]) }];
    let message = SqsMessage {
        trace_header: Some("Root=1-5e1b4151-5ac6c58239c1e5b4"),
        dead_letter_source_arn: Some("arn:aws:sqs:us-east-1:000000000000:orders"),
        md5_of_message_attributes: Some("00484c68"),
        ..standard(&attributes)
    };
    let event: Value = serde_json::from_slice(&sqs([message], "arn")).unwrap();
    let found = &event["Records"][0];
    assert_eq!(found["attributes"]["AWSTraceHeader"], "Root=1-5e1b4151-5ac6c58239c1e5b4");
    assert_eq!(found["attributes"]["DeadLetterQueueSourceArn"], "arn:aws:sqs:us-east-1:000000000000:orders");
    assert_eq!(found["md5OfMessageAttributes"], "00484c68");
    let binary =
        json!({"binaryValue": "/wA=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary.gzip"});
    assert_eq!(found["messageAttributes"]["raw"], binary);
}

proptest! {
    #[test]
    fn hostile_strings_come_through_within_the_promised_size(
        texts in proptest::collection::vec(".{0,20}|[\"\\\\\\x00-\\x1f\u{1f600}]{0,12}", 13),
        optional: bool,
        receive_count: u32,
    ) {
        let text = |at: usize| texts[at].as_str();
        let maybe = |at: usize| optional.then(|| text(at));
        let attributes = [SqsAttribute { name: text(10), data_type: text(11), value: SqsValue::Text(text(12)) }];
        let message = SqsMessage {
            message_id: text(0),
            receipt_handle: text(1),
            body: text(2),
            md5_of_body: text(3),
            md5_of_message_attributes: maybe(4),
            receive_count,
            sender_id: text(5),
            group_id: maybe(6),
            sequence_number: maybe(7),
            deduplication_id: maybe(8),
            trace_header: maybe(9),
            dead_letter_source_arn: maybe(10),
            ..standard(&attributes)
        };
        let event = sqs([message], text(0));
        prop_assert!(event.len() <= message.event_bytes(text(0)) + 14);
        let parsed: Value = serde_json::from_slice(&event).unwrap();
        let found = &parsed["Records"][0];
        prop_assert_eq!(found["messageId"].as_str(), Some(text(0)));
        prop_assert_eq!(found["receiptHandle"].as_str(), Some(text(1)));
        prop_assert_eq!(found["body"].as_str(), Some(text(2)));
        prop_assert_eq!(found["md5OfBody"].as_str(), Some(text(3)));
        prop_assert_eq!(found["md5OfMessageAttributes"].as_str(), maybe(4));
        prop_assert_eq!(found["attributes"]["ApproximateReceiveCount"].as_str().unwrap(), receive_count.to_string());
        prop_assert_eq!(found["attributes"]["SenderId"].as_str(), Some(text(5)));
        prop_assert_eq!(found["attributes"]["MessageGroupId"].as_str(), maybe(6));
        prop_assert_eq!(found["attributes"]["SequenceNumber"].as_str(), maybe(7));
        prop_assert_eq!(found["attributes"]["MessageDeduplicationId"].as_str(), maybe(8));
        prop_assert_eq!(found["attributes"]["AWSTraceHeader"].as_str(), maybe(9));
        prop_assert_eq!(found["attributes"]["DeadLetterQueueSourceArn"].as_str(), maybe(10));
        let attribute = &found["messageAttributes"][text(10)];
        prop_assert_eq!(attribute["dataType"].as_str(), Some(text(11)));
        prop_assert_eq!(attribute["stringValue"].as_str(), Some(text(12)));
        prop_assert_eq!(found["eventSourceARN"].as_str(), Some(text(0)));
    }
}
