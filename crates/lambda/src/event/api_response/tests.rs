use proptest::prelude::*;

use super::*;

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn refused(payload: &str) -> String {
    use std::error::Error;
    let error = api_response(payload.as_bytes()).unwrap_err();
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[test]
fn documented_inferences_hold() {
    let cases = [
        (r#""Hello from Lambda!""#, "Hello from Lambda!"),
        (r#"{ "message": "Hello from Lambda!" }"#, r#"{ "message": "Hello from Lambda!" }"#),
        ("[1, 2]", "[1, 2]"),
        ("17", "17"),
        ("null", "null"),
        ("  ", ""),
        (r#"{"headers":5,"body":{}}"#, r#"{"headers":5,"body":{}}"#),
        (r#"{"statusCode":null}"#, r#"{"statusCode":null}"#),
    ];
    for (payload, body) in cases {
        let found = api_response(payload.as_bytes()).unwrap();
        let wanted = ApiResponse {
            status: 200,
            headers: vec![header("content-type", "application/json")],
            cookies: vec![],
            body: body.as_bytes().to_vec(),
        };
        assert_eq!(found, wanted, "{payload}");
    }
}

#[test]
fn described_response_is_sent_as_described() {
    let payload = r#"{
        "cookies": ["a=1", "b=2"],
        "isBase64Encoded": true,
        "statusCode": 201,
        "headers": {"Content-Type": "text/plain", "X-Count": 3, "X-None": null, "Set-Cookie": "c=3", "X-Both": "single"},
        "multiValueHeaders": {"x-both": ["one", "two"], "X-Flag": [true]},
        "body": "//4="
    }"#;
    let found = api_response(payload.as_bytes()).unwrap();
    assert_eq!(found.status, 201);
    let headers =
        [("content-type", "text/plain"), ("x-count", "3"), ("x-flag", "true"), ("x-both", "one"), ("x-both", "two")];
    assert_eq!(found.headers, headers.map(|(name, value)| header(name, value)));
    assert_eq!(found.cookies, ["a=1", "b=2", "c=3"]);
    assert_eq!(found.body, [0xff, 0xfe]);

    let found = api_response(br#"{"statusCode":"204","headers":null,"body":null}"#).unwrap();
    assert_eq!((found.status, found.body.len()), (204, 0));
}

#[test]
fn what_http_does_not_have_is_refused_with_its_place() {
    let cases = [
        (r#"{"statusCode":99}"#, "`statusCode` is 99"),
        (r#"{"statusCode":"ok"}"#, "write a whole number from 100 to 599"),
        (r#"{"statusCode":200.5}"#, "`statusCode` is 200.5"),
        (r#"{"statusCode":200,"body":{"a":1}}"#, r#"`body` is {"a":1}: write a string"#),
        (r#"{"statusCode":200,"isBase64Encoded":true,"body":"!"}"#, "is not base64"),
        (r#"{"statusCode":200,"headers":{"a":{}}}"#, "`headers` is"),
        (r#"{"statusCode":200,"headers":{"x":"a\r\nset-cookie: b"}}"#, "the header `x` can't be sent"),
        (r#"{"statusCode":200,"headers":{"x y":"a"}}"#, "the header `x y` can't be sent"),
        (r#"{"statusCode":200,"cookies":["a\nb"]}"#, "the header `set-cookie` can't be sent"),
        (r#"{"statusCode":200,"body":NaN}"#, "`NaN` at byte 25 is not JSON"),
        ("<html>", "the response is not JSON"),
    ];
    for (payload, wanted) in cases {
        let message = refused(payload);
        assert!(message.contains(wanted), "{payload}: {message}");
    }
    let large = vec![b' '; RESPONSE_BYTES_MAX + 1];
    assert!(matches!(api_response(&large), Err(ApiResponseError::TooLarge { .. })));
    assert!(matches!(api_response(&[0xff]), Err(ApiResponseError::NotJson(NotJson::Utf8 { at: 0 }))));
}

proptest! {
    #[test]
    fn any_string_is_its_own_body(text in ".{0,40}") {
        let payload = serde_json::to_vec(&text).unwrap();
        prop_assert_eq!(api_response(&payload).unwrap().body, text.into_bytes());
    }

    #[test]
    fn nothing_that_could_split_a_response_gets_through(name in "[ -~\\r\\n]{0,6}", value in "[ -~\\r\\n\\x00]{0,10}") {
        let payload = serde_json::json!({"statusCode": 200, "headers": {name: value}}).to_string();
        if let Ok(response) = api_response(payload.as_bytes()) {
            for (name, value) in response.headers {
                let text = name.clone() + &value;
                prop_assert!(!text.contains(['\r', '\n', '\0']));
                prop_assert!(!name.contains([' ', ':']));
            }
        }
    }
}
