//! A `bootstrap` that speaks the Runtime API itself.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use serde_json::json;
use support::{World, ask, call};
use weir_lambda::{ExitStatus, InvokeError, Runtime, Spec};

/// Everything that the shell and its companions have: no library for Lambda, no HTTP client but the shell's own socket.
const SHELL: &str = r#"#!/bin/bash
host=${AWS_LAMBDA_RUNTIME_API%:*} port=${AWS_LAMBDA_RUNTIME_API#*:}
say() { # method path body: fills `head` and `body` with the answer
  exec 3<>"/dev/tcp/$host/$port"
  printf '%s /2018-06-01/runtime/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' "$1" "$2" "${#3}" "$3" >&3
  head=() length=0
  while IFS= read -r line <&3 && [ "$line" != $'\r' ]; do
    head+=("${line%$'\r'}")
    case ${line,,} in content-length:*) length=${line#*: }; length=${length%$'\r'};; esac
  done
  IFS= read -r -N "$length" body <&3
  exec 3>&-
}
count=0
while :; do
  say GET invocation/next ""
  for line in "${head[@]}"; do
    case ${line,,} in lambda-runtime-aws-request-id:*) id=${line#*: };; esac
  done
  count=$((count + 1))
  case $body in
    *fail*) say POST "invocation/$id/error" '{"errorType":"Shell.Oops","errorMessage":"asked to"}';;
    *once*) say POST "invocation/$id/response" '"bye"'; exit 0;;
    *die*) echo "dying" >&2; exit 9;;
    *) say POST "invocation/$id/response" "{\"event\":$body,\"count\":$count,\"handler\":\"$_HANDLER\"}";;
  esac
done
"#;

#[tokio::test]
async fn a_shell_script_is_a_runtime() {
    let world = World::new().await;
    let code = world.code("shell", &[("bootstrap", SHELL)]);
    assert_eq!(Runtime::detect(&code), Some(Runtime::Provided));
    let spec =
        Spec { handler: Some("my.own".to_owned()), ..Spec::new("shell".parse().unwrap(), code, Runtime::Provided) };
    let handler = world.deploy(spec).await;
    let found = ask(&handler, json!({"a": 1})).await;
    assert_eq!(found, json!({"event": {"a": 1}, "count": 1, "handler": "my.own"}));
    let error = call(&handler, json!("fail")).await.unwrap_err();
    assert_eq!(error.to_string(), "Shell.Oops: asked to");
    assert_eq!(ask(&handler, json!(2)).await["count"], 3);
    let error = call(&handler, json!("die")).await.unwrap_err();
    let InvokeError::Crashed { status, last_lines, .. } = error else { panic!("{error:?}") };
    assert_eq!((status, last_lines), (ExitStatus::Code(9), vec!["dying".to_owned()]));
    // It answers and leaves: the answer counts, and the next event goes to a fresh one.
    for _ in 0..3 {
        assert_eq!(ask(&handler, json!("once")).await, "bye");
    }
    assert_eq!(ask(&handler, json!(3)).await["count"], 1);
}

#[tokio::test]
async fn a_bootstrap_that_can_not_run_says_why() {
    let world = World::new().await;
    let code = world.code("broken", &[("bootstrap", "#!/no/such/interpreter\n")]);
    let handler = world.deploy(Spec::new("broken".parse().unwrap(), code, Runtime::Provided)).await;
    let error = call(&handler, json!({})).await.unwrap_err();
    assert_eq!(error.error_type(), "Runtime.ExitError");
    assert!(error.to_string().contains("could not run `") && error.to_string().contains("/bootstrap`"), "{error}");
}
