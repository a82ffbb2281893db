//! Listening, and being away: connections refused, or ended without an answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::{OutageKind, Vendor};

/// How long after a connection could not be accepted the next one is.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// After how long an address that could not be had again is asked for once more.
const LISTEN_PAUSE: Duration = Duration::from_millis(50);

/// Why a vendor can't be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else listens there.
    #[error("listen at `{address}`; name another address, or port 0 for any")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The log of calls can't be made.
    #[error("make the log `{path}`")]
    Log {
        /// Its path.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A vendor that listens.
pub struct Listening {
    /// Where calls are taken.
    pub address: SocketAddr,
    /// Where `/_vendor/` is served also while the vendor is away.
    pub control: SocketAddr,
    vendor: Arc<Vendor>,
    calls: TcpListener,
    controls: TcpListener,
}

impl Vendor {
    /// Begins to listen; calls are taken once [`Listening::serve`] is polled.
    ///
    /// # Errors
    /// An address that can't be had.
    pub async fn listen(self: &Arc<Self>) -> Result<Listening, ServeError> {
        let (calls, address) = listen(self.settings.listen).await?;
        let (controls, control) = listen(self.settings.control).await?;
        Ok(Listening { address, control, vendor: Arc::clone(self), calls, controls })
    }

    /// Waits for the first call, and then for the first outage, if there is to be one.
    async fn first_outage(self: &Arc<Self>) {
        if !self.settings.outage.is_zero() {
            self.called.notified().await;
            self.env.sleep(self.settings.outage_after).await;
            self.go_away(self.settings.outage_kind, self.settings.outage).await;
        }
    }

    /// Takes connections until it goes away.
    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut away = self.away.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = away.wait_for(|away| *away == Some(OutageKind::Refuse)) => return,
            };
            match accepted {
                Ok((socket, _)) => {
                    let vendor = Arc::clone(self);
                    tokio::spawn(async move {
                        let mut away = vendor.away.subscribe();
                        tokio::select! {
                            () = Arc::clone(&vendor).connection(socket) => {}
                            _ = away.wait_for(|away| *away == Some(OutageKind::Refuse)) => {}
                        }
                    });
                }
                Err(_) => self.env.sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn connection(self: Arc<Self>, socket: TcpStream) {
        // Without: answers wait for more of them. A socket that has no such option works nevertheless.
        let _ = socket.set_nodelay(true);
        let vendor = self;
        let service = service_fn(move |request| Arc::clone(&vendor).handle(request));
        // A connection that ends badly is what some are meant to do.
        let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service).await;
    }
}

impl Listening {
    /// Serves for ever.
    pub async fn serve(self) {
        let Self { address, vendor, calls, controls, .. } = self;
        let first = Arc::clone(&vendor);
        tokio::spawn(async move { first.first_outage().await });
        let control = Arc::clone(&vendor);
        tokio::spawn(async move { control.controls(controls).await });
        let mut calls = Some(calls);
        loop {
            if let Some(listener) = calls.take() {
                // Dropping the listener is what refuses connections.
                vendor.accept(&listener).await;
            }
            let mut away = vendor.away.subscribe();
            // The sender is the vendor's own: it is never gone.
            let _ = away.wait_for(|away| *away != Some(OutageKind::Refuse)).await;
            match listen(address).await {
                Ok((listener, _)) => calls = Some(listener),
                Err(_) => vendor.env.sleep(LISTEN_PAUSE).await,
            }
        }
    }
}

impl Vendor {
    /// Serves `/_vendor/` where no outage reaches.
    async fn controls(self: &Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    tokio::spawn(Arc::clone(self).connection(socket));
                }
                Err(_) => self.env.sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listened = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listened.await.map_err(|source| ServeError::Listen { address, source })
}
