//! Where credentials go, and where they never show.

use weir_types::Secret;

use super::server::{Server, whole};
use super::*;
use crate::http::HttpError;
use crate::spec::KeyLocation;

const VALUE: &str = "s3cr3t-value";

fn key(location: KeyLocation) -> Auth {
    Auth::ApiKey { name: "x-key".into(), key: Secret::new(VALUE), location }
}

fn every_kind(server: &Server) -> Vec<Auth> {
    vec![
        Auth::Bearer(Secret::new(VALUE)),
        Auth::Basic { username: "user".into(), password: Secret::new(VALUE) },
        key(KeyLocation::Header),
        key(KeyLocation::Query),
        key(KeyLocation::Cookie),
        Auth::ClientCredentials {
            token_url: server.url("/token?audience=x"),
            client_id: "id".into(),
            client_secret: Secret::new(VALUE),
            scopes: vec!["read".into()],
            params: Vec::new(),
            in_body: true,
        },
    ]
}

async fn sent(auth: Auth, cookie: Option<&str>) -> String {
    let server = Server::start(|_, _| whole("200 OK", "", "")).await;
    let mut request = get(&server, "/a?b=c");
    request.headers.extend(cookie.map(|cookie| ("cookie".to_owned(), cookie.to_owned())));
    http(&server, auth).call(request).await.unwrap();
    server.requests()[0].clone()
}

#[tokio::test]
async fn each_kind_goes_where_it_belongs() {
    let bearer = sent(Auth::Bearer(Secret::new(VALUE)), None).await;
    assert!(bearer.contains("authorization: Bearer s3cr3t-value\r\n"), "{bearer}");
    let basic = sent(Auth::Basic { username: "Aladdin".into(), password: Secret::new("open sesame") }, None).await;
    // RFC 7617, section 2.
    assert!(basic.contains("authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), "{basic}");
    let header = sent(key(KeyLocation::Header), None).await;
    assert!(header.contains("x-key: s3cr3t-value\r\n"), "{header}");
    let query = sent(key(KeyLocation::Query), None).await;
    assert!(query.starts_with("GET /a?b=c&x-key=s3cr3t-value HTTP/1.1\r\n"), "{query}");
    let cookie = sent(key(KeyLocation::Cookie), None).await;
    assert!(cookie.contains("cookie: x-key=s3cr3t-value\r\n"), "{cookie}");
    let cookies = sent(key(KeyLocation::Cookie), Some("a=b")).await;
    assert!(cookies.contains("cookie: a=b; x-key=s3cr3t-value\r\n"), "{cookies}");
}

#[tokio::test]
async fn another_origin_gets_no_credentials_and_none_of_the_clients_headers() {
    let token = |_, _: &str| whole("200 OK", "", r#"{"access_token":"s3cr3t-value","token_type":"Bearer"}"#);
    let ours = Server::start(token).await;
    let other = Server::start(|_, _| whole("200 OK", "", "")).await;
    for auth in every_kind(&ours) {
        let mut client = client(&ours, auth);
        client.headers.push(("x-tenant-key".into(), Secret::new(VALUE)));
        let http = Http::new(&client, Env::system(), Limits::default()).unwrap();
        http.call(get(&other, "/next?page=2")).await.unwrap();
    }
    assert_eq!(other.requests().len(), 6);
    for request in other.requests() {
        assert!(!request.contains(VALUE) && !request.contains("authorization"), "{request}");
    }
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_the_answer_itself() {
    let other = Server::start(|_, _| whole("200 OK", "", "")).await;
    let location = format!("location: {}\r\n", other.url("/stolen"));
    let ours = Server::start(move |_, _| whole("302 Found", &location, "")).await;
    let http = http(&ours, Auth::Bearer(Secret::new(VALUE)));
    assert_eq!(http.call(get(&ours, "/")).await.unwrap().status, 302);
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_within_the_origin_tells_no_referrer() {
    let server = Server::start(|number, _| match number {
        0 => whole("302 Found", "location: /there\r\n", ""),
        _ => whole("200 OK", "", ""),
    })
    .await;
    http(&server, key(KeyLocation::Query)).call(get(&server, "/")).await.unwrap();
    assert!(!server.requests()[1].contains(VALUE), "{}", server.requests()[1]);
}

#[tokio::test]
async fn no_error_and_no_debug_print_shows_a_credential() {
    // Not HTTP, and nobody there: both fail with whatever the layers below say.
    let broken = Server::start(|_, _| server::raw("nonsense\r\n\r\n")).await;
    for auth in every_kind(&broken) {
        let mut client = client(&broken, auth);
        client.headers.push(("x-tenant-key".into(), Secret::new(VALUE)));
        let http = Http::new(&client, Env::system(), Limits::default()).unwrap();
        let error = http.call(get(&broken, "/")).await.unwrap_err();
        let mut texts = vec![format!("{error}"), format!("{error:?}"), format!("{http:?}"), format!("{client:?}")];
        client.base_url = "http://127.0.0.1:1/".parse().unwrap();
        let nobody = Http::new(&client, Env::system(), Limits::default()).unwrap();
        let request = Request { url: client.base_url.clone(), ..get(&broken, "/") };
        let error = nobody.call(request).await.unwrap_err();
        texts.extend([format!("{error}"), format!("{error:?}")]);
        for text in texts {
            assert!(!text.contains(VALUE), "{text}");
        }
    }
}

#[tokio::test]
async fn a_credential_that_can_not_be_sent_is_refused_unseen() {
    let server = Server::start(|_, _| whole("200 OK", "", "")).await;
    let broken = || Secret::new("s3cr3t-value\n");
    for auth in [
        Auth::Bearer(broken()),
        Auth::ApiKey { name: "x".into(), key: broken(), location: KeyLocation::Header },
        Auth::ApiKey { name: "x".into(), key: broken(), location: KeyLocation::Cookie },
    ] {
        let error = Http::new(&client(&server, auth), Env::system(), Limits::default()).unwrap_err();
        assert!(matches!(error, HttpError::Header { .. }));
        assert!(!format!("{error} {error:?}").contains(VALUE));
    }
}

#[test]
fn an_address_that_is_not_http_is_refused_without_its_password() {
    let client = Client {
        base_url: "ftp://user:s3cr3t-value@vendor.example/".parse().unwrap(),
        headers: Vec::new(),
        auth: Auth::None,
        paginator: None,
        timeout: Duration::from_secs(1),
        answer_bytes_max: MAX,
    };
    let error = Http::new(&client, Env::system(), Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "`ftp://vendor.example/` is not an http:// or https:// address");
}
