//! The HTTP server.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::readiness::Readiness;

#[cfg(test)]
mod tests;

/// Where the server listens unless told otherwise: this machine only.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 19_000);

/// Connections that are still open so long after a stop was asked for are cut.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes the document behind `/debug/<name>`: JSON, or `None` when there is none of that name. Called on a thread that may
/// block.
pub type Dump = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Makes the document behind `/status`: JSON, or `None` before there is one. Called on a thread that may block.
pub type Status = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What the server shows.
#[derive(Clone)]
pub struct Admin {
    /// Behind `/readyz`.
    pub readiness: Readiness,
    /// Behind `/metrics`.
    pub metrics: Registry,
    /// Behind `/status`.
    pub status: Status,
    /// Behind `/debug/<name>`.
    pub dump: Dump,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be listened on.
    #[error("listen on admin address {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A running server. Dropping it stops it at once; [`stop`](Self::stop) lets answers finish.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Listens on `address` (port 0: any free one) and serves.
    pub async fn start(address: SocketAddr, admin: Admin) -> Result<Self, AdminError> {
        let failed = |source| AdminError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let app = router(admin, bound.ip());
        let task = tokio::spawn(async move {
            let stopped = async move {
                // A dropped sender stops too.
                let _ = stopped.await;
            };
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
                tracing::error!("admin server: {error}");
            }
        });
        Ok(Self { address: bound, stop: Some(stop), task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, and returns when those under way are answered, or cut after 2 s.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // The task may have ended by itself.
            let _ = stop.send(());
        }
        // Timing out leaves the rest to `drop`.
        let _ = tokio::time::timeout(STOP_TIMEOUT, &mut self.task).await;
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(admin: Admin, bound: IpAddr) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/debug/{*name}", get(debug))
        .layer(middleware::from_fn_with_state(bound, only_local_names))
        .with_state(admin)
}

/// Refuses requests for a name that somebody else's DNS points here, which is how a web page in the user's browser would
/// reach a server on loopback. A server that listens for other machines is reached by names not known here.
async fn only_local_names(State(bound): State<IpAddr>, request: Request, next: Next) -> Response {
    if bound.is_loopback() && !names_this_host(&request) {
        return (StatusCode::FORBIDDEN, "the request's host is not a local one\n").into_response();
    }
    next.run(request).await
}

fn names_this_host(request: &Request) -> bool {
    // Probes may send no host; browsers always do.
    let Some(host) = request.headers().get(header::HOST) else { return true };
    let authority = host.to_str().ok().and_then(|host| host.parse::<Uri>().ok());
    let Some(host) = authority.as_ref().and_then(Uri::host) else { return false };
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || literal.parse::<IpAddr>().is_ok()
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let waits = admin.readiness.waits();
    if waits.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready, waiting for: {}\n", waits.join(", ")))
        .into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&admin.metrics.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => {
            tracing::error!("encode metrics: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("encode metrics: {error}\n")).into_response()
        }
    }
}

async fn status(State(admin): State<Admin>) -> Response {
    let status = admin.status.clone();
    match tokio::task::spawn_blocking(move || status()).await {
        Ok(Some(document)) => json(document),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "no status yet\n").into_response(),
        Err(error) => {
            tracing::error!("status: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "the status document failed\n").into_response()
        }
    }
}

async fn debug(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    let dump = admin.dump.clone();
    let asked = name.clone();
    // A dump of a large configuration must not hold up the other answers, which probes wait for.
    match tokio::task::spawn_blocking(move || dump(&asked)).await {
        Ok(Some(document)) => json(document),
        Ok(None) => (StatusCode::NOT_FOUND, format!("no dump named {name:?}\n")).into_response(),
        Err(error) => {
            tracing::error!("dump {name}: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the dump {name:?} failed\n")).into_response()
        }
    }
}

fn json(document: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}
