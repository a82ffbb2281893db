//! New code, old code, and which of them runs.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::sync::Arc;

use serde_json::json;
use support::{World, ask, call, folder, lives, logged, options, until, within};
use weir_env::Env;
use weir_lambda::{ChangeError, Host, Invocation, InvokeError, Spec, VersionError};

fn text(answer: &str) -> String {
    format!(
        r#"
import os, time
def handler(event, context):
    if event.get("until"):
        print("runs", os.getpid())
        while not os.path.exists(event["until"]):
            time.sleep(0.005)
    return "{answer}"
"#
    )
}

fn spec(world: &World, answer: &str) -> Spec {
    let mut spec = world.python("score", &text(answer));
    spec.allow.read.push(world.folder.path().to_owned());
    spec
}

#[tokio::test]
async fn new_code_takes_over_while_running_invocations_end_on_the_old() {
    let world = World::new().await;
    let handler = world.deploy(spec(&world, "one")).await;
    let go = world.folder.path().join("go");
    let running = tokio::spawn({
        let (handler, go) = (Arc::clone(&handler), go.clone());
        async move { call(&handler, json!({"until": go})).await }
    });
    let line = logged(&handler, "runs ").await;
    let old: u64 = line.text.split(' ').nth(1).unwrap().parse().unwrap();
    let again = world.deploy(spec(&world, "two")).await;
    assert!(Arc::ptr_eq(&handler, &again));
    assert_eq!(ask(&handler, json!({})).await, "two");
    assert!(lives(old));
    std::fs::write(&go, "").unwrap();
    let ended = within(running).await.unwrap().unwrap();
    assert_eq!((ended.payload, ended.version), ("\"one\"".into(), 1));
    until(|| !lives(old)).await;
    assert_eq!(ask(&handler, json!({})).await, "two");
    let versions = handler.versions();
    assert_eq!(
        versions.iter().map(|version| (version.number, version.live)).collect::<Vec<_>>(),
        [(1, false), (2, true)]
    );
    assert!(versions[0].hash != versions[1].hash && versions[1].size > 100);
}

#[tokio::test]
async fn a_rollback_is_one_call_and_holds_until_the_code_changes() {
    let world = World::new().await;
    let handler = world.deploy(spec(&world, "one")).await;
    world.deploy(spec(&world, "two")).await;
    assert_eq!(handler.rollback(None).await.unwrap(), 1);
    assert_eq!(ask(&handler, json!({})).await, "one");
    world.deploy(spec(&world, "two")).await;
    assert_eq!(ask(&handler, json!({})).await, "one", "the same code does not undo it");
    let by = |qualifier: &str| {
        let invocation = Invocation { qualifier: Some(qualifier.to_owned()), ..Invocation::new("{}") };
        let handler = Arc::clone(&handler);
        async move { handler.invoke(invocation).await }
    };
    assert_eq!(by("2").await.unwrap().payload, "\"two\"");
    assert_eq!(by("$LATEST").await.unwrap().payload, "\"two\"");
    handler.set_alias("canary", 2).await.unwrap();
    assert_eq!(by("canary").await.unwrap().payload, "\"two\"");
    assert_eq!(handler.aliases(), [("canary".to_owned(), 2)].into());
    handler.remove_alias("canary").await.unwrap();
    for unknown in ["canary", "9"] {
        let error = by(unknown).await.unwrap_err();
        assert_eq!(error.to_string(), format!("function `score` has no version or alias `{unknown}`"));
    }
    assert!(matches!(
        handler.rollback(Some(9)).await,
        Err(ChangeError::Refused(VersionError::NoSuchVersion { version: 9, .. }))
    ));
    assert_eq!(handler.versions().iter().find(|version| version.live).unwrap().number, 1);
    world.deploy(spec(&world, "three")).await;
    assert_eq!(ask(&handler, json!({})).await, "three");
}

#[tokio::test]
async fn settings_make_a_version_and_secrets_do_not_but_are_new_at_once() {
    let world = World::new().await;
    let text = "import os\ndef handler(event, context): return [os.environ['TOKEN'], os.environ.get('STAGE')]";
    let with = |token: &str, stage: &str| {
        let mut spec = world.python("keys", text);
        spec.secrets.insert("TOKEN".to_owned(), weir_types::Secret::new(token));
        spec.environment.insert("STAGE".to_owned(), stage.to_owned());
        spec
    };
    let handler = world.deploy(with("a", "x")).await;
    assert_eq!(ask(&handler, json!({})).await, json!(["a", "x"]));
    world.deploy(with("b", "x")).await;
    assert_eq!(ask(&handler, json!({})).await, json!(["b", "x"]));
    assert_eq!(handler.versions().len(), 1);
    world.deploy(with("b", "y")).await;
    assert_eq!(ask(&handler, json!({})).await, json!(["b", "y"]));
    handler.rollback(Some(1)).await.unwrap();
    assert_eq!(
        ask(&handler, json!({})).await,
        json!(["b", "x"]),
        "an old version has its settings, and today's secrets"
    );
}

