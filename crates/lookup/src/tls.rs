//! Connections to databases: TCP or a Unix socket, and TLS over either.
//!
//! Invariant: under `verify-ca` and `verify-full` nothing is sent before the certificate was checked. Under `prefer` and
//! `require` it is not checked, as PostgreSQL's and MySQL's own clients have it: who listens is kept out, and who stands
//! in between is not.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream as PostgresTls};
use tokio_rustls::TlsConnector;

use crate::database::{Database, DatabaseError, TlsMode};

/// What bytes go through.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, secured or not.
pub(crate) struct Stream(Box<dyn Io>);

impl Stream {
    pub(crate) fn new(io: impl Io + 'static) -> Self {
        Self(Box::new(io))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}

/// Opens a connection, in plain text. `socket` is the path of the Unix socket, if there is one.
pub(crate) async fn connect(database: &Database, socket: Option<&Path>) -> Result<Stream, DatabaseError> {
    let connected: io::Result<Stream> = async {
        if let Some(path) = socket {
            return UnixStream::connect(path).await.map(Stream::new);
        }
        let stream = TcpStream::connect((database.host.as_str(), database.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Stream::new(stream))
    }
    .await;
    connected.map_err(|source| DatabaseError::Connect { source })
}

/// What secures a connection.
pub(crate) struct Tls {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl Tls {
    /// Prepares what a database's URL asks for. Blocks on the disk for the roots, where they are needed.
    pub(crate) fn new(database: &Database) -> Result<Self, DatabaseError> {
        let refused = |reason: String| DatabaseError::Tls { reason };
        let host = ServerName::try_from(database.host.clone())
            .map_err(|_| refused(format!("`{}` is no name of a host", database.host)))?;
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match database.tls {
            TlsMode::VerifyCa | TlsMode::VerifyFull => {
                let (roots, named) = roots(database)?;
                let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
                let webpki = webpki.map_err(|error| refused(format!("the roots that are trusted: {error}")))?;
                let host = match database.tls {
                    TlsMode::VerifyCa => Host::Any,
                    _ => Host::Named,
                };
                Arc::new(Trusted { webpki, named, host })
            }
            TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => Arc::new(Anybody(provider.clone())),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), host })
    }

    /// Secures a connection.
    pub(crate) async fn secure(self, stream: Stream) -> io::Result<Secured> {
        self.connector.connect(self.host, stream).await.map(|stream| Secured(Box::new(stream)))
    }
}

/// The roots that are trusted, and the certificates of the file that names them, if there is one.
fn roots(database: &Database) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), DatabaseError> {
    let refused = |reason: String| DatabaseError::Tls { reason };
    let mut store = RootCertStore::empty();
    let Some(path) = &database.roots else {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        return match store.is_empty() {
            true => Err(refused("the system has no trusted roots; name a file of them: `sslrootcert=PATH`".to_owned())),
            false => Ok((store, Vec::new())),
        };
    };
    let unreadable = |error: String| refused(format!("the roots in `{}`: {error}", path.display()));
    let mut named = Vec::new();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        store.add(certificate.clone()).map_err(|error| unreadable(error.to_string()))?;
        named.push(certificate);
    }
    match store.is_empty() {
        true => Err(unreadable("there is no certificate in PEM".to_owned())),
        false => Ok((store, named)),
    }
}

/// Takes every certificate; the handshake's signatures are still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Whose certificate is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    /// That of the host in the URL.
    Named,
    /// Every host's.
    Any,
}

/// Takes a certificate that comes from a root that is trusted, or that the file of roots itself holds.
///
/// The latter is how most databases of one's own are set up: a certificate that signed itself, given to the clients as
/// their root. Webpki refuses those as they are both a root and a host's; OpenSSL, and so the databases' own clients, do not.
#[derive(Debug)]
struct Trusted {
    webpki: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
    host: Host,
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        match self.webpki.verify_server_cert(certificate, between, host, ocsp, now) {
            // The name is looked at last: this error says that all else is right.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.host == Host::Any => Ok(ServerCertVerified::assertion()),
            // Dates have errors of their own and are looked at before this one; the name was not looked at.
            Err(TlsError::InvalidCertificate(CertificateError::Other(_))) if self.named.contains(certificate) => {
                if self.host == Host::Named {
                    verify_server_name(&ParsedCertificate::try_from(certificate)?, host)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// A connection that TLS secures.
pub(crate) struct Secured(Box<tokio_rustls::client::TlsStream<Stream>>);

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}

impl PostgresTls for Secured {
    /// SCRAM without channel binding: what it binds to is not exposed for every kind of certificate.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl TlsConnect<Stream> for Tls {
    type Stream = Secured;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Secured>>;

    fn connect(self, stream: Stream) -> Self::Future {
        Box::pin(self.secure(stream))
    }
}
