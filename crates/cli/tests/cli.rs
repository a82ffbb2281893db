//! The command as a user meets it: what it prints, where, and its exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "cli/crawl.rs"]
mod crawl;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn weir(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(args).env_remove("WEIR_SERVER").env_remove("WEIR_DATA").env("NO_COLOR", "1");
    command.output().expect("the binary runs")
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["up", &example().to_string_lossy(), "--listen", "127.0.0.1:0", "--data", &data.to_string_lossy()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped"))
            .read_line(&mut line)
            .expect("it says that it is ready");
        let address =
            line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("it says where").to_owned();
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_example_is_right() {
    let done = weir(&["check", &example().to_string_lossy()]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(
        text(&done.stdout).ends_with("is right: 1 stream, 3 lookups, 1 function, 2 tables\n"),
        "{}",
        text(&done.stdout)
    );
}

#[test]
fn a_mistake_has_its_place_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("weir.hcl"), "stream \"clicks\" {\n  rentention = \"7d\"\n}\n").unwrap();
    let done = weir(&["check", &folder.path().to_string_lossy()]);
    assert_eq!(done.status.code(), Some(3));
    let told = text(&done.stderr);
    assert!(told.contains("unknown attribute `rentention`") && told.contains("weir.hcl:2:3"), "{told}");
    assert!(told.contains("did you mean `retention`?"), "{told}");
    let as_json = weir(&["check", "--json", &folder.path().to_string_lossy()]);
    let found: serde_json::Value = serde_json::from_slice(&as_json.stdout).unwrap();
    assert_eq!(found["ok"], false);
    let lines: Vec<_> = found["diagnostics"].as_array().unwrap().iter().map(|found| &found["line"]).collect();
    assert!(lines.contains(&&serde_json::json!(2)), "{found}");
}

#[test]
fn no_server_is_told_with_what_to_do() {
    let done = weir(&["query", "select 1", "--server", "http://127.0.0.1:9"]);
    assert_eq!(done.status.code(), Some(4));
    assert!(text(&done.stderr).contains("start one with `weir up`"), "{}", text(&done.stderr));
}

#[test]
fn a_data_folder_serves_one_process_and_ends_cleanly_when_told_to() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path());
    let server_arg = format!("http://{}", server.address);
    let second = weir(&[
        "up",
        &example().to_string_lossy(),
        "--listen",
        "127.0.0.1:0",
        "--data",
        &data.path().to_string_lossy(),
    ]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("is in use by another process"), "{}", text(&second.stderr));

    let records = data.path().parent().unwrap().join(format!("{}.csv", std::process::id()));
    let row = "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z";
    let header = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour";
    std::fs::write(&records, format!("{header}\n{row}\n{}\n", row.replace("1400", "far"))).unwrap();
    let sent = weir(&["send", "flights", &records.to_string_lossy(), "--server", &server_arg, "--json"]);
    assert_eq!(sent.status.code(), Some(5), "one of two records is refused: {}", text(&sent.stderr));
    assert!(text(&sent.stderr).contains(":3: field `distance`:"), "{}", text(&sent.stderr));
    assert!(text(&sent.stdout).contains("\"stored\":1"), "{}", text(&sent.stdout));
    std::fs::remove_file(&records).unwrap();

    let answer = weir(&["query", "select airline, distance from flights", "--server", &server_arg, "--format", "csv"]);
    assert_eq!(text(&answer.stdout), "airline,distance\nUnited Air Lines Inc.,1400\n");
    let wrong = weir(&["query", "select airlin from flights", "--server", &server_arg]);
    assert_eq!(wrong.status.code(), Some(1));
    let told = text(&wrong.stderr);
    assert!(
        told.contains("1 | select airlin from flights\n  |        ^") && told.contains("did you mean `airline`?"),
        "{told}"
    );
    let tail = weir(&["tail", "flights", "--server", &server_arg]);
    assert!(text(&tail.stdout).contains("\"tailnum\":\"N14228\""), "{}", text(&tail.stdout));
    let status = weir(&["status", "--server", &server_arg]);
    assert!(text(&status.stdout).contains("flights"), "{}", text(&status.stdout));

    Command::new("kill").arg(server.child.id().to_string()).status().unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let inspected = weir(&["log", "inspect", "--data", &data.path().to_string_lossy()]);
    assert!(text(&inspected.stdout).contains("stream/flights/1"), "{}", text(&inspected.stdout));
    let verified = weir(&["log", "verify", "--data", &data.path().to_string_lossy()]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
    assert!(text(&verified.stdout).ends_with("everything that was acknowledged reads well\n"));
}
