use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Payload format 2.0, from
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>, without
/// what only API Gateway has: client certificates, authorizers, stage variables.
const DOCUMENTED: &str = r#"{
  "version": "2.0",
  "routeKey": "$default",
  "rawPath": "/my/path",
  "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=value",
  "cookies": ["cookie1", "cookie2"],
  "headers": {
    "header1": "value1",
    "header2": "value1,value2"
  },
  "queryStringParameters": {
    "parameter1": "value1,value2",
    "parameter2": "value"
  },
  "requestContext": {
    "accountId": "000000000000",
    "apiId": "api-id",
    "domainName": "id.execute-api.us-east-1.amazonaws.com",
    "domainPrefix": "id",
    "http": {
      "method": "POST",
      "path": "/my/path",
      "protocol": "HTTP/1.1",
      "sourceIp": "192.0.2.1",
      "userAgent": "agent"
    },
    "requestId": "id",
    "routeKey": "$default",
    "stage": "$default",
    "time": "12/Mar/2020:19:03:58 +0000",
    "timeEpoch": 1584039838390
  },
  "body": "Hello from Lambda",
  "pathParameters": {
    "parameter1": "value1"
  },
  "isBase64Encoded": false
}"#;

const HEADERS: [(&str, &[u8]); 6] = [
    ("Host", b"id.execute-api.us-east-1.amazonaws.com:443"),
    ("User-Agent", b"agent"),
    ("Header1", b"value1"),
    ("header2", b"value1"),
    ("Cookie", b"cookie1; cookie2"),
    ("Header2", b"value2"),
];

const REQUEST: ApiRequest<'_> = ApiRequest {
    form: ApiForm::HttpApi { route_key: "$default" },
    api_id: "api-id",
    method: "POST",
    path: "/my/path",
    query: "parameter1=value1&parameter1=value2&parameter2=value",
    protocol: "HTTP/1.1",
    headers: &HEADERS,
    path_parameters: &[("parameter1", "value1")],
    body: b"Hello from Lambda",
    source_ip: "192.0.2.1",
    request_id: "id",
    received_at: Timestamp(1_584_039_838_390),
};

fn event(request: &ApiRequest<'_>) -> Value {
    serde_json::from_slice(&api(request)).unwrap()
}

#[test]
fn event_is_the_documented_one() {
    let mut found = event(&REQUEST);
    let headers = found["headers"].as_object_mut().unwrap();
    assert_eq!(headers.remove("host").unwrap(), "id.execute-api.us-east-1.amazonaws.com:443");
    assert_eq!(headers.remove("user-agent").unwrap(), "agent");
    assert_eq!(found, serde_json::from_str::<Value>(DOCUMENTED).unwrap());
}

#[test]
fn bare_request_to_a_functions_url_leaves_out_what_it_does_not_have() {
    let request = ApiRequest {
        form: ApiForm::FunctionUrl,
        method: "GET",
        query: "",
        headers: &[],
        path_parameters: &[],
        body: b"",
        ..REQUEST
    };
    let found = event(&request);
    for key in ["cookies", "queryStringParameters", "pathParameters", "body"] {
        assert!(found.get(key).is_none(), "{key}");
    }
    assert_eq!(found["headers"], json!({}));
    assert_eq!(found["isBase64Encoded"], false);
    assert_eq!(found["requestContext"]["accountId"], "anonymous");
    assert_eq!(found["requestContext"]["domainName"], "localhost");
    assert_eq!(found["requestContext"]["http"]["userAgent"], "");
}

#[test]
fn body_that_is_not_utf_8_is_in_base64() {
    let found = event(&ApiRequest { body: &[0xff, 0xfe], ..REQUEST });
    assert_eq!((&found["body"], &found["isBase64Encoded"]), (&json!("//4="), &json!(true)));
}

#[test]
fn query_is_decoded_and_never_fails() {
    let found = event(&ApiRequest { query: "a=1%202+3&%C3%A9=%&b&=x&c=%zz%4&a=%FF&&d=a=b", ..REQUEST });
    let wanted = json!({"a": "1 2 3,\u{fffd}", "\u{e9}": "%", "b": "", "": "x", "c": "%zz%4", "d": "a=b"});
    assert_eq!(found["queryStringParameters"], wanted);
}

#[test]
fn hosts_lose_their_port_alone() {
    let cases = [("a.b:80", "a.b"), ("a", "a"), ("[::1]:4566", "[::1]"), ("[::1]", "[::1]"), ("::1", "::1")];
    for (host, wanted) in cases {
        assert_eq!(domain(host), wanted);
    }
}

#[test]
fn header_that_is_not_utf_8_is_latin_1() {
    let found = event(&ApiRequest { headers: &[("X-Name", &[0x4a, 0xfc])], ..REQUEST });
    assert_eq!(found["headers"]["x-name"], "J\u{fc}");
}

proptest! {
    #[test]
    fn hostile_requests_come_through(
        texts in proptest::collection::vec(".{0,20}|[\"\\\\\\x00-\\x1f\u{1f600}]{0,12}", 5),
        value in proptest::collection::vec(proptest::num::u8::ANY, 0..20),
        body in proptest::collection::vec(proptest::num::u8::ANY, 0..40),
    ) {
        use base64::Engine;
        let headers = [(texts[0].as_str(), value.as_slice())];
        let parameters = [(texts[3].as_str(), texts[4].as_str())];
        let request = ApiRequest {
            path: &texts[1],
            query: &texts[2],
            headers: &headers,
            path_parameters: &parameters,
            body: &body,
            ..REQUEST
        };
        let found = event(&request);
        prop_assert_eq!(found["rawPath"].as_str().unwrap(), &texts[1]);
        prop_assert_eq!(found["rawQueryString"].as_str().unwrap(), &texts[2]);
        prop_assert_eq!(found["pathParameters"][&texts[3]].as_str().unwrap(), &texts[4]);
        let text = found["body"].as_str().unwrap_or("");
        let bytes = match found["isBase64Encoded"].as_bool().unwrap() {
            true => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
            false => text.as_bytes().to_vec(),
        };
        prop_assert_eq!(bytes, body);
    }
}
