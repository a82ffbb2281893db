//! The accept loop: connections within limits, HTTP/1.1 and HTTP/2 (also with prior knowledge, in clear text), and an orderly end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt;
use weir_env::Env;
use weir_runtime::Node;

use crate::invoke::Peer;
use crate::routes;

/// Connections that are open at once. More wait in the operating system's queue.
pub const CONNECTIONS_MAX: usize = 4096;
/// How long the head of a request may take, and how long a connection may wait for one.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests under way may take after the server was told to end.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long accepting pauses when the system has no file left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener is broken.
    #[error("accept connections")]
    Accept(#[source] io::Error),
}

/// Serves until `stop` completes, then lets requests under way end within [`GRACE`].
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(listener: TcpListener, node: Arc<Node>, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    let env = node.env().clone();
    let service = routes::router(node);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(HEAD_TIMEOUT)).max_concurrent_streams(256);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accept = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        while connections.try_join_next().is_some() {}
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_broken(&error) => return Err(ServeError::Accept(error)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                env.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY");
        }
        let with_peer = service.clone().map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            request.map(axum::body::Body::new)
        });
        let service = TowerToHyperService::new(with_peer);
        let (builder, watcher, env) = (builder.clone(), graceful.watcher(), env.clone());
        connections.spawn(async move {
            // Which HTTP it is the first bytes tell, and hyper waits for those without a limit.
            if env.within(HEAD_TIMEOUT, first_bytes(&env, &socket)).await.is_none() {
                tracing::debug!(%peer, "a connection said nothing");
                return;
            }
            let connection = watcher.watch(builder.serve_connection(TokioIo::new(socket), service).into_owned());
            if let Err(error) = connection.await {
                tracing::debug!(%peer, error = error.to_string(), "a connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    if env.within(GRACE, graceful.shutdown()).await.is_none() {
        tracing::warn!("requests under way were cut off after {} s", GRACE.as_secs());
    }
    connections.shutdown().await;
    Ok(())
}

/// What HTTP/2 with prior knowledge begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often a connection is looked at that has sent a part of that.
const PEEK_PAUSE: Duration = Duration::from_millis(20);

/// Completes when enough came to tell the version of HTTP, or the connection ended.
async fn first_bytes(env: &Env, socket: &TcpStream) {
    let mut seen = [0; PREFACE.len()];
    loop {
        match socket.peek(&mut seen).await {
            Ok(count) if count > 0 && count < PREFACE.len() && PREFACE.starts_with(&seen[..count]) => {
                env.sleep(PEEK_PAUSE).await;
            }
            _ => return,
        }
    }
}

/// Says whether the listener itself is broken (EBADF, EINVAL, ENOTSOCK). All else is of one connection, or of a moment.
fn is_broken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(9 | 22 | 88))
}
