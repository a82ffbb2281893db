//! Node handlers on weir's own client.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use serde_json::json;
use support::{World, ask, call};
use weir_lambda::{ExitStatus, Invocation, InvokeError, LogQuery, Runtime, Spec};

const HANDLER: &str = r#"
let count = 0;
exports.handler = async (event, context) => {
  count += 1;
  if (event.way === 'throw') throw new RangeError('out of range');
  if (event.way === 'text') throw 'only text';
  if (event.way === 'exit') process.exit(5);
  if (event.way === 'later') { setTimeout(() => { throw new Error('too late'); }, 1); await new Promise(() => setInterval(() => {}, 1000)); }
  if (event.way === 'nothing') return undefined;
  if (event.way === 'circular') { const a = {}; a.a = a; return a; }
  console.log('hello %s', context.awsRequestId);
  return { pid: process.pid, count, event, name: context.functionName, memory: context.memoryLimitInMB,
           arn: context.invokedFunctionArn, left: context.getRemainingTimeInMillis(), environment: process.env };
};
"#;

#[tokio::test]
async fn an_async_handler_has_its_event_and_context_and_its_errors_are_told() {
    let world = World::new().await;
    let handler = world.deploy(world.node("async", "index.js", HANDLER)).await;
    let found = ask(&handler, json!({"a": "é"})).await;
    assert_eq!(found["event"], json!({"a": "é"}));
    assert_eq!((&found["name"], &found["memory"]), (&json!("async"), &json!("128")));
    assert!(found["left"].as_i64().unwrap() > 30_000);
    assert!(found["environment"].get("CARGO_MANIFEST_DIR").is_none());
    assert!(found["environment"]["AWS_EXECUTION_ENV"].as_str().unwrap().starts_with("AWS_Lambda_nodejs"));
    let error = call(&handler, json!({"way": "throw"})).await.unwrap_err();
    let InvokeError::Function { error_type, message, trace, .. } = &error else { panic!("{error:?}") };
    assert_eq!((error_type.as_str(), message.as_str()), ("RangeError", "out of range"));
    assert!(trace[1].contains("index.js"), "{trace:?}");
    let error = call(&handler, json!({"way": "text"})).await.unwrap_err();
    assert_eq!((error.error_type(), error.to_string().as_str()), ("string", "string: only text"));
    assert_eq!(call(&handler, json!({"way": "circular"})).await.unwrap_err().error_type(), "Runtime.MarshalError");
    assert_eq!(ask(&handler, json!({"way": "nothing"})).await, json!(null));
    let last = ask(&handler, json!({})).await;
    assert_eq!((&last["pid"], &last["count"]), (&found["pid"], &json!(6)));
    let lines = handler.logs(LogQuery::default()).await.unwrap();
    let hello = lines.iter().find(|line| line.text.contains("hello")).unwrap();
    let id = hello.request_id.as_deref().unwrap();
    assert!(hello.text.ends_with(&format!("\t{id}\tINFO\thello {id}")), "{}", hello.text);

    let error = call(&handler, json!({"way": "later"})).await.unwrap_err();
    assert!(matches!(&error, InvokeError::Function { message, .. } if message == "too late"), "{error:?}");
    let error = call(&handler, json!({"way": "exit"})).await.unwrap_err();
    assert!(matches!(error, InvokeError::Crashed { status: ExitStatus::Code(5), .. }), "{error:?}");
    assert_ne!(ask(&handler, json!({})).await["pid"], found["pid"]);
}

const CALLBACKS: &str = r#"
let done = false;
exports.handler = (event, context, callback) => {
  if (event.way === 'error') return callback(new Error('called back'));
  if (event.way === 'done') return context.done(null, 'done');
  if (event.way === 'silent') return;
  setTimeout(() => { done = true; }, 20);
  if (event.way === 'now') { context.callbackWaitsForEmptyEventLoop = false; done = false; }
  const answer = { get done() { return done; } };
  callback(null, answer);
};
"#;

