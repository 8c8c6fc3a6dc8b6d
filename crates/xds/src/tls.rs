//! TLS for the server's TCP address: the certificate may change at any time, and a slow handshake holds up nobody else.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::authorize::Reason;
use crate::server::Inner;

/// A client that takes longer is not one of ours.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After the system refused a connection for want of resources.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The text is no PEM of the wanted kind.
    #[error("read the {what} of the server certificate: {source}")]
    Pem {
        /// `chain` or `key`.
        what: &'static str,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate and key do not fit, or are of an unsupported kind.
    #[error("use the server certificate: {0}")]
    Certificate(#[from] rustls::Error),
}

/// What a delta ADS server needs of TLS: 1.2 or later, HTTP/2, and this certificate; clients show none.
pub fn tls_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<ServerConfig, TlsError> {
    let pem = |what| move |source| TlsError::Pem { what, source };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain_pem).collect::<Result<_, _>>().map_err(pem("chain"))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(pem("key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Accepts connections and hands on those whose handshake is done; each uses the newest certificate.
pub(crate) async fn accept(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    inner: Arc<Inner>,
    done: mpsc::Sender<io::Result<Connection>>,
) {
    let room = Arc::new(Semaphore::new(inner.config.max_connections));
    // Dropped with this future, and the handshakes with it.
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("accept an xDS connection: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            inner.metrics.denied(Reason::Connections);
            continue;
        };
        let acceptor = TlsAcceptor::from(tls.borrow().clone());
        let (done, inner) = (done.clone(), inner.clone());
        handshakes.spawn(async move {
            match handshake(acceptor, stream).await {
                // The server may be gone meanwhile.
                Ok(stream) => drop(done.send(Ok(Connection { stream, peer, _permit: permit })).await),
                Err(error) => {
                    inner.metrics.denied(Reason::Handshake);
                    tracing::debug!(%peer, "TLS handshake: {error}");
                }
            }
        });
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "not done in time")),
    }
}

/// A connection after its handshake; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = SocketAddr;

    fn connect_info(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
