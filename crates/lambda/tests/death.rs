//! A server that is killed takes its handlers with it; the next one clears up.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;
use support::{World, call, lives, logged, options, until};
use weir_env::Env;
use weir_lambda::Host;

const HANGS: &str = r#"
import os, subprocess, time
def handler(event, context):
    apart = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    print("hangs", os.getpid(), apart.pid)
    time.sleep(1000)
"#;

/// No test of its own: the server that the test below starts and kills.
#[tokio::test]
async fn server_to_be_killed() {
    let Some(folder) = std::env::var_os("WEIR_TEST_SERVER") else { return };
    let world = World::with(Env::system(), |options| options.folder = folder.into()).await;
    let handler = world.deploy(world.python("hangs", HANGS)).await;
    let line = async { println!("\n{}", logged(&handler, "hangs ").await.text) };
    let _ = futures::future::join(call(&handler, json!({})), line).await;
}

#[tokio::test]
async fn kill_9_of_the_server_ends_its_handlers_and_the_next_server_ends_the_rest() {
    let folder = support::folder();
    let data = options(folder.path()).folder;
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server_to_be_killed", "--nocapture"])
        .env("WEIR_TEST_SERVER", &data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.starts_with("hangs ")).unwrap();
    let pids: Vec<u64> = line.split(' ').skip(1).map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.iter().all(|pid| lives(*pid)));
    server.kill().unwrap();
    server.wait().unwrap();
    until(|| !lives(pids[0])).await;
    // The handler's own child began a session of its own, and nobody told it.
    assert!(lives(pids[1]));
    assert_eq!(std::fs::read_dir(data.join("tmp")).unwrap().count(), 1);
    let host = Host::new(Env::system(), options(folder.path())).unwrap();
    until(|| !lives(pids[1])).await;
    assert_eq!(std::fs::read_dir(data.join("tmp")).unwrap().count(), 0);
    drop(host);
}

#[tokio::test]
async fn a_host_that_is_dropped_ends_its_environments() {
    let world = World::new().await;
    let handler = world.deploy(world.python("dropped", "import os\ndef handler(e, c): return os.getpid()")).await;
    let pid = support::ask(&handler, json!({})).await.as_u64().unwrap();
    assert!(lives(pid));
    drop(world);
    until(|| !lives(pid)).await;
}
