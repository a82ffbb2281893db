use std::collections::VecDeque;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proptest::prelude::*;
use weir_types::Secret;

use super::*;
use crate::spec::{Auth, Client, KeyLocation};
use crate::{Answer, Method, Request, Transport, TransportError};

/// A vendor that answers with what a test put there.
#[derive(Debug, Default)]
struct Vendor(Mutex<VecDeque<Answer>>);

#[async_trait]
impl Transport for Vendor {
    async fn call(&self, _: Request) -> Result<Answer, TransportError> {
        let answer = self.0.lock().unwrap().pop_front();
        answer.ok_or(TransportError::Timeout { after: Duration::from_secs(1) })
    }
}

fn vendor(answers: impl IntoIterator<Item = Answer>) -> Vendor {
    Vendor(Mutex::new(answers.into_iter().collect()))
}

fn answer(body: impl Into<Bytes>) -> Answer {
    Answer { status: 200, headers: Vec::new(), body: body.into(), latency: Duration::from_millis(3) }
}

fn get(url: &str) -> Request {
    Request { method: Method::Get, url: url.parse().unwrap(), headers: Vec::new(), body: Bytes::new() }
}

fn stored(folder: &tempfile::TempDir) -> String {
    std::fs::read_to_string(folder.path().join(FILE)).unwrap()
}

#[tokio::test]
async fn repeated_requests_get_their_answers_in_order_and_the_last_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let answers = [answer("1"), answer("other"), answer("2")];
    let recorder = Recorder::create(vendor(answers.clone()), folder.path(), Redaction::default()).unwrap();
    let urls = ["http://v/a?x=1&y=2", "http://v/b", "http://v/a?y=2&x=1"];
    for (url, answer) in urls.iter().zip(&answers) {
        assert_eq!(&recorder.call(get(url)).await.unwrap(), answer);
    }
    let recorded = Recorded::open(folder.path()).unwrap();
    assert_eq!((recorded.answers(), recorded.skipped()), (3, 0));
    for (url, body) in [(urls[0], "1"), (urls[1], "other"), (urls[0], "2"), (urls[2], "2"), (urls[1], "other")] {
        assert_eq!(recorded.call(get(url)).await.unwrap().body, body);
    }
}

#[tokio::test]
async fn method_and_body_tell_requests_apart() {
    let folder = tempfile::tempdir().unwrap();
    let recorder =
        Recorder::create(vendor([answer("1"), answer("2"), answer("3")]), folder.path(), Redaction::default()).unwrap();
    let post = |body: &'static str| Request {
        method: Method::Post,
        body: Bytes::from_static(body.as_bytes()),
        ..get("http://v/a")
    };
    for request in [get("http://v/a"), post("x"), post("y")] {
        recorder.call(request).await.unwrap();
    }
    let recorded = Recorded::open(folder.path()).unwrap();
    assert_eq!(recorded.call(post("y")).await.unwrap().body, "3");
    assert_eq!(recorded.call(post("x")).await.unwrap().body, "2");
    assert!(recorded.call(post("z")).await.is_err());
}

#[tokio::test]
async fn what_is_not_recorded_is_named_with_its_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(vendor([answer(""), answer("")]), folder.path(), Redaction::default()).unwrap();
    recorder.call(get("http://v/groups?page=2")).await.unwrap();
    recorder.call(get("http://v/devices?page=1")).await.unwrap();
    let recorded = Recorded::open(folder.path()).unwrap();
    let error = recorded.call(get("http://v/groups?page=3&api_key=abc")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the recording has no answer to `GET http://v/groups?api_key=REDACTED&page=3`; the nearest that it has is \
         `GET http://v/groups?page=2`"
    );
}

#[tokio::test]
async fn transport_errors_are_handed_on_and_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(vendor([]), folder.path(), Redaction::default()).unwrap();
    assert!(matches!(recorder.call(get("http://v/")).await, Err(TransportError::Timeout { .. })));
    assert_eq!(stored(&folder), "");
}

