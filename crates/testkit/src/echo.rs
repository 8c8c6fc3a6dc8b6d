//! An HTTP backend that answers with what it received, in the shape of Gateway API's `echo-basic`.
//!
//! ```text
//! TcpListener -> connection (HTTP/1.1, or HTTP/2 by prior knowledge) -> Control (what the request asks for)
//!                                                                        |-> JSON capture, status, headers, bytes
//!                                                                        `-> WebSocket: every message comes back
//! ```
//!
//! A request steers its own answer, by query parameters and by one header:
//!
//! | in the request | effect |
//! |---|---|
//! | `?delay=300ms` | wait before answering (Go's duration syntax) |
//! | `/status/503` or `?status=503` | answer with this status |
//! | `?echo-header=Name:Value`, `X-Echo-Set-Header: Name:Value, ...` | add response headers |
//! | `?bytes=N` | answer with `N` bytes instead of the JSON capture |
//! | `?uuid=U&responseCode=500&succeedAfter=2` | fail the first two requests of `U`, as a flaky backend would |
//!
//! What cannot be understood is answered with 400 and the reason, so that a mistyped test never passes by accident.

mod capture;
mod control;
mod respond;
#[cfg(test)]
mod tests;
mod websocket;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub use capture::{Capture, Identity};

/// How long a listener rests after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A running echo backend; dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Echo {
    addr: SocketAddr,
    state: Arc<State>,
    /// Dropped with the handle: that is what ends the tasks.
    _open: watch::Sender<()>,
}

impl Echo {
    /// The address that accepts connections.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Requests received since the start, those that were answered with an error included.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// WebSockets that are open now.
    pub fn websockets(&self) -> u64 {
        self.state.websockets.load(Ordering::Relaxed)
    }
}

/// Serves `listener` on the current tokio runtime until the returned handle is dropped.
///
/// `identity` is what the backend says about itself in every capture.
pub fn serve(listener: TcpListener, identity: Identity) -> io::Result<Echo> {
    let addr = listener.local_addr()?;
    let state = Arc::new(State { identity, ..State::default() });
    let (open, closed) = watch::channel(());
    tokio::spawn(accept(listener, Arc::clone(&state), Closed(closed)));
    Ok(Echo { addr, state, _open: open })
}

/// What all connections of one backend share.
#[derive(Debug, Default)]
struct State {
    identity: Identity,
    requests: AtomicU64,
    websockets: AtomicU64,
    /// Failures already served, by the `uuid` of a retry simulation; an entry leaves when its request succeeds.
    failures: Mutex<HashMap<String, u32>>,
}

impl State {
    /// Whether this attempt of `uuid` must fail, given that the first `succeed_after` do.
    fn must_fail(&self, uuid: &str, succeed_after: u32) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let served = failures.entry(uuid.to_owned()).or_default();
        if *served < succeed_after {
            *served += 1;
            return true;
        }
        failures.remove(uuid);
        false
    }
}

/// Tells a task that the handle is gone.
#[derive(Clone, Debug)]
struct Closed(watch::Receiver<()>);

impl Closed {
    async fn wait(&mut self) {
        // Nothing is ever sent: the only event is the error that tells that the sender was dropped.
        while self.0.changed().await.is_ok() {}
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, mut closed: Closed) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closed.wait() => return,
        };
        // A failed accept (a peer that reset at once, no file descriptor left) passes; the pause spares the processor.
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        tokio::spawn(connection(stream, Arc::clone(&state), closed.clone()));
    }
}

async fn connection(stream: TcpStream, state: Arc<State>, mut closed: Closed) {
    // Small answers must not wait for Nagle's algorithm; a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    let for_upgrades = closed.clone();
    let service =
        service_fn(move |request| respond::respond(request, Arc::clone(&state), for_upgrades.clone()));
    let builder = auto::Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::select! {
        // How a connection ends is the peer's business.
        _ = serving => {}
        () = closed.wait() => {}
    }
}
