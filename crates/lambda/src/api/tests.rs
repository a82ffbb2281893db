use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

struct Api {
    exchange: Arc<Exchange>,
    address: std::net::SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Api {
    async fn start() -> Self {
        let exchange = Arc::new(Exchange::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { task: tokio::spawn(serve(listener, Arc::clone(&exchange), weir_env::Env::system())), exchange, address }
    }

    /// Sends a request and returns status and the rest of the answer.
    async fn call(&self, head: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let (method, rest) = head.split_once(' ').unwrap();
        let (path, headers) = rest.split_once('\n').unwrap_or((rest, ""));
        let framing = match headers.contains("transfer-encoding") {
            true => String::new(),
            false => format!("content-length: {}\r\n", body.len()),
        };
        let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
        let head = format!(
            "{method} /2018-06-01/runtime/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}{framing}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer[9..12].parse().unwrap(), answer)
    }
}

fn work(id: &str) -> Work {
    Work {
        request_id: id.to_owned(),
        deadline_ms: 99,
        arn: "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned(),
        trace: "Root=1-0-0".to_owned(),
        client_context: Some(Bytes::from("{\"client\":{}}")),
        payload: Bytes::from("{\"a\":1}"),
    }
}

#[tokio::test]
async fn an_event_goes_out_once_and_its_response_comes_back() {
    let api = Api::start().await;
    let reported = api.exchange.offer(work("one"));
    let (status, answer) = api.call("GET invocation/next", b"").await;
    assert_eq!(status, 200);
    for part in [
        "lambda-runtime-aws-request-id: one",
        "lambda-runtime-deadline-ms: 99",
        "lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:000000000000:function:f",
        "lambda-runtime-trace-id: Root=1-0-0",
        "lambda-runtime-client-context: {\"client\":{}}",
        "{\"a\":1}",
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
    let (status, answer) = api.call("GET invocation/next", b"").await;
    assert_eq!(status, 403);
    assert!(answer.contains("InvalidStateTransition"));
    assert_eq!(api.call("POST invocation/two/response", b"1").await.0, 400);
    let (status, answer) = api.call("POST invocation/one/response", b"NaN").await;
    assert_eq!(status, 202);
    assert!(answer.contains("{\"status\":\"OK\"}"));
    assert!(matches!(reported.await.unwrap(), Reported::Response(body) if body == "NaN"));
    let (status, answer) = api.call("POST invocation/one/response", b"again").await;
    assert_eq!(status, 400);
    assert!(answer.contains("InvalidRequestID"));
}

#[tokio::test]
async fn a_streamed_response_may_break_off_by_its_trailers() {
    let api = Api::start().await;
    let reported = api.exchange.offer(work("one"));
    api.call("GET invocation/next", b"").await;
    let body = b"3\r\nabc\r\n0\r\nLambda-Runtime-Function-Error-Type: Stream.Broke\r\n\r\n";
    let head = "POST invocation/one/response\nlambda-runtime-function-response-mode: streaming\n\
                trailer: Lambda-Runtime-Function-Error-Type\ntransfer-encoding: chunked";
    assert_eq!(api.call(head, body).await.0, 202);
    assert!(matches!(reported.await.unwrap(), Reported::Error(error) if error.error_type == "Stream.Broke"));

    let reported = api.exchange.offer(work("two"));
    api.call("GET invocation/next", b"").await;
    let head = "POST invocation/two/response\ntransfer-encoding: chunked";
    assert_eq!(api.call(head, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await.0, 202);
    assert!(matches!(reported.await.unwrap(), Reported::Response(body) if body == "abcde"));
}

#[tokio::test]
async fn an_oversize_response_is_refused_and_told() {
    let api = Api::start().await;
    let reported = api.exchange.offer(work("one"));
    api.call("GET invocation/next", b"").await;
    let large = vec![b'x'; crate::limits::RESPONSE_BYTES_MAX + 1];
    let (status, answer) = api.call("POST invocation/one/response", &large).await;
    assert_eq!(status, 413);
    assert!(answer.contains("Exceeded maximum allowed payload size (6291556 bytes)."));
    assert!(matches!(reported.await.unwrap(), Reported::TooLarge));
}

#[tokio::test]
async fn an_init_error_counts_before_the_first_next_only() {
    let api = Api::start().await;
    let report = br#"{"errorType":"Runtime.ImportModuleError","errorMessage":"no module"}"#;
    assert_eq!(api.call("POST init/error", report).await.0, 202);
    assert!(matches!(&*api.exchange.init().borrow(), Init::Failed(error) if error.message == "no module"));
    assert_eq!(api.call("POST init/error", report).await.0, 403);
    let (status, answer) = api.call("GET restore/next", b"").await;
    assert_eq!(status, 403);
    assert!(answer.contains("not supported"));
    assert_eq!(api.call("GET nowhere", b"").await.0, 404);
    assert_eq!(api.call("GET init/error", b"").await.0, 405);
}

#[tokio::test]
async fn an_event_that_was_never_fetched_is_known_when_the_environment_ends() {
    let exchange = Exchange::new();
    let Ok(Next::Wait(gone)) = exchange.next() else { panic!("nothing was offered") };
    drop(gone);
    let reported = exchange.offer(work("one"));
    exchange.end();
    assert!(reported.await.is_err());
    assert!(!exchange.was_taken() && exchange.has_ended());
    assert!(exchange.offer(work("two")).await.is_err());

    let exchange = Exchange::new();
    let reported = exchange.offer(work("one"));
    assert!(matches!(exchange.next(), Ok(Next::Work(_))));
    exchange.end();
    assert!(reported.await.is_err());
    assert!(exchange.was_taken());
}