#[tokio::test]
async fn no_secret_is_stored_wherever_a_vendor_repeats_it() {
    const KEY: &str = "s3cr3t/value+1";
    let client = |auth| Client {
        base_url: "http://v/".parse().unwrap(),
        headers: vec![("x-tenant".into(), Secret::new("tenant-secret"))],
        auth,
        paginator: None,
        timeout: Duration::from_secs(1),
        answer_bytes_max: 1000,
    };
    for auth in [
        Auth::Bearer(Secret::new(KEY)),
        Auth::Basic { username: "user".into(), password: Secret::new(KEY) },
        Auth::ApiKey { name: "k".into(), key: Secret::new(KEY), location: KeyLocation::Query },
        Auth::ClientCredentials {
            token_url: "http://v/token".parse().unwrap(),
            client_id: "id".into(),
            client_secret: Secret::new(KEY),
            scopes: Vec::new(),
            params: Vec::new(),
            in_body: false,
        },
    ] {
        let echo = Answer {
            headers: [
                ("set-cookie", "a=b"),
                ("authorization", "x"),
                ("x-api-key", "x"),
                ("x-session-id", "x"),
                ("link", "<http://v/?k=s3cr3t%2Fvalue%2B1&page=2>"),
                ("x-next-page-token", "kept"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            ..answer(format!(
                r#"{{"next":"http://v/?k={KEY}","tenant":"tenant-secret","basic":"dXNlcjpzM2NyM3QvdmFsdWUrMQ=="}}"#
            ))
        };
        let binary = answer([b"\xff\xfe".as_slice(), KEY.as_bytes(), b"\xff"].concat());
        let folder = tempfile::tempdir().unwrap();
        let redaction = Redaction::of(&client(auth.clone()));
        let recorder = Recorder::create(vendor([echo, binary]), folder.path(), redaction).unwrap();
        let mut request = get("http://user:pass@v/?k=s3cr3t%2Fvalue%2B1&api_key=other-key");
        request.headers.push(("authorization".into(), "Bearer own".into()));
        recorder.call(request).await.unwrap();
        recorder.call(get("http://v/binary")).await.unwrap();
        let text = stored(&folder);
        let mut secrets =
            vec!["s3cr3t", "tenant-secret", "other-key", "set-cookie", "authorization", "x-session", "own"];
        secrets.push("pass@");
        if matches!(auth, Auth::Basic { .. }) {
            secrets.push("dXNlcjpz");
        }
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(text.contains("x-next-page-token"));
        let recorded = Recorded::open(folder.path()).unwrap();
        assert_eq!(recorded.call(get("http://v/binary")).await.unwrap().body, b"\xff\xfeREDACTED\xff".as_slice());
        // The link as it was stored leads on.
        assert!(recorded.call(get("http://v/?k=REDACTED&api_key=REDACTED")).await.is_ok());
    }
}

#[tokio::test]
async fn a_folder_with_a_recording_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    drop(Recorder::create(vendor([]), folder.path(), Redaction::default()).unwrap());
    let error = Recorder::create(vendor([]), folder.path(), Redaction::default()).unwrap_err();
    assert!(matches!(error, RecordingError::Exists { .. }));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Recorded::open(empty.path()), Err(RecordingError::Missing { .. })));
}

#[tokio::test]
async fn a_recording_goes_on_behind_a_torn_line() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(vendor([answer("1"), answer("2")]), folder.path(), Redaction::default()).unwrap();
    recorder.call(get("http://v/1")).await.unwrap();
    recorder.call(get("http://v/2")).await.unwrap();
    let whole = std::fs::read(folder.path().join(FILE)).unwrap();
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in second + 1..whole.len() {
        let torn = tempfile::tempdir().unwrap();
        std::fs::File::create(torn.path().join(FILE)).unwrap().write_all(&whole[..cut]).unwrap();
        let recorded = Recorded::open(torn.path()).unwrap();
        assert_eq!((recorded.answers(), recorded.skipped()), (1, 1), "cut at {cut}");

        let recorder = Recorder::resume(vendor([answer("3")]), torn.path(), Redaction::default()).unwrap();
        recorder.call(get("http://v/3")).await.unwrap();
        let recorded = Recorded::open(torn.path()).unwrap();
        for (url, body) in [("http://v/1", "1"), ("http://v/3", "3")] {
            assert_eq!(recorded.call(get(url)).await.unwrap().body, body, "cut at {cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn answers_come_back_as_they_were(
        bodies in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                any::<String>().prop_map(String::into_bytes),
            ],
            1..8,
        ),
        status in 100u16..600,
        header in "[a-z]{1,8}",
        value in any::<String>(),
    ) {
        prop_assume!(Redaction::default().keeps_header(&header));
        let answers: Vec<Answer> = bodies
            .into_iter()
            .map(|body| Answer { status, headers: vec![(header.clone(), value.clone())], ..answer(body) })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let recorder = Recorder::create(vendor(answers.clone()), folder.path(), Redaction::default()).unwrap();
            for page in 0..answers.len() {
                recorder.call(get(&format!("http://v/?page={page}"))).await.unwrap();
            }
            let recorded = Recorded::open(folder.path()).unwrap();
            for (page, answer) in answers.iter().enumerate().rev() {
                let again = recorded.call(get(&format!("http://v/?page={page}"))).await.unwrap();
                assert_eq!(&again, answer);
            }
        });
    }
}