#[tokio::test]
async fn a_deployment_that_fails_leaves_what_was_live() {
    let world = World::new().await;
    let handler = world.deploy(spec(&world, "one")).await;
    let code = world.code("score", &[("requirements.txt", "./no_such_wheel-1.0-py3-none-any.whl\n")]);
    assert!(code.join("requirements.txt").is_file());
    let error = world.host.deploy(spec(&world, "two"), &world.versions).await.unwrap_err();
    assert_eq!(error.to_string(), "install the dependencies of function `score`");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("-m pip install") && source.contains("no_such_wheel"), "{source}");
    assert_eq!(ask(&handler, json!({})).await, "one");
    assert_eq!(handler.versions().len(), 1);
    let left = std::fs::read_dir(world.folder.path().join("cache/dependencies")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn dependencies_are_installed_once_and_found() {
    let world = World::new().await;
    let code = world.code(
        "needs",
        &[
            ("app.py", "import tiny\ndef handler(event, context): return tiny.__file__"),
            ("requirements.txt", "./tiny\n"),
            ("tiny/setup.py", "from setuptools import setup\nsetup(name='tiny', version='1', py_modules=['tiny'])"),
            ("tiny/tiny.py", "VALUE = 3"),
        ],
    );
    // Without a network pip can't fetch a build backend: a wheel, made by hand, needs none.
    let wheel = code.join("tiny-1-py3-none-any.whl");
    let made = std::process::Command::new("python3").args(["-c", WHEEL]).arg(&wheel).status().unwrap();
    assert!(made.success());
    std::fs::remove_dir_all(code.join("tiny")).unwrap();
    std::fs::write(code.join("requirements.txt"), "./tiny-1-py3-none-any.whl\n").unwrap();
    let spec = Spec {
        handler: Some("app.handler".to_owned()),
        ..Spec::new("needs".parse().unwrap(), code, weir_lambda::Runtime::Python)
    };
    let handler = world.deploy(spec.clone()).await;
    let found = ask(&handler, json!({})).await;
    assert!(
        found.as_str().unwrap().contains("/dependencies/") && found.as_str().unwrap().ends_with("/python/tiny.py"),
        "{found}"
    );
    // Installed is installed: another host with the same cache installs nothing, and pip could not.
    let second = World::with(Env::system(), |options| options.cache = world.folder.path().join("cache")).await;
    let before = std::fs::metadata(world.folder.path().join("cache/dependencies")).unwrap().modified().unwrap();
    let handler = second.deploy(spec).await;
    assert!(ask(&handler, json!({})).await.as_str().unwrap().ends_with("/python/tiny.py"));
    assert_eq!(std::fs::metadata(world.folder.path().join("cache/dependencies")).unwrap().modified().unwrap(), before);
}

const WHEEL: &str = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    wheel.writestr("tiny.py", "VALUE = 3\n")
    wheel.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
    wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("tiny-1.dist-info/RECORD", "tiny.py,,\ntiny-1.dist-info/METADATA,,\ntiny-1.dist-info/WHEEL,,\ntiny-1.dist-info/RECORD,,\n")
"#;

#[tokio::test]
async fn a_host_that_closes_lets_invocations_end_and_a_restart_finds_versions_and_logs() {
    let folder = folder();
    let env = Env::system();
    let (_engine, versions) = support::versions(&env).await;
    let world = World::new().await;
    let host = Host::new(env.clone(), options(folder.path())).unwrap();
    let handler = host.deploy(spec(&world, "one"), &versions).await.unwrap();
    let go = world.folder.path().join("go");
    let running = tokio::spawn({
        let (handler, go) = (Arc::clone(&handler), go.clone());
        async move { call(&handler, json!({"until": go})).await }
    });
    logged(&handler, "runs ").await;
    let closing = tokio::spawn(async move { host.close().await });
    until(|| handler.stats().running == 1).await;
    std::fs::write(&go, "").unwrap();
    assert_eq!(within(running).await.unwrap().unwrap().payload, "\"one\"");
    within(closing).await.unwrap();
    assert!(matches!(call(&handler, json!({})).await, Err(InvokeError::Closed { .. })));

    let host = Host::new(env, options(folder.path())).unwrap();
    let handler = host.deploy(spec(&world, "one"), &versions).await.unwrap();
    assert_eq!(handler.versions().len(), 1);
    assert_eq!(ask(&handler, json!({})).await, "one");
    logged(&handler, "runs ").await;
    host.close().await;
}
