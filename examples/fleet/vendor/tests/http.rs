//! The vendor over HTTP, as a client sees it: one thread of plain sockets, one vendor each.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use weir_env::Env;
use weir_vendor::{Faults, Headers, OutageKind, RetryAfter, Settings, Shape, Vendor};

fn settings() -> Settings {
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        control: SocketAddr::from(([127, 0, 0, 1], 0)),
        shape: Shape::of_calls(3, 400),
        rate: 0.0,
        burst: 1.0,
        retry_after: RetryAfter::Seconds,
        headers: Headers::None,
        faults: Faults::default(),
        slow: Duration::ZERO,
        latency: Duration::ZERO,
        capacity: None,
        outage_after: Duration::ZERO,
        outage: Duration::ZERO,
        outage_kind: OutageKind::Refuse,
        token: "secret".into(),
        client_secret: "client's".into(),
        token_for: Duration::from_secs(60),
        log: None,
    }
}

/// Where it takes calls, and where it is told what to do. It runs until the test's process ends.
fn start(settings: Settings) -> (SocketAddr, SocketAddr) {
    let (told, tell) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listening = Vendor::new(settings, Env::system()).unwrap().listen().await.unwrap();
            told.send((listening.address, listening.control)).unwrap();
            listening.serve().await;
        });
    });
    tell.recv().unwrap()
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    is_whole: bool,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// None: no connection, or it ended without an answer.
fn call(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Option<Answer> {
    let mut socket = TcpStream::connect(address).ok()?;
    let length = body.len();
    write!(socket, "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}").ok()?;
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut body = Vec::new();
    // A reset is how an answer may be cut off, too.
    let _ = reader.read_to_end(&mut body);
    let mut answer = Answer { status, headers, body, is_whole: true };
    answer.is_whole = match answer.header("content-length") {
        Some(length) => length.parse() == Ok(answer.body.len()),
        None => answer.body.ends_with(b"0\r\n\r\n"),
    };
    Some(answer)
}

fn get(address: SocketAddr, path: &str) -> Option<Answer> {
    call(address, "GET", path, "authorization: Bearer secret\r\n", "")
}

fn post(address: SocketAddr, path: &str, body: &str) {
    assert_eq!(call(address, "POST", path, "", body).unwrap().status, 200);
}

fn stats(address: SocketAddr, query: &str) -> Value {
    get(address, &format!("/_vendor/stats?{query}")).unwrap().json()["of"].clone()
}

#[test]
fn a_call_needs_the_token_and_is_answered() {
    let (address, control) = start(settings());
    assert_eq!(get(address, "/v1/groups").unwrap().json()["page"], 0);
    for headers in ["", "authorization: Bearer other\r\n", "authorization: Basic c2VjcmV0\r\n"] {
        let refused = call(address, "GET", "/v1/groups", headers, "").unwrap();
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    }
    assert_eq!(stats(control, "rate=1")["by_status"], serde_json::json!({ "200": 1, "401": 3 }));
}

#[test]
fn a_token_is_issued_for_the_secret_and_holds_until_it_expires() {
    let issue = |settings: Settings, headers: &str, body: &str| {
        let (address, _) = start(settings);
        let headers = format!("content-type: application/x-www-form-urlencoded\r\n{headers}");
        (address, call(address, "POST", "/oauth/token", &headers, body).unwrap())
    };
    let asked = "grant_type=client_credentials&client_id=any&client_secret=client%27s";
    let (address, issued) = issue(settings(), "", asked);
    let bearer =
        |issued: &Answer| format!("authorization: Bearer {}\r\n", issued.json()["access_token"].as_str().unwrap());
    assert_eq!(call(address, "GET", "/v1/groups", &bearer(&issued), "").unwrap().status, 200);
    assert_eq!(issued.json()["expires_in"], 60);

    let (_, basic) = issue(settings(), "authorization: Basic YW55OmNsaWVudCdz\r\n", "grant_type=client_credentials");
    assert_eq!(basic.status, 200);
    let (_, refused) = issue(settings(), "", "grant_type=client_credentials&client_secret=other");
    assert_eq!(refused.status, 401);

    let (address, expired) = issue(Settings { token_for: Duration::ZERO, ..settings() }, "", asked);
    assert_eq!(call(address, "GET", "/v1/groups", &bearer(&expired), "").unwrap().status, 401);
}

#[test]
fn calls_above_the_limit_are_refused_and_told_when_to_come_again() {
    let limited = Settings { rate: 0.5, burst: 3.0, ..settings() };
    let (address, control) = start(Settings { headers: Headers::Draft, ..limited.clone() });
    let answers: Vec<Answer> = (0..5).map(|_| get(address, "/v1/groups").unwrap()).collect();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 200, 429, 429]);
    assert_eq!(answers[3].header("retry-after"), Some("2"));
    assert_eq!(answers[0].header("ratelimit"), Some("\"calls\";r=2;t=1"));
    assert_eq!(answers[4].header("ratelimit"), Some("\"calls\";r=0;t=2"));
    // The log of calls shows that this client kept to no limit of three at once.
    let seen = stats(control, "");
    assert!(seen["deepest"].as_f64().unwrap() > 4.0, "{seen}");
    post(control, "/_vendor/change", r#"{"rate": 0}"#);
    assert_eq!(get(address, "/v1/groups").unwrap().status, 200);

    let (address, _) = start(Settings { burst: 1.0, retry_after: RetryAfter::Date, headers: Headers::X, ..limited });
    let first = get(address, "/v1/groups").unwrap();
    assert_eq!(first.header("x-ratelimit-remaining"), Some("0"));
    let date = get(address, "/v1/groups").unwrap().header("retry-after").unwrap().to_owned();
    assert!(httpdate::parse_http_date(&date).is_ok(), "{date}");
}

