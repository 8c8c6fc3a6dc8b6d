//! Envoy's admin interface over its Unix socket: HTTP/1.1, one connection per request.

use std::{path::PathBuf, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::error::EnvoyError;

/// The admin interface runs on Envoy's main thread: it is slow when that is busy with a large configuration.
const TIMEOUT: Duration = Duration::from_secs(5);
/// No answer asked for here is near this.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// How many connections and requests an Envoy has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Load {
    /// Downstream connections of all listeners but the admin's.
    pub(super) connections: u64,
    /// Those that carry HTTP.
    pub(super) http_connections: u64,
    /// HTTP requests in progress, WebSockets included.
    pub(super) requests: u64,
}

impl Load {
    /// Something is under way: a request, or bytes of another protocol, which may always be.
    pub(super) fn is_busy(self) -> bool {
        self.requests > 0 || self.connections > self.http_connections
    }
}

/// A client of one Envoy's admin interface.
#[derive(Debug, Clone)]
pub struct AdminClient {
    socket: PathBuf,
}

impl AdminClient {
    /// For the Envoy that listens on `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// `GET path`: status code and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String), EnvoyError> {
        let (status, body) = self.request(Method::GET, path).await?;
        Ok((status.as_u16(), body))
    }

    /// `POST path`, which must be answered with 200.
    pub async fn post(&self, path: &str) -> Result<String, EnvoyError> {
        let (status, body) = self.request(Method::POST, path).await?;
        if status == StatusCode::OK {
            Ok(body)
        } else {
            Err(self.failed(path, format!("{status}: {}", body.trim())))
        }
    }

    /// The state that `/ready` names (`LIVE`, `DRAINING`, `INITIALIZING`, ...).
    pub(super) async fn server_state(&self) -> Result<String, EnvoyError> {
        Ok(self.get("/ready").await?.1.trim().to_owned())
    }

    /// What is open; `None` when the bootstrap's `stats_matcher` keeps the counters of listeners away.
    pub(super) async fn load(&self) -> Result<Option<Load>, EnvoyError> {
        let path = "/stats?filter=downstream_(cx|rq)_active$";
        let (status, body) = self.get(path).await?;
        if status != 200 {
            return Err(self.failed(path, format!("status {status}")));
        }
        if let Some(load) = parse_load(&body) {
            return Ok(Some(load));
        }
        // Without listeners there is nothing to count, and nothing to wait for.
        let (status, listeners) = self.get("/listeners").await?;
        Ok((status == 200 && listeners.trim().is_empty()).then(Load::default))
    }

    async fn request(&self, method: Method, path: &str) -> Result<(StatusCode, String), EnvoyError> {
        tokio::time::timeout(TIMEOUT, self.exchange(method, path)).await.unwrap_or_else(|_| {
            Err(EnvoyError::AdminTimeout {
                socket: self.socket.clone(),
                path: path.to_owned(),
                after: TIMEOUT,
            })
        })
    }

    async fn exchange(&self, method: Method, path: &str) -> Result<(StatusCode, String), EnvoyError> {
        let failed = |error: &dyn std::fmt::Display| self.failed(path, error.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| failed(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "envoy-admin")
            .header("connection", "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(&error))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| failed(&error))?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        // The connection's task is driven here, so that nothing outlives a request that is given up.
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = connection => {
                // Its end is no error by itself: the answer may be complete already.
                let answered = answer.await;
                match ended { Err(error) if answered.is_err() => Err(failed(&error)), _ => answered }
            }
        }
    }

    fn failed(&self, path: &str, why: String) -> EnvoyError {
        EnvoyError::Admin { socket: self.socket.clone(), path: path.to_owned(), why }
    }
}

fn parse_load(stats: &str) -> Option<Load> {
    let mut load = Load::default();
    let mut known = false;
    for line in stats.lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        // Workers repeat what the listener counts, and the admin interface counts our own request.
        let repeats = name.contains(".worker_") || name.contains(".main_thread.");
        let (Ok(value), false) = (value.trim().parse::<u64>(), repeats) else { continue };
        match name.split_once('.') {
            Some(("listener", rest)) if rest != "admin.downstream_cx_active" => {
                known = true;
                load.connections += value;
            }
            Some(("http", rest)) if !rest.starts_with("admin.") => {
                if rest.ends_with(".downstream_cx_active") {
                    load.http_connections += value;
                } else {
                    load.requests += value;
                }
            }
            _ => {}
        }
    }
    known.then_some(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATS: &str = "http.admin.downstream_cx_active: 1\nhttp.admin.downstream_rq_active: 1\n\
        http.main.downstream_cx_active: 2\nhttp.main.downstream_rq_active: 1\n\
        listener.127.0.0.1_80.downstream_cx_active: 2\nlistener.127.0.0.1_80.worker_0.downstream_cx_active: 2\n\
        listener.tcp.downstream_cx_active: 3\n\
        listener.admin.downstream_cx_active: 1\nlistener.admin.main_thread.downstream_cx_active: 1\n";

    #[test]
    fn load_counts_neither_workers_nor_the_admin_interface() {
        assert_eq!(parse_load(STATS), Some(Load { connections: 5, http_connections: 2, requests: 1 }));
        assert_eq!(parse_load("http.admin.downstream_cx_active: 1\n"), None);
    }

    #[test]
    fn idle_http_connections_are_not_busy_and_others_always_are() {
        let load = |connections, http_connections, requests| Load { connections, http_connections, requests };
        assert!(!load(2, 2, 0).is_busy());
        assert!(load(2, 2, 1).is_busy() && load(3, 2, 0).is_busy());
    }

    #[tokio::test]
    async fn absent_socket_is_an_error_that_names_it() {
        let error = AdminClient::new("/nonexistent/admin.sock").get("/ready").await.unwrap_err().to_string();
        assert!(error.contains("/nonexistent/admin.sock") && error.contains("/ready"), "{error}");
    }
}
