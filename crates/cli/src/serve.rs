//! Running a node behind HTTP: what `up` and `demo` share.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir_config::Plan;
use weir_env::Env;
use weir_runtime::{Handlers, Node, Options};
use weir_server::ServeError;

/// How long ending may take after the last request: commits, snapshots, the log.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);

/// The argument that makes this program a handler's launcher. See [`weir_lambda::confine`].
pub const CONFINE: &str = "__confine";

/// The same as a program of its own, used where it lies beside this one.
const SMALL_LAUNCHER: &str = "weir-confine";

/// What handlers need of this process.
fn handlers(address: SocketAddr) -> Handlers {
    let launcher = std::env::current_exe().ok().map(|weir| {
        // A small program starts in a fifth of the time that this one does.
        let small = weir.with_file_name(SMALL_LAUNCHER);
        if small.is_file() { vec![small.into_os_string()] } else { vec![weir.into_os_string(), CONFINE.into()] }
    });
    let of_user = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
    let of_user = of_user.or_else(|| Some(std::path::PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    // A server that listens everywhere is reached at home.
    let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Handlers {
        launcher: launcher.unwrap_or_default(),
        cache: of_user.map(|cache| cache.join("weir").join("functions")),
        endpoint: Some(format!("http://{host}:{}", address.port())),
    }
}

/// A node that serves.
pub struct Serving {
    pub address: SocketAddr,
    pub node: Arc<Node>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
}

/// Starts a node and serves it on the listener.
pub async fn start(plan: Plan, data: &Path, listener: TcpListener) -> anyhow::Result<Serving> {
    let address = listener.local_addr().context("find the address")?;
    let options = Options { handlers: handlers(address), ..Options::default() };
    let node = Node::start(plan, data, Env::system(), options).await?;
    let (stop, stopped) = oneshot::channel();
    let served = node.clone();
    let server = tokio::spawn(async move {
        weir_server::serve(listener, served, async {
            // A sender that is dropped ends the server as well.
            let _ = stopped.await;
        })
        .await
    });
    Ok(Serving { address, node, stop, server })
}

impl Serving {
    /// Completes when the server ends by itself, which is a failure that [`Serving::end`] tells.
    pub async fn ended(&mut self) {
        while !self.server.is_finished() {
            self.node.env().sleep(Duration::from_secs(1)).await;
        }
    }

    /// Lets requests end, commits, and closes.
    pub async fn end(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        self.server.await.context("the server")??;
        let env = self.node.env().clone();
        match env.within(CLOSE_TIMEOUT, self.node.close()).await {
            Some(closed) => Ok(closed?),
            None => anyhow::bail!(
                "closing took longer than {} s; nothing that was acknowledged is lost, the next start reads it again",
                CLOSE_TIMEOUT.as_secs()
            ),
        }
    }
}

/// SIGINT and SIGTERM, which from now on no longer kill.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals over.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
        })
    }

    /// Completes at the first that came since.
    pub async fn wait(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The runtime of a server.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Few threads that may block: files, Delta, Parquet.
        .max_blocking_threads(32)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
        .context("start the runtime")
}
