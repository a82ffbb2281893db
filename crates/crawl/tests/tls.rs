//! TLS and HTTP/2, against a server with certificates of its own (`tests/tls`: a test's authority, and `localhost`, until 2120).
//!
//! Which certificates are trusted is the operating system's to say, or `SSL_CERT_FILE`'s: so each test runs itself again, with that set.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here, and a failure is theirs")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use weir_crawl::http::{Http, Limits};
use weir_crawl::spec::{Auth, Client};
use weir_crawl::{Answer, Method, Request, Transport, TransportError};
use weir_env::Env;
use weir_types::Secret;

/// Says that this process is the one that the certificates are set for.
const AGAIN: &str = "WEIR_TLS_TEST_AGAIN";

/// Runs the test of this name once more, trusting what is in a file; false: this is that run.
fn ran_again(test: &str, trusted: &str) -> bool {
    if std::env::var_os(AGAIN).is_some() {
        return false;
    }
    let file = format!("{}/tests/tls/{trusted}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(AGAIN, "1")
        .env("SSL_CERT_FILE", file)
        .env_remove("SSL_CERT_DIR");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", String::from_utf8_lossy(&output.stdout));
    true
}

/// A server that says which HTTP it was asked in, and with which credentials; and the connections that it accepted.
async fn serve(protocols: &[&str]) -> (SocketAddr, Arc<AtomicUsize>) {
    let path = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let certificate = CertificateDer::from_pem_file(path("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(path("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(default_provider().into()).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections: Arc<AtomicUsize> = Arc::default();
    let accepted = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::SeqCst);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    (address, connections)
}

async fn answer(request: hyper::Request<Incoming>) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let authorization = request.headers().get("authorization").map_or("", |value| value.to_str().unwrap());
    let text = format!("{:?} {authorization}", request.version());
    Ok(hyper::Response::new(Full::new(Bytes::from(text))))
}

fn http(address: SocketAddr) -> (Http, Request) {
    let client = Client {
        base_url: format!("https://localhost:{}/", address.port()).parse().unwrap(),
        headers: Vec::new(),
        auth: Auth::Bearer(Secret::new("token")),
        paginator: None,
        timeout: Duration::from_secs(20),
        answer_bytes_max: 1000,
    };
    let request =
        Request { method: Method::Get, url: client.base_url.clone(), headers: Vec::new(), body: Bytes::new() };
    (Http::new(&client, Env::system(), Limits::default()).unwrap(), request)
}

async fn ask(protocols: &[&str]) -> Result<Answer, TransportError> {
    let (address, _) = serve(protocols).await;
    let (http, request) = http(address);
    http.call(request).await
}

#[tokio::test]
async fn the_protocol_is_what_tls_agrees_on() {
    if ran_again("the_protocol_is_what_tls_agrees_on", "ca.pem") {
        return;
    }
    assert_eq!(ask(&["h2", "http/1.1"]).await.unwrap().body, "HTTP/2.0 Bearer token");
    assert_eq!(ask(&["http/1.1"]).await.unwrap().body, "HTTP/1.1 Bearer token");
    assert_eq!(ask(&[]).await.unwrap().body, "HTTP/1.1 Bearer token");
}

#[tokio::test]
async fn calls_at_once_share_one_connection_over_http_2() {
    if ran_again("calls_at_once_share_one_connection_over_http_2", "ca.pem") {
        return;
    }
    let (address, connections) = serve(&["h2"]).await;
    let (http, request) = http(address);
    http.call(request.clone()).await.unwrap();
    let calls = (0..50).map(|_| http.call(request.clone()));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap().body, "HTTP/2.0 Bearer token");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_gets_no_request() {
    // The file is a certificate, and not that of the server's authority.
    if ran_again("a_certificate_that_nobody_vouches_for_gets_no_request", "server.pem") {
        return;
    }
    let error = ask(&["h2", "http/1.1"]).await.unwrap_err();
    assert!(matches!(error, TransportError::Connect { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
}
