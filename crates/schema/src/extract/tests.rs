//! Tests of finding fields and event times.

use super::*;
use crate::JsonEncoder;

const SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "list", "type": {"type": "array", "items": "int"}},
    {"name": "key", "type": ["null", "string"]},
    {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "ms", "type": "long"}]}"#;

fn record(json: &str) -> (Schema, Vec<u8>) {
    let schema = Schema::parse(SCHEMA).unwrap();
    let mut out = Vec::new();
    JsonEncoder::new(&schema).encode(json.as_bytes(), &mut out).unwrap();
    (schema, out)
}

#[test]
fn ranges_are_the_fields_encodings_in_the_asked_order() {
    let (schema, record) = record(r#"{"list": [1, 2], "key": "ab", "at": null, "day": 1, "ms": 5}"#);
    let extractor = Extractor::new(&schema, &["at", "key", "list", "key"]).unwrap();
    let mut ranges = vec![1..2, 3..4];
    extractor.ranges(&record, &mut ranges).unwrap();
    let found: Vec<&[u8]> = ranges.into_iter().map(|range| &record[range]).collect();
    assert_eq!(found, [&[0][..], &[2, 4, b'a', b'b'], &[4, 2, 4, 0], &[2, 4, b'a', b'b']]);
    assert_eq!(extractor.ranges(&record[..5], &mut Vec::new()).unwrap_err().field, "key");
    let none = Extractor::new(&schema, &[]).unwrap();
    assert_eq!(none.event_time(&record), None);
}

#[test]
fn event_times_of_every_kind() {
    let (schema, record) = record(r#"{"list": [], "key": null, "at": -1, "day": "1970-01-03", "ms": 7}"#);
    let time = |field| Extractor::new(&schema, &[]).unwrap().with_event_time(field).unwrap().event_time(&record);
    assert_eq!(time("at"), Some(Timestamp(-1)));
    assert_eq!(time("day"), Some(Timestamp(2 * 86_400_000)));
    assert_eq!(time("ms"), Some(Timestamp(7)));
    let extractor = Extractor::new(&schema, &[]).unwrap().with_event_time("at").unwrap();
    assert_eq!(extractor.event_time(&[0, 0, 0]), None, "null");
    assert_eq!(extractor.event_time(&[0, 0]), None, "cut off");
}

#[test]
fn fields_that_do_not_serve_are_named() {
    let schema = Schema::parse(SCHEMA).unwrap();
    let error = Extractor::new(&schema, &["kye"]).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.hint.as_deref()),
        ("the schema has no field `kye`", Some("did you mean `key`?"))
    );
    let error = Extractor::new(&schema, &[]).unwrap().with_event_time("key").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the schema has no field `key` that holds times (a timestamp, a date, or a long of milliseconds)"
    );
    assert_eq!(error.hint.as_deref(), Some("`key` is a union"));
}
