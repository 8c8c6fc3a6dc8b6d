//! The server: fleets, their commits, and the sockets that they are served on.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::server::TcpIncoming;

use crate::authorize::Admission;
use crate::config::Config;
use crate::event::{Event, FleetId, What};
use crate::fleet::Fleet;
use crate::metrics::Metrics;
use crate::service::{Access, Discovery};
use crate::table::Commit;
use crate::tls;

/// The longest path of a Unix socket that the kernel takes.
pub const MAX_SOCKET_PATH: usize = 107;

/// A proxy needs one stream.
const STREAMS_PER_CONNECTION: u32 = 8;

/// Why a fleet cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The path does not fit into a socket address.
    #[error("cannot listen on socket {}: its path has {len} bytes, at most {MAX_SOCKET_PATH} are possible; choose a shorter directory", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
    },
    /// Somebody else answers there.
    #[error("cannot listen on socket {}: another process serves it", .0.display())]
    InUse(PathBuf),
    /// There is something else at the path.
    #[error("cannot listen on socket {}: there is a file that is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The operating system refuses.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The socket path or address.
        address: String,
        /// The reason.
        source: std::io::Error,
    },
    /// The transport ended.
    #[error("serving {address} ended: {source}")]
    Transport {
        /// The socket path or address.
        address: String,
        /// The reason.
        source: tonic::transport::Error,
    },
}

/// A delta ADS server; cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    fleets: Mutex<BTreeMap<FleetId, Arc<Fleet>>>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<Event>>>,
    streams: AtomicU64,
}

impl Inner {
    pub(crate) fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn tell(&self, fleet: &FleetId, news: Vec<What>) {
        if news.is_empty() {
            return;
        }
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for what in news {
            let event = Event { fleet: fleet.clone(), what };
            listeners.retain(|listener| listener.send(event.clone()).is_ok());
        }
    }

    /// The fleet of that name; one that is not known yet waits for its first commit.
    pub(crate) fn fleet(&self, id: &FleetId) -> Arc<Fleet> {
        let mut fleets = self.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        fleets.entry(id.clone()).or_insert_with(|| Arc::new(Fleet::new(id.clone()))).clone()
    }

    /// Forgets a fleet that never had a commit when its last stream leaves: clients of fleets that are no more come and
    /// go. Whoever is about to commit or to stream holds a handle besides the map's and the caller's.
    pub(crate) fn forget_unused(&self, fleet: &Arc<Fleet>) {
        let mut fleets = self.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        let known = fleets.get(&fleet.id).is_some_and(|known| Arc::ptr_eq(known, fleet));
        if known && !fleet.ready() && Arc::strong_count(fleet) <= 2 {
            fleets.remove(&fleet.id);
        }
    }
}

