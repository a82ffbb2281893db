//! What is an answer, and what is none.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::server::{Server, raw, whole};
use super::*;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn an_answer_comes_with_status_lower_case_headers_and_body() {
    let server = Server::start(|_, _| whole("404 Not Found", "X-Rate-Limit: 5\r\n", "no")).await;
    let answer = ask(&server).await.unwrap();
    assert_eq!(answer.status, 404);
    assert_eq!(answer.body, "no");
    assert!(answer.headers.contains(&("x-rate-limit".to_owned(), "5".to_owned())));
    let request = server.requests()[0].to_lowercase();
    assert!(request.contains(&format!("user-agent: weir/{}\r\n", env!("CARGO_PKG_VERSION"))), "{request}");
    assert!(request.contains("accept-encoding: gzip\r\n"), "{request}");
}

#[tokio::test]
async fn connections_are_kept_for_the_next_call() {
    let server = Server::start(|number, _| whole("200 OK", "", number.to_string())).await;
    let http = http(&server, Auth::None);
    for number in 0..5 {
        assert_eq!(http.call(get(&server, "/")).await.unwrap().body, number.to_string());
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_body_shorter_than_its_length_is_cut_off() {
    let server = Server::start(|_, _| raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n[1,2]")).await;
    let error = ask(&server).await.unwrap_err();
    assert!(matches!(error, TransportError::CutOff { status: 200, bytes: 5, .. }), "{error}");
}

#[tokio::test]
async fn chunks_without_a_last_one_are_cut_off() {
    for end in ["", "5\r\n[1,2", "0"] {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1,2]\r\n";
        let server = Server::start(move |_, _| raw(format!("{head}{end}"))).await;
        let error = ask(&server).await.unwrap_err();
        assert!(matches!(error, TransportError::CutOff { status: 200, .. }), "{end:?}: {error}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_an_answer_is_no_answer() {
    for bytes in ["", "HTTP/1.1 200 OK\r\ncontent-le", "no http at all\r\n\r\n"] {
        let server = Server::start(move |_, _| raw(bytes)).await;
        let error = ask(&server).await.unwrap_err();
        assert!(matches!(error, TransportError::Connect { .. }), "{bytes:?}: {error}");
    }
}

#[tokio::test]
async fn nobody_who_listens_is_named_with_host_and_port() {
    let server = Server::start(|_, _| whole("200 OK", "", "")).await;
    let mut client = client(&server, Auth::None);
    // Port 1 of the machine itself: nobody listens there.
    client.base_url = "http://127.0.0.1:1/".parse().unwrap();
    let http = Http::new(&client, Env::system(), Limits::default()).unwrap();
    let url = client.base_url.clone();
    let error = http.call(Request { url, ..get(&server, "/") }).await.unwrap_err();
    assert!(error.to_string().starts_with("connect to `127.0.0.1:1`: "), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn an_answer_that_does_not_end_in_time_is_a_timeout() {
    for bytes in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n[1,2]"] {
        let server = Server::start(move |_, _| server::Reply { bytes: bytes.into(), closes: false }).await;
        let mut client = client(&server, Auth::None);
        client.timeout = Duration::from_millis(50);
        let http = Http::new(&client, Env::system(), Limits::default()).unwrap();
        let error = http.call(get(&server, "/")).await.unwrap_err();
        assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
        assert_eq!(error.to_string(), "no whole answer within 50ms");
    }
}

#[tokio::test]
async fn gzip_and_deflate_are_decompressed_and_no_longer_named() {
    let body = "[1,2,3]".repeat(1000);
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(body.as_bytes()).unwrap();
    for (name, bytes) in [("gzip", gzip(body.as_bytes())), ("deflate", deflate.finish().unwrap())] {
        let server = Server::start(move |_, _| whole("200 OK", &format!("content-encoding: {name}\r\n"), &bytes)).await;
        let answer = ask(&server).await.unwrap();
        assert_eq!(answer.body, body, "{name}");
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("content-")), "{:?}", answer.headers);
    }
}

#[tokio::test]
async fn gzip_of_several_members_is_one_body() {
    let bytes = [gzip(b"[1,"), gzip(b"2]")].concat();
    let server = Server::start(move |_, _| whole("200 OK", "content-encoding: gzip\r\n", &bytes)).await;
    assert_eq!(ask(&server).await.unwrap().body, "[1,2]");
}

#[tokio::test]
async fn no_body_is_no_body_under_any_encoding() {
    for encoding in ["gzip", "deflate", "identity", "br"] {
        let headers = format!("content-encoding: {encoding}\r\n");
        let server = Server::start(move |_, _| whole("200 OK", &headers, "")).await;
        assert_eq!(ask(&server).await.unwrap().body, "", "{encoding}");
    }
}

#[tokio::test]
async fn an_encoding_that_was_not_asked_for_is_left_as_it_is() {
    let server = Server::start(|_, _| whole("200 OK", "content-encoding: br\r\n", "\x01")).await;
    let answer = ask(&server).await.unwrap();
    assert_eq!(answer.body, "\x01");
    assert!(answer.headers.contains(&("content-encoding".to_owned(), "br".to_owned())));
}

#[tokio::test]
async fn a_body_as_large_as_allowed_passes_and_one_byte_more_does_not() {
    for (length, passes) in [(MAX, true), (MAX + 1, false)] {
        let body = "x".repeat(usize::try_from(length).unwrap());
        let chunked =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let plain = whole("200 OK", "", &body).bytes;
        let gzip = whole("200 OK", "content-encoding: gzip\r\n", gzip(body.as_bytes())).bytes;
        for bytes in [chunked.into_bytes(), plain, gzip] {
            let server = Server::start(move |_, _| raw(&bytes)).await;
            match ask(&server).await {
                Ok(answer) => assert!(passes && answer.body == body),
                Err(TransportError::TooLarge { status: 200, max: MAX }) => assert!(!passes),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_bomb_is_refused() {
    let bomb = gzip(&vec![0; 50_000_000]);
    assert!((bomb.len() as u64) < MAX);
    let server = Server::start(move |_, _| whole("200 OK", "content-encoding: gzip\r\n", &bomb)).await;
    let error = ask(&server).await.unwrap_err();
    assert!(matches!(error, TransportError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn head_has_the_length_of_a_body_and_none() {
    let server = Server::start(|_, _| server::Reply {
        bytes: b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".to_vec(),
        closes: false,
    })
    .await;
    let request = Request { method: Method::Head, ..get(&server, "/") };
    assert_eq!(http(&server, Auth::None).call(request).await.unwrap().body, "");
}

#[tokio::test]
async fn a_body_and_headers_are_sent() {
    let server = Server::start(|_, _| whole("200 OK", "", "")).await;
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let request = Request { method: Method::Post, headers, body: Bytes::from("{\"a\":1}"), ..get(&server, "/q?x=1") };
    http(&server, Auth::None).call(request).await.unwrap();
    let seen = &server.requests()[0];
    assert!(seen.starts_with("POST /q?x=1 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("content-type: application/json\r\n") && seen.ends_with("\r\n\r\n{\"a\":1}"), "{seen}");
}

#[tokio::test]
async fn redirects_of_one_origin_are_followed_five_times() {
    for (redirects, status) in [(5, 200), (6, 302)] {
        let server = Server::start(move |number, _| match number < redirects {
            true => whole("302 Found", &format!("location: /{number}\r\n"), ""),
            false => whole("200 OK", "", "there"),
        })
        .await;
        assert_eq!(ask(&server).await.unwrap().status, status);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn gzip_cut_anywhere_is_cut_off(body in proptest::collection::vec(any::<u8>(), 1..2000), cut in 0.0f64..1.0) {
        let bytes = gzip(&body);
        let length = 1 + ((bytes.len() - 2) as f64 * cut) as usize;
        let cut = bytes[..length].to_vec();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            // Its length is that of what is left: only the compression shows that something is missing.
            let server = Server::start(move |_, _| whole("200 OK", "content-encoding: gzip\r\n", &cut)).await;
            ask(&server).await
        });
        let is_cut_off = matches!(outcome, Err(TransportError::CutOff { .. }));
        prop_assert!(is_cut_off, "{length} of {} bytes: {outcome:?}", bytes.len());
    }
}
