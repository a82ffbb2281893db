//! Time, memory, temp space, concurrency: what a function may not exceed, and what happens when it does.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::{World, ask, call, lives, logged, until, within};
use weir_env::Env;
use weir_lambda::{InvokeError, Runtime, Spec};

const HANGS: &str = r#"
import os, subprocess, sys, time
def handler(event, context):
    if event.get("hang"):
        child = subprocess.Popen(["sleep", "1000"])
        apart = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        print("hangs", os.getpid(), child.pid, apart.pid)
        time.sleep(1000)
    return os.getpid()
"#;

#[tokio::test]
async fn a_handler_that_hangs_is_killed_at_its_timeout_with_all_that_it_started() {
    let (world, clock) = World::still().await;
    let spec = Spec { timeout: Duration::from_secs(30), ..world.python("hangs", HANGS) };
    let handler = world.deploy(spec).await;
    let first = ask(&handler, json!({})).await;
    let hanging = tokio::spawn({
        let handler = Arc::clone(&handler);
        async move { call(&handler, json!({"hang": true})).await }
    });
    let line = logged(&handler, "hangs ").await;
    let pids: Vec<u64> = line.text.split(' ').skip(1).map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(first, pids[0]);
    assert!(pids.iter().all(|pid| lives(*pid)));
    clock.advance(Duration::from_secs(31));
    let error = within(hanging).await.unwrap().unwrap_err();
    let id = error.request_id().unwrap();
    assert_eq!(error.to_string(), format!("RequestId: {id} Error: Task timed out after 30.00 seconds"));
    assert_eq!(error.error_type(), "Sandbox.Timedout");
    until(|| !pids.iter().any(|pid| lives(*pid))).await;
    let next = ask(&handler, json!({})).await;
    assert_ne!(next, first);
    assert_eq!(handler.stats().timeouts, 1);
    logged(&handler, "Task timed out after 30.00 seconds").await;
}

const SLOW_START: &str = r#"
import os, time
tries = os.path.join(os.environ["MARK"], str(os.getpid()))
open(tries, "w").close()
if len(os.listdir(os.environ["MARK"])) < int(os.environ["GOOD"]):
    time.sleep(1000)
def handler(event, context):
    return "up"
"#;

