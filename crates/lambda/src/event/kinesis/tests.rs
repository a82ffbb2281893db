use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// From <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>.
const DOCUMENTED: &str = r#"{
    "Records": [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": "1",
                "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
                "data": "SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==",
                "approximateArrivalTimestamp": 1545084650.987
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": "shardId-000000000006:49590338271490256608559692538361571095921575989136588898",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
            "awsRegion": "us-east-2",
            "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"
        },
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": "1",
                "sequenceNumber": "49590338271490256608559692540925702759324208523137515618",
                "data": "VGhpcyBpcyBvbmx5IGEgdGVzdC4=",
                "approximateArrivalTimestamp": 1545084711.166
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": "shardId-000000000006:49590338271490256608559692540925702759324208523137515618",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
            "awsRegion": "us-east-2",
            "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"
        }
    ]
}"#;

fn record<'a>(sequence: u64, data: &'a [u8], arrived_at: i64) -> KinesisRecord<'a> {
    let shard = "shardId-000000000006";
    KinesisRecord { shard, sequence, partition_key: "1", arrived_at: Timestamp(arrived_at), data }
}

#[test]
fn event_is_the_documented_one_with_weirs_names_and_numbers() {
    let records = [
        record(18_446_744_073_709_551_615, b"Hello, this is a test.", 1_545_084_650_987),
        record(7, b"This is only a test.", 1_545_084_711_166),
    ];
    let event = kinesis(records, &arn(Service::Kinesis, "lambda-stream"), "lambda-role");
    let documented = DOCUMENTED
        .replace("49590338271490256608559692538361571095921575989136588898", "18446744073709551615")
        .replace("49590338271490256608559692540925702759324208523137515618", "7")
        .replace("us-east-2", "us-east-1")
        .replace("123456789012", "000000000000");
    // No string of it has white space that counts: the bytes are the same as well.
    let compact: String = documented.split_whitespace().collect();
    assert_eq!(String::from_utf8(event).unwrap(), compact);
}

#[test]
fn no_records_are_an_empty_list() {
    assert_eq!(kinesis([], "arn", "score"), br#"{"Records":[]}"#);
}

#[test]
fn ten_thousand_records_are_one_event_of_the_promised_size() {
    let records = || (0..10_000).map(|sequence| record(sequence, b"{\"carrier\":\"UA\"}", 1_545_084_650_987));
    let stream = arn(Service::Kinesis, "flights");
    let event = kinesis(records(), &stream, "score");
    let parsed: Value = serde_json::from_slice(&event).unwrap();
    assert_eq!(parsed["Records"].as_array().unwrap().len(), 10_000);
    let promised: usize = records().map(|record| record.event_bytes(&stream, "score")).sum();
    assert!(event.len() <= promised + 14, "{} > {promised}", event.len());
    assert!(promised < event.len() * 5 / 4, "{promised} is far from {}", event.len());
}

proptest! {
    #[test]
    fn hostile_strings_and_any_bytes_come_through(
        shard in ".{0,20}|[\"\\\\\\x00-\\x1f\u{1f600}]{0,8}",
        key in ".{0,20}|[\"\\\\\\x00-\\x1f\u{1f600}]{0,8}",
        stream in ".{0,20}|[\"\\\\]{0,8}",
        function in ".{0,20}|[\"\\\\]{0,8}",
        data in proptest::collection::vec(proptest::num::u8::ANY, 0..64),
        sequence: u64,
        ms in 0i64..4_000_000_000_000,
    ) {
        use base64::Engine;
        let record = KinesisRecord { shard: &shard, sequence, partition_key: &key, arrived_at: Timestamp(ms), data: &data };
        let event = kinesis([record], &stream, &function);
        prop_assert!(event.len() <= record.event_bytes(&stream, &function) + 14);
        let parsed: Value = serde_json::from_slice(&event).unwrap();
        let found = &parsed["Records"][0];
        prop_assert_eq!(found["kinesis"]["partitionKey"].as_str().unwrap(), key.as_str());
        prop_assert_eq!(found["kinesis"]["sequenceNumber"].as_str().unwrap(), sequence.to_string());
        let decoded = base64::engine::general_purpose::STANDARD.decode(found["kinesis"]["data"].as_str().unwrap());
        prop_assert_eq!(decoded.unwrap(), data.clone());
        let seconds = found["kinesis"]["approximateArrivalTimestamp"].as_f64().unwrap();
        prop_assert_eq!((seconds * 1000.0).round() as i64, ms);
        prop_assert_eq!(found["eventID"].as_str().unwrap(), format!("{shard}:{sequence}"));
        prop_assert_eq!(found["eventSourceARN"].as_str().unwrap(), stream.as_str());
        prop_assert_eq!(found["invokeIdentityArn"].as_str().unwrap(), arn(Service::Iam, &function));
    }
}