#[tokio::test]
async fn a_handler_may_call_back_and_is_waited_for() {
    let world = World::new().await;
    let handler = world.deploy(world.node("callbacks", "index.js", CALLBACKS)).await;
    assert_eq!(ask(&handler, json!({})).await, json!({"done": true}));
    assert_eq!(ask(&handler, json!({"way": "now"})).await, json!({"done": false}));
    assert_eq!(ask(&handler, json!({"way": "done"})).await, "done");
    assert_eq!(ask(&handler, json!({"way": "silent"})).await, json!(null));
    let error = call(&handler, json!({"way": "error"})).await.unwrap_err();
    assert_eq!(error.to_string(), "Error: called back");
    assert_eq!(handler.stats().cold_starts, 1);
}

#[tokio::test]
async fn modules_folders_and_packages_are_found() {
    let world = World::new().await;
    let deploy = async |name: &str, handler: &str, files: &[(&str, &str)]| {
        let code = world.code(name, files);
        let spec = Spec::new(name.parse().unwrap(), code, Runtime::Node);
        world.deploy(Spec { handler: Some(handler.to_owned()), ..spec }).await
    };
    let package = ("node_modules/five/package.json", r#"{"name":"five","main":"main.js"}"#);
    let five = ("node_modules/five/main.js", "module.exports = 5;");
    let text = "import five from 'five'; export const handler = async () => five;";
    let mjs = deploy("mjs", "index.handler", &[("index.mjs", text), package, five]).await;
    assert_eq!(ask(&mjs, json!({})).await, 5);
    let module = deploy(
        "module",
        "src/app.handler",
        &[("package.json", r#"{"type":"module"}"#), ("src/app.js", text), package, five],
    )
    .await;
    assert_eq!(ask(&module, json!({})).await, 5);
    let nested =
        deploy("nested", "a/b.c.d", &[("a/b.cjs", "exports.c = { d: async () => require('five') };"), package, five])
            .await;
    assert_eq!(ask(&nested, json!({})).await, 5);
}

#[tokio::test]
async fn what_can_not_come_up_says_why() {
    let world = World::new().await;
    for (name, file, text, error_type, message) in [
        ("missing", "index.js", "require('nowhere')", "Runtime.ImportModuleError", "Cannot find module 'nowhere'"),
        ("absent", "other.js", "", "Runtime.ImportModuleError", "Cannot find module 'index'"),
        ("syntax", "index.js", "exports.handler = (", "Runtime.UserCodeSyntaxError", "SyntaxError"),
        (
            "nameless",
            "index.js",
            "exports.other = 1",
            "Runtime.HandlerNotFound",
            "index.handler is undefined or not exported",
        ),
        ("throws", "index.mjs", "throw new TypeError('no config')", "TypeError", "no config"),
    ] {
        let handler = world.deploy(world.node(name, file, text)).await;
        let error = call(&handler, json!({})).await.unwrap_err();
        assert_eq!(error.error_type(), error_type, "{name}: {error:?}");
        assert!(error.to_string().contains(message), "{name}: {error}");
    }
}

const STREAMS: &str = r#"
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.http) stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
  stream.write('a');
  stream.write('b');
  if (event.fail) throw new Error('midway');
  stream.end('c');
});
"#;

#[tokio::test]
async fn a_streamed_response_is_gathered_and_one_that_broke_off_is_an_error() {
    let world = World::new().await;
    let handler = world.deploy(world.node("streams", "index.js", STREAMS)).await;
    assert_eq!(handler.invoke(Invocation::new("{}")).await.unwrap().payload, "abc");
    let http = handler.invoke(Invocation::new(r#"{"http":true}"#)).await.unwrap().payload;
    assert_eq!(http, "{\"statusCode\":201}\0\0\0\0\0\0\0\0abc");
    let error = call(&handler, json!({"fail": true})).await.unwrap_err();
    assert!(matches!(&error, InvokeError::Function { message, .. } if message == "midway"), "{error:?}");
    assert_eq!(handler.invoke(Invocation::new("{}")).await.unwrap().payload, "abc");
    assert_eq!(handler.stats().cold_starts, 1);
}