#[test]
fn an_answer_that_is_cut_off_looks_cut_off() {
    let (address, control) = start(Settings { faults: Faults { cut: 1.0, ..Faults::default() }, ..settings() });
    let answers: Vec<Answer> = (0..20).map(|_| get(address, "/v1/groups").unwrap()).collect();
    assert!(answers.iter().all(|answer| answer.status == 200 && !answer.is_whole && !answer.body.is_empty()));
    let chunked = answers.iter().filter(|answer| answer.header("transfer-encoding") == Some("chunked")).count();
    assert!((1..20).contains(&chunked), "both kinds come: {chunked} of 20 in chunks");
    let seen = stats(control, "rate=1");
    assert_eq!((seen["cut"].clone(), seen["paths"].clone()), (20.into(), 0.into()));
    post(control, "/_vendor/change", r#"{"cut": 0}"#);
    assert!(get(address, "/v1/groups").unwrap().is_whole);
}

#[test]
fn who_is_away_answers_nobody_and_comes_back() {
    for (kind, is_away) in [
        ("refuse", (|answer| answer.is_none()) as fn(Option<Answer>) -> bool),
        ("close", |answer| answer.is_none()),
        ("unavailable", |answer| answer.is_some_and(|answer| answer.status == 503)),
    ] {
        let (address, control) = start(settings());
        post(control, "/_vendor/away", &format!(r#"{{"kind": "{kind}", "seconds": 0.3}}"#));
        let away = || get(control, "/_vendor/stats?rate=1").unwrap().json()["away"].clone();
        assert_eq!(away(), kind);
        assert!(is_away(get(address, "/v1/groups")), "{kind}");
        while !away().is_null() {
            std::thread::yield_now();
        }
        // It listens again a moment after it is back.
        while get(address, "/v1/groups").is_none_or(|answer| answer.status != 200) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn the_census_and_the_list_of_readings_agree() {
    let (address, _) = start(settings());
    let census = get(address, "/_vendor/census").unwrap().json();
    let listed = get(address, "/_vendor/readings").unwrap();
    let lines = String::from_utf8(listed.body).unwrap().lines().filter(|line| line.starts_with('g')).count();
    assert_eq!(census["of"]["readings"], lines);
}
