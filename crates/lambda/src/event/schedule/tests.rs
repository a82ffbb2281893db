use serde_json::{Value, json};

use super::*;

/// From <https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html>.
const DOCUMENTED: &str = r#"{
  "version": "0",
  "account": "123456789012",
  "region": "us-east-2",
  "detail": {},
  "detail-type": "Scheduled Event",
  "source": "aws.events",
  "time": "2019-03-01T01:23:45Z",
  "id": "cdc73f9d-aea9-11e3-9d5a-835b769c0d9c",
  "resources": [
    "arn:aws:events:us-east-2:123456789012:rule/my-schedule"
  ]
}"#;

const SCHEDULED: Scheduled<'_> = Scheduled {
    id: "cdc73f9d-aea9-11e3-9d5a-835b769c0d9c",
    name: "my-schedule",
    time: Timestamp(1_551_403_425_999),
    attempt: 2,
};

#[test]
fn event_is_the_documented_one_with_weirs_names() {
    let documented = DOCUMENTED.replace("us-east-2", "us-east-1").replace("123456789012", "000000000000");
    let wanted: Value = serde_json::from_str(&documented).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&schedule(&SCHEDULED)).unwrap(), wanted);
}

#[test]
fn input_is_the_users_own_with_its_attributes_filled_in() {
    let input = |text: &str| {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        schedule_input(&SCHEDULED, &raw)
    };
    assert_eq!(input(r#"{"a":  [1, "x"]}"#), br#"{"a":  [1, "x"]}"#);
    let filled = input(
        r#"{"at":"<aws.scheduler.scheduled-time>","n":"try <aws.scheduler.attempt-number>","of":"<aws.scheduler.schedule-arn>","id":"<aws.scheduler.execution-id>"}"#,
    );
    let wanted = json!({
        "at": "2019-03-01T01:23:45Z",
        "n": "try 2",
        "of": "arn:aws:events:us-east-1:000000000000:rule/my-schedule",
        "id": SCHEDULED.id,
    });
    assert_eq!(serde_json::from_slice::<Value>(&filled).unwrap(), wanted);
}

#[test]
fn hostile_names_leave_the_input_valid() {
    let scheduled = Scheduled { name: "a\"\\\n", id: "<aws.scheduler.attempt-number>", ..SCHEDULED };
    let raw = RawValue::from_string(r#"["<aws.scheduler.schedule-arn>"]"#.to_owned()).unwrap();
    let filled: Vec<String> = serde_json::from_slice(&schedule_input(&scheduled, &raw)).unwrap();
    assert!(filled[0].ends_with("rule/a\"\\\n"));
    let event: Value = serde_json::from_slice(&schedule(&scheduled)).unwrap();
    assert!(event["resources"][0].as_str().unwrap().ends_with("rule/a\"\\\n"));
}
