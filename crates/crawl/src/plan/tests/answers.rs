//! What counts as data, and what becomes of all else.

use weir_budget::Outcome;

use super::*;
use crate::spec::{Action, ResponseAction};
use crate::{Method, TransportError};

/// An answer's headers, as tables have them.
type Headers = &'static [(&'static str, &'static str)];

fn verdict(read: &Read) -> String {
    match read {
        Read::Data(page) => format!("data {}", page.items.len()),
        Read::Ignored { status } => format!("ignored {status}"),
        Read::Retry(failure) => format!("retry: {failure}"),
        Read::Throttled(failure) => format!("throttled: {failure}"),
        Read::Dead(failure) => format!("dead: {failure}"),
    }
}

fn judged(resource: Resource, answer: &Answer) -> String {
    let plan = plan_of(vec![resource]);
    verdict(&plan.read(&root(&plan), &run(), answer))
}

fn selecting() -> Resource {
    Resource {
        data_selector: Some("items".to_owned()),
        paginator: Some(Paginator::SinglePage),
        ..Resource::new("a", "/a")
    }
}

#[test]
fn statuses_mean_what_http_says() {
    let ok = br#"{"items": [1]}"#;
    let table: [(u16, Headers, &str); 25] = [
        (200, &[], "data 1"),
        (201, &[], "data 1"),
        (202, &[], "retry: status 202"),
        (204, &[], "data 0"),
        (206, &[], "data 1"),
        (301, &[], "dead: status 301"),
        (302, &[("location", "https://sso.example/")], "dead: status 302: it leads to `https://sso.example/`, and"),
        (400, &[], "dead: status 400"),
        (401, &[], "dead: status 401"),
        (403, &[], "dead: status 403"),
        (403, &[("Retry-After", "5")], "throttled: status 403"),
        (403, &[("x-ratelimit-remaining", "0")], "throttled: status 403"),
        (403, &[("x-ratelimit-remaining", "10")], "dead: status 403"),
        (404, &[], "dead: status 404"),
        (408, &[], "retry: status 408"),
        (410, &[], "dead: status 410"),
        (422, &[], "dead: status 422"),
        (425, &[], "retry: status 425"),
        (429, &[], "throttled: status 429"),
        (500, &[], "retry: status 500"),
        (501, &[], "dead: status 501"),
        (502, &[], "retry: status 502"),
        (503, &[], "retry: status 503"),
        (503, &[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")], "throttled: status 503"),
        (504, &[], "retry: status 504"),
    ];
    for (status, headers, expected) in table {
        let found = judged(selecting(), &raw(status, headers, ok));
        assert!(found.starts_with(expected), "{status}: {found}");
    }
}

#[test]
fn what_is_not_certainly_data_is_a_failure() {
    let table: [(&[u8], &str); 13] = [
        (br#"{"items": []}"#, "data 0"),
        (br#"{"items": null}"#, "data 0"),
        (br#"{"items": {"id": 1}}"#, "data 1"),
        (b"\xef\xbb\xbf{\"items\": [1]}", "data 1"),
        (
            br#"{"items": [1"#,
            "retry: status 200 with a body that is no JSON (it ends in its midst, after 12 bytes): {\"items\": [1",
        ),
        (br#"{"items": [1]} x"#, "retry: status 200 with a body that is no JSON (trailing characters"),
        (b"", "retry: status 200 with a body that is no JSON (it is empty)"),
        (
            b"<html>busy</html>",
            "retry: status 200 with a body that is no JSON (expected value at line 1 column 1): <html>busy",
        ),
        (b"\xff\xfe{}", "retry: status 200 with a body that is no JSON"),
        (
            br#"{"error": "rate limit", "code": 7}"#,
            "retry: `data_selector` `items` finds nothing in the answer, which has `code`, `error`",
        ),
        (br#"{}"#, "retry: `data_selector` `items` finds nothing in the answer, which is an empty object"),
        (br#"[1, 2]"#, "retry: `data_selector` `items` finds nothing in the answer, which is a list of 2"),
        (b"null", "retry: `data_selector` `items` finds nothing in the answer, which is null"),
    ];
    for (body, expected) in table {
        let found = judged(selecting(), &raw(200, &[], body));
        assert!(found.starts_with(expected), "{}: {found}", String::from_utf8_lossy(body));
    }
}

#[test]
fn without_a_selector_items_are_found_or_asked_for() {
    let table = [
        (json!([1, 2]), "data 2"),
        (json!({"id": 1}), "data 1"),
        (json!({"devices": [1, 2, 3]}), "data 3"),
        (json!({"error": "slow down"}), "retry: status 200 with an error as its body"),
        (
            json!({"devices": [], "groups": []}),
            "dead: the items may be in `devices` or `groups`: name one as `data_selector`",
        ),
    ];
    for (body, expected) in table {
        let found = judged(Resource::new("a", "/a"), &answer(&body));
        assert!(found.starts_with(expected), "{body}: {found}");
    }
    // A path that ends in a placeholder is one object, whatever lists are in it.
    let plan = plan_of(vec![Resource::new("list", "/a"), Resource::new("one", "/a/{resources.list.id}")]);
    let list = page(&plan, &root(&plan), &json!([{"id": 1}]));
    let one =
        page(&plan, &list.children[0], &json!({"id": 1, "tags": ["x", "y"], "next": "https://vendor.example/v1/a/2"}));
    assert_eq!(one.items, [json!({"id": 1, "tags": ["x", "y"], "next": "https://vendor.example/v1/a/2"})]);
    assert_eq!(one.next, None);
}

#[test]
fn response_actions_come_first() {
    let action = |status_code, content: Option<&str>, action| ResponseAction {
        status_code,
        content: content.map(str::to_owned),
        action,
    };
    let resource = || Resource {
        response_actions: vec![
            action(Some(200), Some("not yet"), Action::Retry),
            action(None, Some("quota"), Action::Throttle),
            action(Some(404), None, Action::Ignore),
            action(Some(500), Some("broken for good"), Action::Fail),
        ],
        ..selecting()
    };
    let table: [(u16, &[u8], &str); 7] = [
        (200, br#"{"items": [1]}"#, "data 1"),
        (200, br#"{"items": ["not yet"]}"#, "retry: status 200 is `retry` by the resource's `response_action`"),
        (200, br#"{"items": ["quota"]}"#, "throttled: status 200 is `throttle`"),
        (400, b"quota", "throttled: status 400 is `throttle`"),
        (404, b"gone", "ignored 404"),
        (500, b"\xffbroken for good", "dead: status 500 is `fail`"),
        (500, b"broken", "retry: status 500"),
    ];
    for (status, body, expected) in table {
        let found = judged(resource(), &raw(status, &[], body));
        assert!(found.starts_with(expected), "{status}: {found}");
    }
}

#[test]
fn answers_to_head_have_no_body() {
    let resource = Resource { method: Method::Head, ..selecting() };
    assert_eq!(judged(resource, &raw(200, &[], b"")), "data 0");
}

#[test]
fn signals_say_whose_fault_it_was() {
    let plan = plan_of(vec![selecting()]);
    let of = |answer: &Answer| {
        let read = plan.read(&root(&plan), &run(), answer);
        plan.signal(&read, answer, Timestamp(0))
    };
    assert_eq!(of(&answer(&json!({"items": []}))).outcome, Outcome::Answered);
    assert_eq!(of(&raw(404, &[], b"")).outcome, Outcome::Answered);
    assert_eq!(of(&raw(500, &[], b"")).outcome, Outcome::Failed);
    assert_eq!(of(&raw(200, &[], b"<html>")).outcome, Outcome::Failed);
    assert_eq!(of(&answer(&json!({}))).outcome, Outcome::Answered);
    let throttled = of(&raw(429, &[("retry-after", "3")], b""));
    assert_eq!(throttled.outcome, Outcome::Throttled);
    assert_eq!(throttled.retry_after, Some(Duration::from_secs(3)));
    assert_eq!(throttled.latency, Some(Duration::from_millis(5)));

    let cut = TransportError::CutOff { status: 200, bytes: 5, reason: "reset".to_owned() };
    assert!(matches!(plan.failed(&cut), Read::Retry(_)));
    assert_eq!(plan.signal_of_error(&cut).outcome, Outcome::Failed);
    let large = TransportError::TooLarge { status: 200, max: 5 };
    assert!(matches!(plan.failed(&large), Read::Dead(_)));
    let token =
        |passing| TransportError::Token { token_url: "https://id/".into(), reason: "status 503".into(), passing };
    assert_eq!(plan.signal_of_error(&token(true)).outcome, Outcome::Failed);
    assert_eq!(plan.signal_of_error(&token(false)).outcome, Outcome::Unknown);
    assert_eq!(plan.signal_of_error(&large).outcome, Outcome::Answered);
}

#[test]
fn a_vendors_words_can_not_move_the_terminals_cursor() {
    let found = judged(selecting(), &raw(500, &[], "\u{1b}[2J\r\nhello\u{9b}31m".as_bytes()));
    assert!(!found.chars().any(char::is_control), "{found:?}");
    let found = judged(selecting(), &raw(500, &[], "ü".repeat(5000).as_bytes()));
    assert!(found.chars().count() < 250, "{}", found.len());
}