impl Server {
    /// A server without fleets.
    pub fn new(config: Config) -> Self {
        let metrics = Metrics::new().expect("names, labels and buckets are constants");
        let inner = Inner {
            config,
            metrics,
            fleets: Mutex::default(),
            listeners: Mutex::default(),
            streams: AtomicU64::new(1),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes the server's metrics visible.
    pub fn register_metrics(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.inner.metrics.register(registry)
    }

    /// Everything that happens from now on; each call gives a receiver of its own.
    pub fn events(&self) -> mpsc::UnboundedReceiver<Event> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.inner.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Changes the table of a fleet and returns its new revision. The first commit is the first complete snapshot:
    /// streams that connected before wait for it.
    pub fn commit(&self, fleet: &FleetId, commit: Commit) -> u64 {
        let (revision, news) = self.inner.fleet(fleet).commit(commit, Instant::now());
        self.inner.tell(fleet, news);
        revision
    }

    /// Whether the fleet has had its first commit, so that streams are served.
    pub fn fleet_ready(&self, fleet: &FleetId) -> bool {
        let fleets = self.inner.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        fleets.get(fleet).is_some_and(|fleet| fleet.ready())
    }

    /// Forgets a fleet, ends its streams and connections, and with them the futures that serve it.
    pub fn remove_fleet(&self, fleet: &FleetId) {
        let mut fleets = self.inner.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fleet) = fleets.remove(fleet) {
            fleet.remove();
        }
    }

    /// Listens on a Unix socket, at once, and serves it while the future is polled, until the fleet is removed. Whoever can open the socket belongs
    /// to the fleet, so only the owner can. A socket that nobody serves any more is replaced.
    pub fn serve_unix(
        &self,
        path: &Path,
        fleet: &FleetId,
    ) -> Result<impl Future<Output = Result<(), ServeError>> + Send + use<>, ServeError> {
        let listener = bind_unix(path)?;
        let address = path.display().to_string();
        let fleet = self.inner.fleet(fleet);
        let (server, discovery) = self.transport(Access::Listener(fleet.clone()));
        Ok(async move {
            let removed = fleet.removed();
            let listener = match tokio::net::UnixListener::from_std(listener) {
                Ok(listener) => UnixListenerStream::new(listener),
                Err(source) => return Err(ServeError::Listen { address, source }),
            };
            let end = server.serve_with_incoming_shutdown(discovery, listener, removed).await;
            end.map_err(|source| ServeError::Transport { address, source })
        })
    }

    /// Listens on a TCP address, at once, and serves it while the future is polled. Everybody who reaches the address
    /// belongs to the fleet: for tests and benchmarks.
    pub fn serve_tcp(
        &self,
        address: SocketAddr,
        fleet: &FleetId,
    ) -> Result<(SocketAddr, impl Future<Output = Result<(), ServeError>> + Send + use<>), ServeError> {
        let (listener, bound) = bind_tcp(address)?;
        let fleet = self.inner.fleet(fleet);
        let (server, discovery) = self.transport(Access::Listener(fleet.clone()));
        let serve = async move {
            let listener = listening(listener, address)?;
            let removed = fleet.removed();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let end = server.serve_with_incoming_shutdown(discovery, incoming, removed).await;
            end.map_err(|source| ServeError::Transport { address: bound.to_string(), source })
        };
        Ok((bound, serve))
    }

    /// Listens on a TCP address, at once, and serves all fleets there while the future is polled. Each stream sees the one
    /// fleet that its token is proven to belong to. Connections are made with the newest `tls` configuration, see
    /// [`tls_config`](crate::tls_config).
    pub fn serve_tls(
        &self,
        address: SocketAddr,
        tls: watch::Receiver<Arc<rustls::ServerConfig>>,
        admission: Admission,
    ) -> Result<(SocketAddr, impl Future<Output = Result<(), ServeError>> + Send + use<>), ServeError> {
        let (listener, bound) = bind_tcp(address)?;
        let (server, discovery) = self.transport(Access::Token(admission));
        let inner = self.inner.clone();
        let serve = async move {
            let listener = listening(listener, address)?;
            let (done, connections) = mpsc::channel(1);
            let serve = server
                .max_concurrent_streams(STREAMS_PER_CONNECTION)
                .serve_with_incoming(discovery, ReceiverStream::new(connections));
            tokio::select! {
                () = tls::accept(listener, tls, inner, done) => Ok(()),
                end = serve => {
                    end.map_err(|source| ServeError::Transport { address: bound.to_string(), source })
                }
            }
        };
        Ok((bound, serve))
    }

    fn transport(&self, access: Access) -> (tonic::transport::Server, Discovery) {
        let config = &self.inner.config;
        let server = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(config.keepalive_interval))
            .http2_keepalive_timeout(Some(config.keepalive_timeout));
        (server, Discovery { inner: self.inner.clone(), access })
    }
}

fn bind_tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listen = |source| ServeError::Listen { address: address.to_string(), source };
    let listener = TcpListener::bind(address).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    Ok((listener, bound))
}

fn listening(listener: TcpListener, address: SocketAddr) -> Result<tokio::net::TcpListener, ServeError> {
    let listen = |source| ServeError::Listen { address: address.to_string(), source };
    tokio::net::TcpListener::from_std(listener).map_err(listen)
}

/// Listens on a Unix socket that only the owner can open. A socket that nobody serves any more is replaced.
pub fn bind_unix(path: &Path) -> Result<UnixListener, ServeError> {
    let len = path.as_os_str().len();
    if len > MAX_SOCKET_PATH {
        return Err(ServeError::PathTooLong { path: path.to_owned(), len });
    }
    let listen = |source| ServeError::Listen { address: path.display().to_string(), source };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(ServeError::NotASocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(ServeError::InUse(path.to_owned())),
        Ok(_) => std::fs::remove_file(path).map_err(listen)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(listen)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    Ok(listener)
}
