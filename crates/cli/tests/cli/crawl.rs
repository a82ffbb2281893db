//! Crawls as a user meets them, against a small vendor that is made up here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::text;

const TOKEN: &str = "hunter2";

const HCL: &str = r#"api "monitor" {
  base_url = "VENDOR/v1"
  auth     = bearer(secret("TOKEN"))
  budget {
    rate = "500/s"
  }
}

crawl "devices" {
  api = api.monitor
  resource "group" {
    path = "/groups"
  }
  resource "device" {
    path                = "/groups/{resources.group.id}/devices"
    include_from_parent = ["id"]
    to                  = table.devices
  }
}

table "devices" {
}

function "ask" {
  code    = "ask"
  handler = "ask.handler"
  apis    = [api.monitor]
}

function "stranger" {
  code    = "ask"
  handler = "ask.handler"
}
"#;

const ASK: &str = r#"import json, os, urllib.request

def handler(event, context):
    with urllib.request.urlopen(os.environ["WEIR_API_MONITOR_URL"] + "/groups?all=true") as answer:
        return {"status": answer.status, "type": answer.headers["content-type"], "groups": len(json.load(answer))}
"#;

/// Three groups of two devices, for who has the token.
struct Vendor {
    url: String,
    calls: Arc<AtomicU64>,
}

impl Vendor {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let counted = counted.clone();
                // A client that goes away ends its connection's thread.
                std::thread::spawn(move || serve(socket.unwrap(), &counted));
            }
        });
        Self { url, calls }
    }
}

fn serve(socket: TcpStream, calls: &AtomicU64) -> Option<()> {
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let mut socket = socket;
    loop {
        let (mut first, mut allowed) = (String::new(), false);
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            if line.trim().is_empty() {
                break;
            }
            allowed |= line.trim().eq_ignore_ascii_case(&format!("authorization: bearer {TOKEN}"));
        }
        calls.fetch_add(1, Ordering::Relaxed);
        let path = first.split(' ').nth(1)?.split('?').next()?;
        let (status, body) = match path.strip_prefix("/v1/groups") {
            _ if !allowed => ("401 Unauthorized", r#"{"error": "who are you?"}"#.to_owned()),
            Some("") => ("200 OK", r#"[{"id": "a"}, {"id": "b"}, {"id": "c"}]"#.to_owned()),
            Some(rest) if rest.ends_with("/devices") => {
                let group = rest.trim_start_matches('/').trim_end_matches("/devices");
                let device = |number: u32| format!(r#"{{"id": "{group}{number}", "size": {number}}}"#);
                ("200 OK", format!("[{}, {}]", device(1), device(2)))
            }
            _ => ("404 Not Found", "{}".to_owned()),
        };
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        socket.write_all((head + &body).as_bytes()).ok()?;
    }
}

fn folder(vendor: &Vendor) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "weir.hcl", &HCL.replace("VENDOR", &vendor.url));
    std::fs::create_dir(folder.path().join("ask")).unwrap();
    write(&folder, "ask/ask.py", ASK);
    folder
}

fn write(folder: &tempfile::TempDir, name: &str, text: &str) {
    std::fs::write(folder.path().join(name), text).unwrap();
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(args).current_dir(folder).env("NO_COLOR", "1").env("WEIR_SECRET_TOKEN", TOKEN);
    command.env_remove("WEIR_SERVER").env_remove("WEIR_DATA");
    command
}

fn weir(folder: &Path, args: &[&str]) -> Output {
    let done = command(folder, args).output().unwrap();
    let said = format!("{}{}", text(&done.stdout), text(&done.stderr));
    assert!(!said.contains(TOKEN), "a secret is shown: {said}");
    done
}

