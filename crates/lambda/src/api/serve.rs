//! The API over HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use weir_env::Env;

use super::answer::{self, Answer};
use super::{Exchange, Next, Reported, RuntimeError};
use crate::limits::{CONNECTIONS_MAX, DRAIN_BYTES_MAX, ERROR_BYTES_MAX, RESPONSE_BYTES_MAX};

const PREFIX: &str = "/2018-06-01/runtime/";
/// The pause after a connection that could not be taken.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";

/// Serves one environment until the future is dropped, its connections with it.
pub(crate) async fn serve(listener: TcpListener, exchange: Arc<Exchange>, env: Env) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        // Never closed: an error can't come.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely. The runtime tries again, or its environment times out.
                tracing::warn!(%error, "a runtime could not connect");
                env.sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let exchange = Arc::clone(&exchange);
        connections.spawn(async move {
            connection(stream, exchange).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, exchange: Arc<Exchange>) {
    // Without it an answer waits for the acknowledgement of the one before: 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let service = service_fn(move |request| {
        let exchange = Arc::clone(&exchange);
        async move { Ok::<_, Infallible>(route(request, &exchange).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a runtime's connection broke");
    }
}

async fn route(request: Request<Incoming>, exchange: &Exchange) -> Answer {
    let path = request.uri().path().to_owned();
    let Some(call) = path.strip_prefix(PREFIX) else { return answer::not_found(&path) };
    let parts: Vec<&str> = call.split('/').collect();
    let post = request.method() == Method::POST;
    match parts.as_slice() {
        ["invocation", "next"] if request.method() == Method::GET => next(exchange).await,
        ["invocation", id, "response"] if post => response(request, id, exchange).await,
        ["invocation", id, "error"] if post => error(request, id, exchange).await,
        ["init", "error"] if post => init_error(request, exchange).await,
        ["restore", "next" | "error"] => answer::unsupported(&path),
        ["invocation", "next"] | ["invocation", _, "response" | "error"] | ["init", "error"] => {
            answer::wrong_method(&path)
        }
        _ => answer::not_found(&path),
    }
}

async fn next(exchange: &Exchange) -> Answer {
    match exchange.next() {
        Ok(Next::Work(work)) => answer::event(*work),
        Ok(Next::Wait(wait)) => match wait.await {
            Ok(work) => answer::event(work),
            // The environment ends, or a later `next` took this one's place.
            Err(_) => answer::wrong_state(super::StateError::InvalidTransition),
        },
        Err(error) => answer::wrong_state(error),
    }
}

async fn response(request: Request<Incoming>, id: &str, exchange: &Exchange) -> Answer {
    if let Err(error) = exchange.expects(id) {
        return answer::wrong_state(error);
    }
    let reported = match read(request, RESPONSE_BYTES_MAX).await {
        Read::Whole(_, Some(trailers)) if trailers.contains_key(ERROR_TYPE) => {
            let text = |name| trailers.get(name).and_then(|value| value.to_str().ok());
            let error_type = text(ERROR_TYPE).unwrap_or("Runtime.Unknown");
            Reported::Error(RuntimeError::of_trailers(error_type, text(ERROR_BODY)))
        }
        Read::Whole(body, _) => Reported::Response(body),
        Read::TooLarge => Reported::TooLarge,
        Read::Broken(what) => {
            let payload = serde_json::json!({ "errorType": "Runtime.TruncatedResponse", "errorMessage": what });
            let error = RuntimeError::parse(None, Bytes::from(payload.to_string()));
            return match exchange.report(id, Reported::Error(error)) {
                Ok(()) => answer::broken_body(&what),
                Err(error) => answer::wrong_state(error),
            };
        }
    };
    let large = matches!(reported, Reported::TooLarge);
    match exchange.report(id, reported) {
        Ok(()) if large => answer::too_large(),
        Ok(()) => answer::accepted(),
        Err(error) => answer::wrong_state(error),
    }
}

async fn error(request: Request<Incoming>, id: &str, exchange: &Exchange) -> Answer {
    if let Err(error) = exchange.expects(id) {
        return answer::wrong_state(error);
    }
    let error = read_error(request).await;
    match exchange.report(id, Reported::Error(error)) {
        Ok(()) => answer::accepted(),
        Err(error) => answer::wrong_state(error),
    }
}

async fn init_error(request: Request<Incoming>, exchange: &Exchange) -> Answer {
    match exchange.init_error(read_error(request).await) {
        Ok(()) => answer::accepted(),
        Err(error) => answer::wrong_state(error),
    }
}

async fn read_error(request: Request<Incoming>) -> RuntimeError {
    let header = request.headers().get(ERROR_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = match read(request, ERROR_BYTES_MAX).await {
        Read::Whole(body, _) => body,
        // An error is an error, however badly it is told.
        Read::TooLarge => Bytes::from(format!(
            "{{\"errorType\":\"Runtime.Unknown\",\"errorMessage\":\"an error report of more than {ERROR_BYTES_MAX} bytes\"}}"
        )),
        Read::Broken(what) => Bytes::from(what),
    };
    RuntimeError::parse(header.as_deref(), body)
}

enum Read {
    Whole(Bytes, Option<HeaderMap>),
    TooLarge,
    Broken(String),
}

/// Reads a body up to a limit. What exceeds it is read and dropped for a while: a client that is cut off while it sends
/// can't read the refusal.
async fn read(request: Request<Incoming>, bytes_max: usize) -> Read {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut body = request.into_body();
    let mut whole = BytesMut::with_capacity(declared.unwrap_or(0).min(bytes_max));
    let (mut dropped, mut trailers) = (0, None);
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Read::Broken(format!("the body broke off: {error}")),
        };
        match frame.into_data() {
            Ok(data) if dropped > 0 || whole.len() + data.len() > bytes_max => {
                dropped += data.len().max(1);
                if dropped > DRAIN_BYTES_MAX {
                    return Read::TooLarge;
                }
            }
            Ok(data) => whole.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    if dropped > 0 { Read::TooLarge } else { Read::Whole(whole.freeze(), trailers) }
}
