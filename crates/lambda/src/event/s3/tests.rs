use serde_json::Value;

use super::*;

/// From <https://docs.aws.amazon.com/lambda/latest/dg/with-s3.html>.
const DOCUMENTED: &str = r#"{
  "Records": [
    {
      "eventVersion": "2.1",
      "eventSource": "aws:s3",
      "awsRegion": "us-east-2",
      "eventTime": "2019-09-03T19:37:27.192Z",
      "eventName": "ObjectCreated:Put",
      "userIdentity": {
        "principalId": "AWS:AIDAINPONIXQXHT3IKHL2"
      },
      "requestParameters": {
        "sourceIPAddress": "205.255.255.255"
      },
      "responseElements": {
        "x-amz-request-id": "D82B88E5F771F645",
        "x-amz-id-2": "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo="
      },
      "s3": {
        "s3SchemaVersion": "1.0",
        "configurationId": "828aa6fc-f7b5-4305-8584-487c791949c1",
        "bucket": {
          "name": "amzn-s3-demo-bucket",
          "ownerIdentity": {
            "principalId": "A3I5XTEXAMAI3E"
          },
          "arn": "arn:aws:s3:::amzn-s3-demo-bucket"
        },
        "object": {
          "key": "b21b84d653bb07b05b1e6b33684dc11b",
          "size": 1305107,
          "eTag": "b21b84d653bb07b05b1e6b33684dc11b",
          "sequencer": "0C0F6F405D6ED209E1"
        }
      }
    }
  ]
}"#;

fn object(key: &str) -> S3Object<'_> {
    S3Object {
        bucket: "amzn-s3-demo-bucket",
        key,
        bytes: 1_305_107,
        etag: "b21b84d653bb07b05b1e6b33684dc11b",
        version_id: None,
        sequencer: "0C0F6F405D6ED209E1",
        created_at: Timestamp(1_567_539_447_192),
        trigger: "828aa6fc-f7b5-4305-8584-487c791949c1",
        request_id: "D82B88E5F771F645",
    }
}

#[test]
fn event_is_the_documented_one_with_weirs_names() {
    let documented = DOCUMENTED
        .replace("us-east-2", "us-east-1")
        .replace("AIDAINPONIXQXHT3IKHL2", "000000000000")
        .replace("A3I5XTEXAMAI3E", "000000000000")
        .replace("205.255.255.255", "127.0.0.1")
        .replace("vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo=", "D82B88E5F771F645");
    let compact: String = documented.split_whitespace().collect();
    let event = s3([object("b21b84d653bb07b05b1e6b33684dc11b")]);
    assert_eq!(String::from_utf8(event).unwrap(), compact);
}

#[test]
fn keys_are_encoded_as_form_values() {
    assert_eq!(encode_key("images/red flower (1).jpg"), "images/red+flower+%281%29.jpg");
    assert_eq!(encode_key("a+b&c=d\u{e9}\u{1f600}\"\n%"), "a%2Bb%26c%3Dd%C3%A9%F0%9F%98%80%22%0A%25");
}

#[test]
fn several_objects_and_versions_are_told() {
    let event = s3([object("a"), S3Object { version_id: Some("v\"1"), ..object("b") }]);
    let event: Value = serde_json::from_slice(&event).unwrap();
    assert_eq!(event["Records"][1]["s3"]["object"]["versionId"], "v\"1");
    assert!(event["Records"][0]["s3"]["object"].get("versionId").is_none());
}