#[track_caller]
fn ok(done: &Output) -> String {
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    text(&done.stdout)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_schema_is_inferred_and_a_persons_file_is_not_touched() {
    let vendor = Vendor::start();
    let folder = folder(&vendor);
    let pin = folder.path().join("devices.device.avsc");
    let warned = weir(folder.path(), &["check"]);
    assert!(text(&warned.stderr).contains("`weir crawl infer devices`"), "{}", text(&warned.stderr));

    let told = ok(&weir(folder.path(), &["crawl", "infer", "devices"]));
    assert!(told.contains("written (6 items of `device`)"), "{told}");
    let schema = json(&std::fs::read_to_string(&pin).unwrap());
    let fields: Vec<&str> = schema["fields"].as_array().unwrap().iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(fields, ["id", "size", "_group_id"]);
    assert!(ok(&weir(folder.path(), &["crawl", "infer", "devices"])).contains("as it was"));
    let checked = weir(folder.path(), &["check"]);
    assert!(!text(&checked.stderr).contains("infer"));
    let tree = "crawl devices of api monitor, by hand\n  group\n    device -> table devices\n";
    assert!(ok(&checked).contains(tree), "{}", text(&checked.stdout));

    let mine = std::fs::read_to_string(&pin).unwrap().replace("\"size\"", "\"weight\"");
    write(&folder, "devices.device.avsc", &mine);
    let differs = weir(folder.path(), &["crawl", "infer", "devices"]);
    let told = text(&differs.stdout);
    assert_eq!(differs.status.code(), Some(1), "{told}");
    assert!(told.contains("- weight:") && told.contains("+ size:"), "{told}");
    assert_eq!(std::fs::read_to_string(&pin).unwrap(), mine);
    ok(&weir(folder.path(), &["crawl", "infer", "devices", "--force"]));
    assert_ne!(std::fs::read_to_string(&pin).unwrap(), mine);
    let unknown = weir(folder.path(), &["crawl", "infer", "device"]);
    assert!(text(&unknown.stderr).contains("did you mean `devices`?"), "{}", text(&unknown.stderr));
}

#[test]
fn a_crawl_is_tested_against_its_recording_without_the_vendor() {
    let vendor = Vendor::start();
    let folder = folder(&vendor);
    ok(&weir(folder.path(), &["crawl", "infer", "devices"]));
    let told = ok(&weir(folder.path(), &["crawl", "record", "devices", "--to", "answers"]));
    assert!(told.contains("4 calls, 9 items"), "{told}");
    assert!(!std::fs::read_to_string(folder.path().join("answers/answers.ndjson")).unwrap().contains(TOKEN));

    let before = vendor.calls.load(Ordering::Relaxed);
    let tested = json(&ok(&weir(folder.path(), &["crawl", "test", "devices", "--from", "answers", "--json"])));
    assert_eq!((&tested["run"]["state"], &tested["not_recorded"]), (&"complete".into(), &0.into()), "{tested}");
    assert_eq!(tested["run"]["counts"]["device"]["i"], 6, "{tested}");

    let other = std::fs::read_to_string(folder.path().join("weir.hcl")).unwrap().replace("}/devices\"", "}/machines\"");
    write(&folder, "weir.hcl", &other);
    let failed = weir(folder.path(), &["crawl", "test", "devices", "--from", "answers"]);
    assert_eq!(failed.status.code(), Some(5), "{}{}", text(&failed.stdout), text(&failed.stderr));
    assert!(text(&failed.stderr).contains("the recording has no answer to"), "{}", text(&failed.stderr));
    assert_eq!(vendor.calls.load(Ordering::Relaxed), before, "the vendor was called");
}

struct Server(Child, String);

impl Server {
    fn start(folder: &Path) -> Self {
        let mut child = command(folder, &["up", ".", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("it says where");
        Self(child, address.to_owned())
    }

    fn get(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(&self.1).unwrap();
        socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_crawl_runs_and_handlers_share_its_budget() {
    let vendor = Vendor::start();
    let folder = folder(&vendor);
    // What is not pinned is, at the start.
    let server = Server::start(folder.path());
    assert!(folder.path().join("devices.device.avsc").exists());
    let weir = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--server", &server.1]);
        weir(folder.path(), &all)
    };

    let plan = ok(&weir(&["crawl", "plan", "devices"]));
    assert!(plan.contains("only the first calls are known"), "{plan}");
    let ended = json(&ok(&weir(&["crawl", "run", "devices", "--request", "first", "--watch", "--json"])));
    assert_eq!((&ended["number"], &ended["state"]), (&1.into(), &"complete".into()), "{ended}");
    let again = ok(&weir(&["crawl", "run", "devices", "--request", "first"]));
    assert_eq!(again, "run 1 of devices was begun before, and is complete\n");
    let rows = ok(&weir(&["query", "select count(*) as n, count(distinct id) as ids from devices", "--format", "csv"]));
    assert_eq!(rows, "n,ids\n6,6\n");
    let status = json(&ok(&weir(&["crawl", "status", "devices", "--json"])));
    assert_eq!((&status["current"], &status["last"]["number"]), (&Value::Null, &1.into()), "{status}");
    assert!(ok(&weir(&["crawl", "status"])).contains("run 1 was complete"), "status");
    assert!(ok(&weir(&["crawl", "runs", "devices"])).contains("complete"), "runs");
    assert!(ok(&weir(&["crawl", "list"])).contains("idle"), "list");
    let plan = ok(&weir(&["crawl", "plan", "devices"]));
    assert!(plan.contains("from run 1"), "{plan}");

    let none = weir(&["crawl", "pause", "devices"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("has no run under way"), "{}", text(&none.stderr));
    let wrong = weir(&["crawl", "run", "devices", "--param", "kind=x"]);
    assert!(text(&wrong.stderr).contains("crawl has no parameter `kind`"), "{}", text(&wrong.stderr));
    assert!(text(&weir(&["crawl", "run", "nothing"]).stderr).contains("there is no crawl `nothing`"));

    let answer = json(&ok(&weir(&["function", "invoke", "ask"])));
    assert_eq!(answer, serde_json::json!({ "status": 200, "type": "application/json", "groups": 3 }));
    let called = server.get("/v1/apis/monitor/call/ask/nothing");
    assert!(called.starts_with("HTTP/1.1 404"), "the vendor's own answer: {called}");
    let refused = server.get("/v1/apis/monitor/call/stranger/groups");
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("apis = [api.monitor]"), "{refused}");

    let api = ok(&weir(&["api", "show", "monitor"]));
    assert!(api.contains("500.0/s, configured") && api.contains("answers"), "{api}");
    let apis = json(&ok(&weir(&["api", "list", "--json"])));
    assert_eq!(apis["apis"][0]["budget"]["answered"], vendor.calls.load(Ordering::Relaxed) - 4, "{apis}");
    let metrics = server.get("/metrics");
    assert!(metrics.contains("weir_api_calls_total{api=\"monitor\",outcome=\"answered\"} 6"), "{metrics}");
    assert!(metrics.contains("weir_crawl_running{crawl=\"devices\"} 0"), "{metrics}");
}

#[test]
fn what_an_importer_can_not_take_over_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let source = r#"{"client": {"base_url": "https://api.example.com/", "auth": {"token": "hunter2"}},
                     "resources": [{"name": "posts", "endpoint": {"path": "posts", "colour": "red"}}]}"#;
    write(&folder, "blog.json", source);
    let done = weir(folder.path(), &["crawl", "import", "dlt", "blog.json"]);
    assert_eq!(done.status.code(), Some(5), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("bearer(secret(\"BLOG_TOKEN\"))"), "{}", text(&done.stdout));
    let told = text(&done.stderr);
    assert!(told.contains("WEIR_SECRET_BLOG_TOKEN") && told.contains("resources[0].endpoint.colour"), "{told}");
}
