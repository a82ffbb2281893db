use proptest::prelude::*;

use super::*;

const IDS: [&str; 4] = ["10", "11", "12", "13"];

fn failures_of(payload: &str) -> Failures {
    batch_response(payload.as_bytes(), &IDS, &[]).unwrap().failures
}

fn records_of(payload: &str, outputs: &[&str]) -> Result<Vec<Vec<String>>, String> {
    use std::error::Error;
    match batch_response(payload.as_bytes(), &IDS, outputs) {
        Ok(outcome) => {
            Ok(outcome.outputs.iter().map(|records| records.iter().map(|raw| raw.get().to_owned()).collect()).collect())
        }
        Err(error) => Err(error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))),
    }
}

#[test]
fn documented_successes_succeed() {
    let successes = [
        "",
        " \n",
        "null",
        "{}",
        r#"{"batchItemFailures":[]}"#,
        r#"{"batchItemFailures":null}"#,
        r#"{"statusCode":200}"#,
        r#""ok""#,
        "[1]",
        "17",
    ];
    for payload in successes {
        assert_eq!(failures_of(payload), Failures::None, "{payload}");
    }
}

#[test]
fn documented_failures_fail_the_whole_batch() {
    let unknown = |found: &str| WholeBatch::UnknownIdentifier { place: 0, found: found.to_owned() };
    let cases = [
        (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, WholeBatch::BadIdentifier { place: 0 }),
        (
            r#"{"batchItemFailures":[{"itemIdentifier":"10"},{"itemIdentifier":null}]}"#,
            WholeBatch::BadIdentifier { place: 1 },
        ),
        (r#"{"batchItemFailures":[{"itemIdentifier":10}]}"#, WholeBatch::BadIdentifier { place: 0 }),
        (r#"{"batchItemFailures":[{"id":"10"}]}"#, WholeBatch::NoIdentifier { place: 0 }),
        (r#"{"batchItemFailures":[{"ItemIdentifier":"10"}]}"#, WholeBatch::NoIdentifier { place: 0 }),
        (r#"{"batchItemFailures":["10"]}"#, WholeBatch::NoIdentifier { place: 0 }),
        (r#"{"batchItemFailures":[null]}"#, WholeBatch::NoIdentifier { place: 0 }),
        (r#"{"batchItemFailures":{"itemIdentifier":"10"}}"#, WholeBatch::NotAList),
        (r#"{"batchItemFailures":"10"}"#, WholeBatch::NotAList),
        (r#"{"batchItemFailures":[{"itemIdentifier":"14"}]}"#, unknown("14")),
        (r#"{"batchItemFailures":[{"itemIdentifier":"010"}]}"#, unknown("010")),
    ];
    for (payload, wanted) in cases {
        let found = failures_of(payload);
        assert_eq!(found, Failures::Batch(wanted), "{payload}");
        assert_eq!(found.first(), Some(0));
        assert!(IDS.iter().enumerate().all(|(place, _)| found.contains(place)));
    }
}

#[test]
fn failed_items_are_places_and_the_lowest_is_the_streams_checkpoint() {
    let payload = r#"{ "batchItemFailures": [ {"itemIdentifier": "13"}, {"itemIdentifier": "\u0031\u0031", "why": []}, {"itemIdentifier": "13"} ], "x": 1 }"#;
    let found = failures_of(payload);
    assert_eq!(found, Failures::Items(vec![1, 3]));
    assert_eq!(found.first(), Some(1));
    assert_eq!([0, 1, 2, 3].map(|place| found.contains(place)), [false, true, false, true]);
}

#[test]
fn three_forms_give_records_as_they_were_written() {
    let only = vec![vec!["{ \"a\" : 1.0 }".to_owned(), "\"\\u00e9\"".to_owned()]];
    assert_eq!(records_of(r#"[{ "a" : 1.0 }, "\u00e9"]"#, &["scores"]), Ok(only.clone()));
    assert_eq!(
        records_of(r#"{"batchItemFailures":[],"records":[{ "a" : 1.0 },"\u00e9"]}"#, &["scores"]),
        Ok(only.clone())
    );
    assert_eq!(records_of(r#"{"outputs":{"scores":[{ "a" : 1.0 },"\u00e9"]}}"#, &["scores"]), Ok(only));
    let named = r#"{"outputs":{"b":[2],"a":[1,3]}}"#;
    assert_eq!(records_of(named, &["a", "b", "c"]).unwrap(), [vec!["1", "3"], vec!["2"], vec![]]);
}

#[test]
fn nothing_to_write_is_no_error() {
    for payload in [
        "",
        "null",
        "{}",
        "[]",
        r#"{"batchItemFailures":[]}"#,
        r#"{"records":null}"#,
        r#"{"outputs":null}"#,
        r#"{"outputs":{"a":null}}"#,
    ] {
        assert_eq!(records_of(payload, &["a"]), Ok(vec![vec![]]), "{payload}");
    }
}

#[test]
fn answer_that_is_no_records_is_an_error_where_outputs_are_wanted() {
    let cases = [
        (
            r#"{"statusCode":200}"#,
            "another object, and no records for `a`: return a list of records, or {\"records\": [...]}, or {\"outputs\"",
        ),
        ("17", "the response is a number"),
        (r#""ok""#, "the response is a string"),
        ("true", "the response is a boolean"),
        (r#"{"records":{"a":1}}"#, "`records` is an object: write a list"),
        (r#"{"outputs":{"a":1}}"#, "`outputs.a` is a number: write a list"),
        (r#"{"outputs":[1]}"#, "expected an object"),
        (r#"{"outputs":{"A":[1]}}"#, "did you mean `a`?"),
        (r#"{"outputs":{"a":[1],"a":[2]}}"#, "the key `a` comes twice"),
        (r#"{"records":[1],"records":[2]}"#, "the key `records` comes twice"),
        (r#"{"records":[1],"outputs":{"a":[1]}}"#, "both `records` and `outputs`"),
    ];
    for (payload, wanted) in cases {
        let message = records_of(payload, &["a"]).unwrap_err();
        assert!(message.contains(wanted), "{payload}: {message}");
    }
    let message = records_of("[1]", &["a", "b"]).unwrap_err();
    assert!(message.contains("for which of `a`, `b`"), "{message}");
}

#[test]
fn failed_batch_writes_nothing() {
    let payload = r#"{"batchItemFailures":[{"itemIdentifier":""}],"records":[1]}"#;
    let outcome = batch_response(payload.as_bytes(), &IDS, &["a"]).unwrap();
    assert!(matches!(outcome.failures, Failures::Batch(_)));
    assert!(outcome.outputs[0].is_empty());
}

#[test]
fn numbers_that_json_does_not_have_are_named() {
    let message = records_of(r#"[{"note":"NaN","x":NaN}]"#, &["a"]).unwrap_err();
    assert!(message.contains("`NaN` at byte 19"), "{message}");
    let message = records_of(r#"{"records":[-Infinity]}"#, &[]).unwrap_err();
    assert!(message.contains("`-Infinity` at byte 12"), "{message}");
    let message = records_of("{\"records\":[1,]}", &[]).unwrap_err();
    assert!(message.contains("line 1 column"), "{message}");
}

#[test]
fn answers_are_bounded() {
    let large = vec![b' '; RESPONSE_BYTES_MAX + 1];
    assert!(matches!(batch_response(&large, &[], &[]), Err(BatchResponseError::TooLarge { .. })));
    let list = |records: usize| format!("[1{}]", ",1".repeat(records - 1));
    assert_eq!(records_of(&list(OUTPUT_RECORDS_MAX), &["a"]).unwrap()[0].len(), OUTPUT_RECORDS_MAX);
    assert!(records_of(&list(OUTPUT_RECORDS_MAX + 1), &["a"]).unwrap_err().contains("more than 100000"));
    let split = format!("{{\"outputs\":{{\"a\":{},\"b\":{}}}}}", list(OUTPUT_RECORDS_MAX), list(1));
    assert!(records_of(&split, &["a", "b"]).unwrap_err().contains("more than 100000"));
    let deep = format!("[{}{}]", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(records_of(&deep, &["a"]).unwrap()[0].len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_an_outcome_or_an_error(payload in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
        if let Ok(outcome) = batch_response(&payload, &IDS, &["a"]) {
            prop_assert_eq!(outcome.outputs.len(), 1);
        }
    }

    #[test]
    fn failed_items_are_exactly_those_named(
        ids in proptest::collection::hash_set(".{1,8}", 1..20),
        failed in proptest::collection::vec(proptest::bool::ANY, 20),
    ) {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let named: Vec<_> = ids.iter().zip(&failed).filter(|(_, failed)| **failed)
            .map(|(id, _)| serde_json::json!({"itemIdentifier": id})).collect();
        let payload = serde_json::json!({"batchItemFailures": named}).to_string();
        let outcome = batch_response(payload.as_bytes(), &ids, &[]).unwrap();
        for (place, failed) in failed.iter().take(ids.len()).enumerate() {
            prop_assert_eq!(outcome.failures.contains(place), *failed);
        }
        prop_assert_eq!(outcome.failures.first(), (0..ids.len()).find(|place| failed[*place]));
    }
}