#[tokio::test]
async fn what_is_too_slow_to_come_up_is_begun_again_under_the_functions_own_timeout() {
    for (good, up) in [(2, true), (9, false)] {
        let (world, clock) = World::still().await;
        let mark = world.folder.path().join("mark");
        std::fs::create_dir(&mark).unwrap();
        std::os::unix::fs::chown(&mark, None, None).unwrap();
        std::fs::set_permissions(&mark, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let mut spec = Spec { timeout: Duration::from_secs(30), ..world.python("slow", SLOW_START) };
        spec.environment.insert("MARK".to_owned(), mark.to_str().unwrap().to_owned());
        spec.environment.insert("GOOD".to_owned(), good.to_string());
        spec.allow.write.push(mark.clone());
        let handler = world.deploy(spec).await;
        let answer = tokio::spawn({
            let handler = Arc::clone(&handler);
            async move { call(&handler, json!({})).await }
        });
        let tries = || std::fs::read_dir(&mark).unwrap().count();
        until(|| tries() == 1).await;
        clock.advance(Duration::from_secs(10));
        until(|| tries() == 2).await;
        if up {
            assert_eq!(within(answer).await.unwrap().unwrap().payload, "\"up\"");
            continue;
        }
        clock.advance(Duration::from_secs(10));
        clock.advance(Duration::from_secs(20));
        let error = within(answer).await.unwrap().unwrap_err();
        assert_eq!(error.error_type(), "Sandbox.Timedout");
        assert!(matches!(error, InvokeError::InitFailed { .. }), "{error:?}");
    }
}

const HOG: &str = r#"
import os, subprocess, sys
def handler(event, context):
    if event.get("child"):
        subprocess.run([sys.executable, "-c", "x = bytearray(%d << 20); import time; time.sleep(1000)" % event["child"]])
    x = []
    for _ in range(event.get("megabytes", 0)):
        x.append(b"x" * (1 << 20))
    if event.get("hold"):
        import time; time.sleep(1000)
    if event.get("at_once"):
        bytearray(event["at_once"] << 20)
    return len(x)
"#;

#[tokio::test]
async fn memory_is_bounded_over_all_processes_of_an_environment() {
    let world = World::new().await;
    let handler = world.deploy(world.python("hog", HOG)).await;
    let small = call(&handler, json!({"megabytes": 40})).await.unwrap();
    assert!(small.max_memory_bytes > 10 << 20 && small.max_memory_bytes < 128 << 20, "{}", small.max_memory_bytes);
    for event in [json!({"megabytes": 150, "hold": true}), json!({"child": 150})] {
        let error = call(&handler, event).await.unwrap_err();
        assert!(matches!(error, InvokeError::OutOfMemory { limit_bytes: 134_217_728, .. }), "{error:?}");
        assert_eq!(error.error_type(), "Runtime.OutOfMemory");
    }
    // A jump beyond the heap's bound fails in the interpreter, before the machine has to find the memory.
    let error = call(&handler, json!({"at_once": 4096})).await.unwrap_err();
    assert_eq!(error.error_type(), "MemoryError");
    assert_eq!(ask(&handler, json!({})).await, 0);
}

const NODE_HOG: &str =
    "exports.handler = async (event) => { const x = []; for (;;) x.push(new Array(100000).fill(Math.random())); };";

#[tokio::test]
async fn a_node_handler_that_fills_its_heap_is_out_of_memory() {
    let world = World::new().await;
    let handler = world.deploy(world.node("nodehog", "index.js", NODE_HOG)).await;
    let error = call(&handler, json!({})).await.unwrap_err();
    assert!(matches!(error, InvokeError::OutOfMemory { .. }), "{error:?}");
}

const FILLS: &str = r#"
import os, tempfile, time
def handler(event, context):
    folder = os.environ["TMPDIR"]
    assert tempfile.gettempdir() == folder
    found = os.listdir(folder)
    for number in range(event.get("files", 0)):
        with open(os.path.join(folder, str(number)), "wb") as file:
            file.write(b"x" * event["bytes"])
    if event.get("hold"):
        print("filled")
        time.sleep(1000)
    return found
"#;

#[tokio::test]
async fn temp_space_is_bounded_and_gone_with_its_environment() {
    let world = World::new().await;
    let spec = Spec { temp_bytes: 2 << 20, ..world.python("fills", FILLS) };
    let handler = world.deploy(spec).await;
    assert_eq!(ask(&handler, json!({"files": 1, "bytes": 1000})).await, json!([]));
    assert_eq!(ask(&handler, json!({})).await, json!(["0"]), "a warm environment keeps its files");
    let error = call(&handler, json!({"files": 1, "bytes": 3 << 20})).await.unwrap_err();
    assert_eq!(error.error_type(), "OSError", "one file can't exceed the limit");
    let error = call(&handler, json!({"files": 3, "bytes": 1 << 20, "hold": true})).await.unwrap_err();
    assert!(matches!(error, InvokeError::TempFull { limit_bytes: 2_097_152, .. }), "{error:?}");
    assert_eq!(ask(&handler, json!({})).await, json!([]));
    world.host.close().await;
    assert_eq!(std::fs::read_dir(world.folder.path().join("data/tmp")).unwrap().count(), 0);
}

const WAITS: &str = r#"
import os, time
def handler(event, context):
    print("runs", os.getpid())
    while not os.path.exists(event["until"]):
        time.sleep(0.005)
    return os.getpid()
"#;

#[tokio::test]
async fn each_environment_runs_one_invocation_and_reserved_concurrency_bounds_them() {
    let world = World::with(Env::system(), |options| options.wait = Duration::from_millis(20)).await;
    let go = world.folder.path().join("go");
    let mut spec = Spec { concurrency: Some(2), ..world.python("waits", WAITS) };
    spec.allow.read.push(world.folder.path().to_owned());
    let handler = world.deploy(spec).await;
    assert_eq!(handler.concurrency_max(), 2);
    let event = json!({"until": go});
    let start = || {
        let (handler, event) = (Arc::clone(&handler), event.clone());
        tokio::spawn(async move { call(&handler, event).await })
    };
    let both = [start(), start()];
    until(|| handler.stats().running == 2).await;
    let error = call(&handler, event.clone()).await.unwrap_err();
    assert!(matches!(error, InvokeError::Throttled { .. }), "{error:?}");
    assert_eq!(error.error_type(), "TooManyRequestsException");
    assert!(!error.is_function_error());
    assert!(handler.try_concurrency().is_none());
    assert_eq!(handler.stats().throttles, 1);
    std::fs::write(&go, "").unwrap();
    let mut pids = Vec::new();
    for one in both {
        pids.push(within(one).await.unwrap().unwrap().payload);
    }
    assert_ne!(pids[0], pids[1]);
    // A turn that was taken before lets one through, in the environment that was used last.
    let slot = handler.try_concurrency().unwrap();
    let again = handler.invoke_in(slot, weir_lambda::Invocation::new(event.to_string())).await.unwrap();
    assert!(pids.contains(&again.payload));
    assert_eq!((handler.stats().cold_starts, handler.stats().idle), (2, 2));

    let stopped = Spec { concurrency: Some(0), ..world.python("waits", WAITS) };
    world.deploy(stopped).await;
    assert!(
        matches!(call(&handler, event).await, Err(InvokeError::Throttled { reason, .. }) if reason.contains("zero"))
    );
}

#[tokio::test]
async fn no_more_is_reserved_than_there_is() {
    let world = World::with(Env::system(), |options| options.concurrency = 3).await;
    let text = "def handler(e, c): return 1";
    let one = world.deploy(Spec { concurrency: Some(2), ..world.python("one", text) }).await;
    let rest = world.deploy(world.python("rest", text)).await;
    assert_eq!((one.concurrency_max(), rest.concurrency_max()), (2, 1));
    let two = Spec { concurrency: Some(2), ..world.python("two", text) };
    let error = world.host.deploy(two, &world.versions).await.unwrap_err();
    assert_eq!(error.to_string(), "function `two` reserves 2 of the concurrency, and 1 of 3 are not reserved yet");
    world.host.remove(one.name()).await;
    assert_eq!(rest.concurrency_max(), 3);
    assert!(matches!(call(&one, json!({})).await, Err(InvokeError::Closed { .. })));
}

#[tokio::test]
async fn nothing_runs_when_environments_have_been_idle_for_long_enough() {
    let (world, clock) = World::still().await;
    let spec = Spec { keep_warm: Duration::from_secs(60), ..world.python("idle", HANGS) };
    let handler = world.deploy(spec).await;
    let pid = ask(&handler, json!({})).await.as_u64().unwrap();
    clock.advance(Duration::from_secs(40));
    assert_eq!(ask(&handler, json!({})).await, pid);
    clock.advance(Duration::from_secs(40));
    assert_eq!(ask(&handler, json!({})).await, pid, "the last use counts");
    clock.advance(Duration::from_secs(61));
    until(|| !lives(pid)).await;
    until(|| handler.stats().idle == 0).await;
    until(|| std::fs::read_dir(world.folder.path().join("data/tmp")).unwrap().count() == 0).await;
    assert_ne!(ask(&handler, json!({})).await, pid);
}

#[tokio::test]
async fn starts_that_fail_are_held_back_for_longer_each_time() {
    let (world, clock) = World::still().await;
    let text = "import os; os._exit(7)";
    let handler = world.deploy(world.python("loops", text)).await;
    let held = |error: InvokeError| match error {
        InvokeError::InitFailed { error_type, retry_after, .. } => (error_type, retry_after),
        other => panic!("{other:?}"),
    };
    for (wait, after) in [(1, 1), (2, 2), (4, 4)] {
        let (kind, retry_after) = held(call(&handler, json!({})).await.unwrap_err());
        assert_eq!((kind.as_str(), retry_after), ("Runtime.ExitError", Duration::from_secs(after)));
        clock.advance(Duration::from_millis(500));
        let (_, left) = held(call(&handler, json!({})).await.unwrap_err());
        assert_eq!(left, Duration::from_secs(wait) - Duration::from_millis(500), "nothing was started");
        clock.advance(left);
    }
    // Other code is another matter.
    let mended = world.deploy(world.python("loops", "def handler(e, c): return 1")).await;
    assert_eq!(ask(&mended, json!({})).await, 1);
}

#[tokio::test]
async fn a_payload_that_is_too_large_never_starts_anything() {
    let world = World::new().await;
    let handler = world.deploy(world.python("small", "def handler(e, c): return 1")).await;
    let large = weir_lambda::Invocation::new(vec![b' '; weir_lambda::limits::PAYLOAD_BYTES_MAX + 1]);
    assert!(matches!(handler.invoke(large).await, Err(InvokeError::TooLarge { bytes: 6_291_457 })));
    let context = weir_lambda::Invocation { client_context: Some("{\n}".into()), ..weir_lambda::Invocation::new("{}") };
    assert!(matches!(handler.invoke(context).await, Err(InvokeError::BadRequest { .. })));
    assert_eq!(handler.stats().cold_starts, 0);
    assert_eq!(Runtime::detect(world.folder.path()), None);
}
