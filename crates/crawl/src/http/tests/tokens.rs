//! OAuth2's client credentials: when tokens are fetched, and what their errors mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir_env::ManualClock;
use weir_types::{Secret, Timestamp};

use super::server::{Reply, Server, whole};
use super::*;

fn credentials(server: &Server) -> Auth {
    Auth::ClientCredentials {
        token_url: server.url("/token"),
        client_id: "my id".into(),
        client_secret: Secret::new("p&ss"),
        scopes: vec!["read".into(), "list".into()],
        params: vec![("audience".into(), "https://api".into())],
        in_body: false,
    }
}

fn token(number: usize, seconds: u64) -> Reply {
    whole("200 OK", "", format!(r#"{{"access_token":"t{number}","token_type":"bearer","expires_in":{seconds}}}"#))
}

/// A vendor that gives token `t0`, `t1`... and answers with the token that it saw.
async fn vendor(seconds: u64) -> Server {
    let tokens = AtomicUsize::new(0);
    Server::start(move |_, request| match request.starts_with("POST /token ") {
        true => token(tokens.fetch_add(1, Ordering::SeqCst), seconds),
        false => whole("200 OK", "", request.split("Bearer ").nth(1).unwrap_or("").split('\r').next().unwrap_or("")),
    })
    .await
}

fn count(server: &Server, start: &str) -> usize {
    server.requests().iter().filter(|request| request.starts_with(start)).count()
}

#[tokio::test]
async fn a_token_is_asked_for_as_the_rfc_says() {
    let server = vendor(3600).await;
    http(&server, credentials(&server)).call(get(&server, "/")).await.unwrap();
    let request = server.requests()[0].clone();
    // `my+id` in RFC 6749's form encoding is `my%20id` as well, for every server that decodes forms.
    assert!(request.contains("authorization: Basic bXklMjBpZDpwJTI2c3M=\r\n"), "{request}");
    let body = request.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(body, "grant_type=client_credentials&scope=read%20list&audience=https%3A%2F%2Fapi");
}

#[tokio::test]
async fn id_and_secret_go_into_the_body_where_that_is_said() {
    let server = vendor(3600).await;
    let mut auth = credentials(&server);
    if let Auth::ClientCredentials { in_body, .. } = &mut auth {
        *in_body = true;
    }
    http(&server, auth).call(get(&server, "/")).await.unwrap();
    let request = server.requests()[0].clone();
    assert!(!request.contains("authorization:"), "{request}");
    assert!(request.contains("&client_id=my%20id&client_secret=p%26ss"), "{request}");
}

#[tokio::test]
async fn however_many_callers_wait_a_token_is_fetched_once() {
    let server = vendor(3600).await;
    let http = Arc::new(http(&server, credentials(&server)));
    let calls = (0..50).map(|_| {
        let (http, request) = (http.clone(), get(&server, "/"));
        tokio::spawn(async move { http.call(request).await.unwrap().body })
    });
    for call in futures::future::join_all(calls).await {
        assert_eq!(call.unwrap(), "t0");
    }
    assert_eq!((count(&server, "POST /token"), count(&server, "GET /")), (1, 50));
}

#[tokio::test]
async fn a_token_is_fetched_anew_before_its_end_and_not_long_before() {
    for seed in 0..20 {
        let server = vendor(1000).await;
        let clock = ManualClock::at(Timestamp(0));
        let http =
            Http::new(&client(&server, credentials(&server)), Env::seeded(clock.clone(), seed), Limits::default())
                .unwrap();
        assert_eq!(http.call(get(&server, "/")).await.unwrap().body, "t0");
        clock.advance(Duration::from_secs(939));
        assert_eq!(http.call(get(&server, "/")).await.unwrap().body, "t0", "seed {seed}");
        clock.advance(Duration::from_secs(60));
        assert_eq!(http.call(get(&server, "/")).await.unwrap().body, "t1", "seed {seed}");
    }
}

#[tokio::test]
async fn where_a_renewal_fails_the_old_token_is_used_to_its_end() {
    let tokens = AtomicUsize::new(0);
    let server = Server::start(move |_, request| match request.starts_with("POST /token ") {
        true if tokens.fetch_add(1, Ordering::SeqCst) == 0 => token(0, 1000),
        true => whole("503 Service Unavailable", "", ""),
        false => whole("200 OK", "", ""),
    })
    .await;
    let clock = ManualClock::at(Timestamp(0));
    let env = Env::seeded(clock.clone(), 1);
    let http = Http::new(&client(&server, credentials(&server)), env, Limits::default()).unwrap();
    http.call(get(&server, "/")).await.unwrap();
    clock.advance(Duration::from_secs(999));
    for _ in 0..10 {
        http.call(get(&server, "/")).await.unwrap();
    }
    // One failure, and a pause: not one request for a token per call.
    assert_eq!(count(&server, "POST /token"), 2);
    clock.advance(Duration::from_secs(2));
    assert!(matches!(http.call(get(&server, "/")).await, Err(TransportError::Token { passing: true, .. })));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_for_all_and_calls_are_repeated_once() {
    let tokens = AtomicUsize::new(0);
    let server = Server::start(move |_, request| match request {
        _ if request.starts_with("POST /token ") => token(tokens.fetch_add(1, Ordering::SeqCst), 1000),
        _ if request.contains("Bearer t0\r\n") => whole("401 Unauthorized", "", ""),
        _ => whole("200 OK", "", ""),
    })
    .await;
    let http = Arc::new(http(&server, credentials(&server)));
    let calls = (0..20).map(|_| {
        let (http, request) = (http.clone(), get(&server, "/"));
        tokio::spawn(async move { http.call(request).await.unwrap().status })
    });
    for status in futures::future::join_all(calls).await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!((count(&server, "POST /token"), count(&server, "GET /")), (2, 40));
}

#[tokio::test]
async fn a_call_that_is_refused_with_a_new_token_too_is_answered_so() {
    let server = Server::start(|number, request| match request.starts_with("POST /token ") {
        true => token(number, 1000),
        false => whole("401 Unauthorized", "", ""),
    })
    .await;
    let answer = http(&server, credentials(&server)).call(get(&server, "/")).await.unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!((count(&server, "POST /token"), count(&server, "GET /")), (2, 2));
}

#[tokio::test]
async fn errors_of_the_tokens_server_pass_or_last() {
    for (status, body, passes) in [
        ("503 Service Unavailable", "", true),
        ("429 Too Many Requests", "", true),
        ("500 Internal Server Error", "", true),
        ("400 Bad Request", r#"{"error":"invalid_scope"}"#, false),
        ("401 Unauthorized", r#"{"error":"invalid_client","error_description":"p&ss"}"#, false),
        ("200 OK", "<html>", false),
        ("200 OK", r#"{"access_token":"x","token_type":"mac"}"#, false),
    ] {
        let server = Server::start(move |_, _| whole(status, "", body)).await;
        let error = http(&server, credentials(&server)).call(get(&server, "/")).await.unwrap_err();
        let TransportError::Token { passing, .. } = &error else { panic!("{error}") };
        assert_eq!(*passing, passes, "{status}: {error}");
        assert!(!error.to_string().contains("p&ss"), "{error}");
        assert_eq!(count(&server, "GET /"), 0);
    }
}

#[tokio::test]
async fn callers_that_waited_for_a_failure_share_it() {
    let server = Server::start(|_, _| whole("503 Service Unavailable", "", "")).await;
    let http = Arc::new(http(&server, credentials(&server)));
    let calls = (0..50).map(|_| {
        let (http, request) = (http.clone(), get(&server, "/"));
        tokio::spawn(async move { http.call(request).await.is_err() })
    });
    for failed in futures::future::join_all(calls).await {
        assert!(failed.unwrap());
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_life_that_is_a_text_or_missing_is_understood() {
    for (life, left) in [(r#","expires_in":"100""#, "100"), ("", "3600")] {
        let server = Server::start(move |number, request| match request.starts_with("POST /token ") {
            true => whole("200 OK", "", format!(r#"{{"access_token":"t{number}"{life}}}"#)),
            false => whole("200 OK", "", ""),
        })
        .await;
        let clock = ManualClock::at(Timestamp(0));
        let env = Env::seeded(clock.clone(), 1);
        let http = Http::new(&client(&server, credentials(&server)), env, Limits::default()).unwrap();
        let left: u64 = left.parse().unwrap();
        for (advance, tokens) in [(0, 1), (left / 2, 1), (left / 2, 2)] {
            clock.advance(Duration::from_secs(advance));
            http.call(get(&server, "/")).await.unwrap();
            assert_eq!(count(&server, "POST /token"), tokens);
        }
    }
}
