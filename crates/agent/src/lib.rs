//! The companion of the Envoy in a proxy pod.
//!
//! ```text
//!                    +-- Shuttle (one task) ------------------+
//!   Envoy <- socket -+-> Relay (pure) <-> Store (memory disk) |-- TLS + token --> controller
//!     ^              +----|-----------------------------------+
//!     | admin             v progress
//!     +------------- Health: /ready, /drain, /drained, /metrics, /healthz
//! ```
//!
//! Envoy's delta ADS stream outlives controllers; what Envoy acknowledged last is kept in the pod, and served when no
//! controller answers. It survives a restart of either container, not the pod: it holds secrets, and is in memory.

mod backoff;
mod downstream;
mod health;
mod http;
mod metrics;
mod relay;
mod shuttle;
mod store;
mod upstream;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use gatehouse_envoy_admin::Address;
use gatehouse_envoy_admin::{AdminClient, AdminError, Drain};
use gatehouse_xds::ServeError;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::health::Health;
use crate::http::Pages;
use crate::metrics::Metrics;
use crate::relay::Progress;
use crate::shuttle::Shuttle;
use crate::store::Store;
pub use crate::store::StoreError;
pub use crate::upstream::{Upstream, UpstreamError};

/// Events that wait for the shuttle.
const INBOX: usize = 64;

/// What an agent is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The controller.
    pub upstream: Upstream,
    /// The socket that Envoy connects to; made by the agent, for its own user only.
    pub socket: PathBuf,
    /// Directory of the last-acknowledged set, in memory.
    pub store: PathBuf,
    /// Envoy's admin interface.
    pub envoy_admin: Address,
    /// Where readiness, drain and metrics are served.
    pub listen: SocketAddr,
    /// How long Envoy's health check still succeeds after a drain begins; readiness fails at once.
    pub failure_delay: Duration,
    /// How long others take to notice that the pod ends.
    pub min_drain: Duration,
    /// How long a drain waits for open connections, from its start.
    pub drain_timeout: Duration,
}

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Envoy cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The address for probes cannot be listened on.
    #[error("listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Metrics cannot be set up.
    #[error("set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Asks the agent that listens there, on this host, to begin a drain.
pub async fn drain_by(agent: SocketAddr) -> Result<(), AdminError> {
    AdminClient::new(Address::Tcp(agent)).post("/drain").await.map(drop)
}

/// A running agent. Dropping it ends it at once.
#[derive(Debug)]
pub struct Agent {
    address: SocketAddr,
    health: Health,
    tasks: JoinSet<()>,
}

impl Agent {
    /// Starts an agent.
    pub async fn start(options: Options) -> Result<Self, AgentError> {
        let store = Store::open(&options.store)?;
        let metrics = Metrics::new()?;
        let (events, inbox) = mpsc::channel(INBOX);
        let serve = downstream::serve(&options.socket, events.clone())?;
        let failed = |source| AgentError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;

        let (progress, seen) = watch::channel(Progress::default());
        let admin = AdminClient::new(options.envoy_admin);
        let drain = Drain {
            delay: options.failure_delay,
            ..Drain::withdrawn(options.min_drain, options.drain_timeout)
        };
        let health = Health::new(admin.clone(), drain, seen);
        let pages = Pages { health: health.clone(), admin, metrics: metrics.clone() };
        let shuttle = Shuttle::new(store, options.upstream, events.clone(), progress, metrics);

        let mut tasks = JoinSet::new();
        tasks.spawn(shuttle.run(inbox));
        tasks.spawn(health.clone().follow(events));
        tasks.spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!("{error}");
            }
        });
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, http::service(pages)).await {
                tracing::error!("serve probes: {error}");
            }
        });
        Ok(Self { address, health, tasks })
    }

    /// Where probes are answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends when a part of the agent does, which none should: the process is then better started anew.
    pub async fn failed(&mut self) {
        self.tasks.join_next().await;
    }

    /// Drains Envoy, while it is served on.
    pub async fn drain(&self) {
        self.health.begin_drain();
        self.health.drained().await;
    }

    /// Ends the agent, and returns when nothing of it is left.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
