//! Which requests are SQS's, and which protocol they speak.

use axum::http::Request;
use serde_json::Value;

use super::*;
use crate::action::Action;
use crate::error::ErrorCode;

fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

const FORM_TYPE: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");

#[test]
fn the_port_is_shared_and_sqs_takes_its_own_requests_alone() {
    let signed = |service: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        )
    };
    for (method, uri, headers, is_sqs) in [
        ("POST", "/", vec![("x-amz-target", "AmazonSQS.SendMessage")], true),
        ("POST", "/", vec![("x-amz-target", "Kinesis_20131202.PutRecord")], false),
        ("POST", "/", vec![FORM_TYPE], true),
        ("POST", "/", vec![FORM_TYPE, ("authorization", &signed("sqs"))], true),
        ("POST", "/", vec![FORM_TYPE, ("authorization", &signed("sns"))], false),
        ("POST", "/", vec![("content-type", "application/json")], false),
        ("GET", "/?Action=ListQueues", vec![], true),
        ("GET", "/?Action=ListTopics&X-Amz-Credential=A%2F20260101%2Fus-east-1%2Fsns%2Faws4_request", vec![], false),
        ("GET", "/", vec![], false),
        ("POST", "/000000000000/orders", vec![FORM_TYPE], true),
        ("GET", "/000000000000/orders?Action=ReceiveMessage", vec![], true),
        ("PUT", "/000000000000/orders", vec![], false),
        ("POST", "/streams/orders", vec![FORM_TYPE], false),
        ("POST", "/2015-03-31/functions", vec![], false),
        ("POST", "/000000000000/orders/more", vec![], false),
    ] {
        assert_eq!(speaks(&head(method, uri, &headers)), is_sqs, "{method} {uri} {headers:?}");
    }
}

#[test]
fn a_form_in_the_body_and_one_in_the_query_are_the_same() {
    let parse = |uri: &str, body: &'static str| Call::parse(&head("POST", uri, &[FORM_TYPE]), body.into()).unwrap();
    for call in [
        parse("/000000000000/orders", "Action=DeleteQueue&Version=2012-11-05"),
        parse("/000000000000/orders?Action=DeleteQueue", ""),
        parse("/", "Action=DeleteQueue&QueueUrl=%2F000000000000%2Forders"),
    ] {
        assert_eq!(call.action, Action::DeleteQueue);
        assert_eq!(call.input::<Value>().unwrap(), serde_json::json!({"QueueUrl": "/000000000000/orders"}));
    }
    let call = parse("/000000000000/orders", "Action=ListQueues");
    assert_eq!(call.input::<Value>().unwrap(), serde_json::json!({}), "ListQueues is about no queue");
}

#[test]
fn a_request_without_an_action_or_with_another_services_is_told_so() {
    let code = |head: Parts| Call::parse(&head, Default::default()).unwrap_err().code;
    assert_eq!(code(head("POST", "/", &[FORM_TYPE])), ErrorCode::MissingAction);
    assert_eq!(code(head("POST", "/?Action=Publish", &[FORM_TYPE])), ErrorCode::InvalidAction);
    assert_eq!(code(head("POST", "/", &[("x-amz-target", "AmazonSQS.Publish")])), ErrorCode::InvalidAction);
}

#[test]
fn a_parameter_that_no_action_knows_is_named() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    let json = head("POST", "/", &[("x-amz-target", "AmazonSQS.ListQueues")]);
    let failure = Call::parse(&json, r#"{"Cheese": 1}"#.into()).unwrap().input::<Nothing>().unwrap_err();
    assert_eq!(failure.code, ErrorCode::MalformedInput);
    assert!(failure.message.contains("`Cheese`"), "{failure}");
    let empty = Call::parse(&json, Default::default()).unwrap();
    empty.input::<Nothing>().unwrap();
}
