//! Python handlers on weir's own client.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use serde_json::json;
use support::{World, ask, call, logged};
use weir_lambda::{ExitStatus, Invocation, InvokeError, LogQuery, Source, Spec};

const CONTEXT: &str = r#"
import os, sys
def handler(event, context):
    names = ["function_name", "function_version", "memory_limit_in_mb", "aws_request_id", "log_group_name",
             "log_stream_name", "invoked_function_arn"]
    return {
        "event": event,
        "context": {name: getattr(context, name) for name in names},
        "left": context.get_remaining_time_in_millis(),
        "client": context.client_context.client.app_title,
        "custom": context.client_context.custom,
        "identity": context.identity.cognito_identity_id,
        "environment": dict(os.environ),
        "path": sys.path,
        "argv": sys.argv,
        "folder": os.getcwd(),
        "text": repr(context),
    }
"#;

#[tokio::test]
async fn a_handler_has_its_event_its_context_and_its_own_environment_alone() {
    let world = World::new().await;
    let mut spec = world.python("context", CONTEXT);
    spec.environment.insert("STAGE".to_owned(), "test".to_owned());
    spec.secrets.insert("TOKEN".to_owned(), weir_types::Secret::new("hunter2"));
    let handler = world.deploy(spec).await;
    let invocation = Invocation {
        client_context: Some(r#"{"client":{"app_title":"shop"},"custom":{"a":1}}"#.into()),
        trace: Some("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1".to_owned()),
        ..Invocation::new(r#"{"é":[1,null,"x"]}"#)
    };
    let answer = handler.invoke(invocation).await.unwrap();
    let found: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(found["event"], json!({"é": [1, null, "x"]}));
    let context = &found["context"];
    assert_eq!(context["function_name"], "context");
    assert_eq!(context["function_version"], "1");
    assert_eq!(context["memory_limit_in_mb"], "128");
    assert_eq!(context["aws_request_id"], answer.request_id);
    assert_eq!(context["log_group_name"], "/aws/lambda/context");
    assert!(context["log_stream_name"].as_str().unwrap().contains("/[1]"));
    assert_eq!(context["invoked_function_arn"], "arn:aws:lambda:us-east-1:000000000000:function:context");
    assert!(found["left"].as_i64().unwrap() > 30_000);
    assert_eq!(found["client"], "shop");
    assert_eq!(found["custom"], json!({"a": 1}));
    assert!(found["text"].as_str().unwrap().starts_with("LambdaContext(["));
    let environment = &found["environment"];
    assert_eq!(environment["STAGE"], "test");
    assert_eq!(environment["TOKEN"], "hunter2");
    assert_eq!(environment["_X_AMZN_TRACE_ID"], "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "128");
    assert_eq!(environment["_HANDLER"], "app.handler");
    assert_eq!(environment["TZ"], ":UTC");
    assert_eq!(environment["HOME"], environment["TMPDIR"]);
    assert!(environment["AWS_EXECUTION_ENV"].as_str().unwrap().starts_with("AWS_Lambda_python3."));
    assert_eq!(found["folder"], environment["LAMBDA_TASK_ROOT"]);
    assert_eq!(found["argv"], json!(["bootstrap"]));
    // The test's own environment has these; a handler's must not.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(environment.get("CARGO_MANIFEST_DIR").is_none());
    assert!(answer.init_duration.is_some() && answer.billed_ms >= 1 && answer.max_memory_bytes > 1 << 20);
    let files = std::fs::read_dir(world.folder.path().join("data/versions/context")).unwrap();
    for version in files {
        let settings = std::fs::read_to_string(version.unwrap().path().join("settings.json")).unwrap();
        assert!(settings.contains("STAGE") && !settings.contains("hunter2"));
    }
}

const WAYS: &str = r#"
import os, sys, decimal
count = 0
def inner():
    raise ValueError("bad \u00e9vent")
def handler(event, context):
    global count
    count += 1
    way = event.get("way")
    if way == "raise": inner()
    if way == "exit":
        print("leaving", file=sys.stderr)
        sys.exit(3)
    if way == "abort": os.abort()
    if way == "nan": return {"value": float("nan"), "decimal": decimal.Decimal("1.5"), "whole": decimal.Decimal(7)}
    if way == "unserialisable": return {1, 2}
    if way == "large": return "x" * (6 * 1024 * 1024 + 101)
    if way == "largest": return "x" * (6 * 1024 * 1024 - 2)
    return {"pid": os.getpid(), "count": count}
"#;

#[tokio::test]
async fn errors_of_a_handler_are_told_and_leave_its_environment_warm() {
    let world = World::new().await;
    let handler = world.deploy(world.python("ways", WAYS)).await;
    let first = ask(&handler, json!({})).await;
    let error = call(&handler, json!({"way": "raise"})).await.unwrap_err();
    let InvokeError::Function { error_type, message, trace, payload, .. } = &error else { panic!("{error:?}") };
    assert_eq!((error_type.as_str(), message.as_str()), ("ValueError", "bad évent"));
    assert!(trace.last().unwrap().contains("app.py") && trace.last().unwrap().contains("in inner"), "{trace:?}");
    assert!(!trace.iter().any(|frame| frame.contains("weir_runtime")));
    assert_eq!(&error.payload(), payload);
    assert!(error.is_function_error());
    let error = call(&handler, json!({"way": "unserialisable"})).await.unwrap_err();
    assert_eq!(error.error_type(), "Runtime.MarshalError");
    assert!(error.to_string().contains("Object of type set is not JSON serializable"), "{error}");
    let error = handler.invoke(Invocation::new("{not json")).await.unwrap_err();
    assert_eq!(error.error_type(), "Runtime.UnmarshalError");
    // NaN is no JSON, and what the handler said: it is passed on, as AWS does.
    let answer = call(&handler, json!({"way": "nan"})).await.unwrap();
    assert_eq!(answer.payload, r#"{"value": NaN, "decimal": 1.5, "whole": 7}"#);
    let error = call(&handler, json!({"way": "large"})).await.unwrap_err();
    assert_eq!(error.error_type(), "Function.ResponseSizeTooLarge");
    assert!(error.to_string().contains("maximum allowed payload size (6291556 bytes)"));
    assert_eq!(call(&handler, json!({"way": "largest"})).await.unwrap().payload.len(), 6 * 1024 * 1024);
    let last = ask(&handler, json!({})).await;
    assert_eq!(last["pid"], first["pid"], "one environment served them all");
    assert_eq!(last["count"], 7);
    let stats = handler.stats();
    assert_eq!((stats.cold_starts, stats.invocations, stats.errors, stats.idle), (1, 8, 4, 1));
}

#[tokio::test]
async fn a_process_that_ends_is_a_crash_and_the_next_invocation_has_a_fresh_one() {
    let world = World::new().await;
    let handler = world.deploy(world.python("ends", WAYS)).await;
    let first = ask(&handler, json!({})).await;
    let error = call(&handler, json!({"way": "exit"})).await.unwrap_err();
    let InvokeError::Crashed { status, last_lines, request_id } = &error else { panic!("{error:?}") };
    assert_eq!(*status, ExitStatus::Code(3));
    assert_eq!(last_lines, &["leaving"]);
    assert_eq!(error.error_type(), "Runtime.ExitError");
    assert!(
        error
            .to_string()
            .starts_with(&format!("RequestId: {request_id} Error: Runtime exited with error: exit status 3"))
    );
    let second = ask(&handler, json!({})).await;
    assert_ne!(second["pid"], first["pid"]);
    let error = call(&handler, json!({"way": "abort"})).await.unwrap_err();
    assert!(matches!(error, InvokeError::Crashed { status: ExitStatus::Signal(6), .. }), "{error:?}");
    assert_eq!(handler.stats().cold_starts, 2);
}

#[tokio::test]
async fn what_can_not_come_up_says_why() {
    let world = World::new().await;
    for (name, text, handler, error_type, message) in [
        (
            "missing",
            "import no_such_module",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'no_such_module'",
        ),
        (
            "nowhere",
            "",
            "other.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'other': No module named 'other'",
        ),
        ("syntax", "def handler(:", "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ("nameless", "x = 1", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("raises", "raise KeyError('config')", "app.handler", "KeyError", "'config'"),
        (
            "exits",
            "import sys; print('why', file=sys.stderr); sys.exit(4)",
            "app.handler",
            "Runtime.ExitError",
            "Runtime exited with error: exit status 4",
        ),
    ] {
        let spec = Spec { handler: Some(handler.to_owned()), ..world.python(name, text) };
        let handler = world.deploy(spec).await;
        let error = call(&handler, json!({})).await.unwrap_err();
        assert_eq!(error.error_type(), error_type, "{name}: {error:?}");
        assert!(error.to_string().contains(message), "{name}: {error}");
        assert!(matches!(error, InvokeError::InitFailed { .. }));
        if name == "exits" {
            assert!(error.to_string().ends_with("its last lines: why"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_handler_may_lie_in_a_folder_and_import_its_neighbours() {
    let world = World::new().await;
    let code =
        world.code("deep", &[("lib/util.py", "X = 5"), ("a/b.py", "from lib.util import X\ndef func(e, c): return X")]);
    let spec = Spec {
        handler: Some("a/b.func".to_owned()),
        ..Spec::new("deep".parse().unwrap(), code, weir_lambda::Runtime::Python)
    };
    let handler = world.deploy(spec).await;
    assert_eq!(ask(&handler, json!({})).await, 5);
}

const PRINTS: &str = r#"
import logging, sys
logging.basicConfig(level=logging.DEBUG)
logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)
print("at import")
def handler(event, context):
    print("hello", context.aws_request_id)
    sys.stderr.write("to the error output\n")
    logger.info("from logging")
    logger.debug("not shown")
    if event.get("flood"):
        for _ in range(event["flood"]):
            print("y" * 1000)
        print("z" * 100000)
    return len(logging.getLogger().handlers)
"#;

#[tokio::test]
async fn what_is_printed_is_in_the_log_with_its_request_id_and_before_end() {
    let world = World::new().await;
    let handler = world.deploy(world.python("prints", PRINTS)).await;
    let answer = handler.invoke(Invocation { tail_logs: true, ..Invocation::new("{}") }).await.unwrap();
    assert_eq!(answer.payload, "1", "`basicConfig` adds no second handler");
    let id = &answer.request_id;
    let tail = String::from_utf8(answer.log_tail.unwrap().to_vec()).unwrap();
    let lines: Vec<&str> = tail.lines().collect();
    assert_eq!(lines[0], format!("START RequestId: {id} Version: 1"));
    assert!(tail.contains(&format!("hello {id}\n")));
    let logged_line = lines.iter().find(|line| line.contains("from logging")).unwrap();
    assert!(
        logged_line.starts_with("[INFO]\t20") && logged_line.contains(&format!("Z\t{id}\tfrom logging")),
        "{logged_line}"
    );
    assert!(!tail.contains("not shown"));
    assert_eq!(lines[lines.len() - 2], format!("END RequestId: {id}"));
    assert!(lines[lines.len() - 1].starts_with(&format!("REPORT RequestId: {id}\tDuration: ")), "{tail}");
    assert!(lines[lines.len() - 1].contains("Init Duration: "));
    let all = handler.logs(LogQuery::default()).await.unwrap();
    let import = all.iter().find(|line| line.text == "at import").unwrap();
    assert_eq!((import.request_id.as_deref(), import.source), (None, Source::Stdout));
    let error = all.iter().find(|line| line.text == "to the error output").unwrap();
    assert_eq!((error.request_id.as_deref(), error.source), (Some(id.as_str()), Source::Stderr));
    let own = handler.logs(LogQuery { request_id: Some(id.clone()), ..LogQuery::default() }).await.unwrap();
    assert_eq!(own.len(), lines.len());
}

#[tokio::test]
async fn a_flood_of_output_is_bounded_and_told() {
    let world = World::new().await;
    let handler = world.deploy(world.python("floods", PRINTS)).await;
    let before = handler.log_end();
    ask(&handler, json!({"flood": 6000})).await;
    let told = logged(&handler, "of output").await;
    assert!(told.text.contains("were dropped: an invocation may print 4194304 bytes"), "{}", told.text);
    assert_eq!(told.source, Source::Platform);
    let kept = handler.logs(LogQuery { after: Some(before), lines_max: 100_000, ..LogQuery::default() }).await.unwrap();
    let bytes: usize = kept.iter().map(|line| line.text.len()).sum();
    assert!(bytes < 4_300_000, "{bytes}");
    let end = kept.iter().position(|line| line.text.starts_with("END")).unwrap();
    assert!(kept.iter().position(|line| line.text == told.text).unwrap() < end);
}

const OFFICIAL: &str = r#"
import os, sys, json, urllib.request
assert sys.argv[1] == "app.handler"
import app
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    event = urllib.request.urlopen(api + "next")
    answer = {"client": "theirs", "answer": app.handler(json.load(event), None)}
    url = api + event.headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(answer).encode(), method="POST")).read()
"#;

#[tokio::test]
async fn a_client_that_the_code_brings_is_used() {
    let world = World::new().await;
    let code = world.code(
        "official",
        &[
            ("app.py", "def handler(event, context): return event['n'] + 1"),
            ("awslambdaric/__init__.py", ""),
            ("awslambdaric/__main__.py", OFFICIAL),
        ],
    );
    let spec = Spec {
        handler: Some("app.handler".to_owned()),
        ..Spec::new("official".parse().unwrap(), code, weir_lambda::Runtime::Python)
    };
    let handler = world.deploy(spec).await;
    assert_eq!(ask(&handler, json!({"n": 1})).await, json!({"client": "theirs", "answer": 2}));
    assert_eq!(ask(&handler, json!({"n": 2})).await, json!({"client": "theirs", "answer": 3}));
    assert_eq!(handler.stats().cold_starts, 1);
}
