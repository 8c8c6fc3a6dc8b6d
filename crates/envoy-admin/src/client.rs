//! A client of the admin interface: HTTP/1.1, one connection per request.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;

use crate::load::{Load, parse_load};

/// The admin interface runs on Envoy's main thread: it is slow when that is busy with a large configuration.
const TIMEOUT: Duration = Duration::from_secs(5);
/// No answer that is read whole is near this.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Where an admin interface listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP address, on loopback if nobody else is to reach it.
    Tcp(SocketAddr),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

/// The admin interface does not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No answer, or another than expected.
    #[error("ask envoy's admin interface at {address} for {path}: {why}")]
    Failed {
        /// Where it listens.
        address: Address,
        /// The request's path.
        path: String,
        /// What went wrong.
        why: String,
    },
    /// No answer in time.
    #[error("ask envoy's admin interface at {address} for {path}: no answer in {after:?}")]
    Timeout {
        /// Where it listens.
        address: Address,
        /// The request's path.
        path: String,
        /// How long was waited.
        after: Duration,
    },
}

/// A client of one Envoy's admin interface.
#[derive(Debug, Clone)]
pub struct AdminClient {
    address: Address,
}

impl AdminClient {
    /// For the Envoy whose admin interface listens on `address`.
    pub fn new(address: impl Into<Address>) -> Self {
        Self { address: address.into() }
    }

    /// `GET path`: status code and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String), AdminError> {
        let (status, body) = self.whole(Method::GET, path).await?;
        Ok((status.as_u16(), body))
    }

    /// `GET path`, which must be answered with 200: the body as it comes, of any size.
    pub async fn stream(&self, path: &str) -> Result<Incoming, AdminError> {
        let (response, connection) = self.in_time(path, self.request(Method::GET, path)).await?;
        // The body keeps the connection alive, and its end ends it.
        connection.detach();
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => Err(self.failed(path, format!("status {status}"))),
        }
    }

    /// `POST path`, which must be answered with 200.
    pub async fn post(&self, path: &str) -> Result<String, AdminError> {
        let (status, body) = self.whole(Method::POST, path).await?;
        if status == StatusCode::OK {
            Ok(body)
        } else {
            Err(self.failed(path, format!("{status}: {}", body.trim())))
        }
    }

    /// The state that `/ready` names (`LIVE`, `DRAINING`, `INITIALIZING`, ...).
    pub async fn server_state(&self) -> Result<String, AdminError> {
        Ok(self.get("/ready").await?.1.trim().to_owned())
    }

    /// What is open; `None` when the bootstrap's `stats_matcher` keeps the counters of listeners away.
    pub async fn load(&self) -> Result<Option<Load>, AdminError> {
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

    async fn whole(&self, method: Method, path: &str) -> Result<(StatusCode, String), AdminError> {
        let answer = async {
            let (response, _connection) = self.request(method, path).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| self.failed(path, error.to_string()))?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        self.in_time(path, answer).await
    }

    async fn in_time<T>(
        &self,
        path: &str,
        answer: impl Future<Output = Result<T, AdminError>>,
    ) -> Result<T, AdminError> {
        tokio::time::timeout(TIMEOUT, answer).await.unwrap_or_else(|_| {
            Err(AdminError::Timeout { address: self.address.clone(), path: path.to_owned(), after: TIMEOUT })
        })
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
    ) -> Result<(Response<Incoming>, Connection), AdminError> {
        let failed = |error: &dyn fmt::Display| self.failed(path, error.to_string());
        let stream = self.connect().await.map_err(|error| failed(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        // What goes wrong here, the answer tells.
        let connection = Connection(Some(tokio::spawn(async { drop(connection.await) }).abort_handle()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "envoy-admin")
            .header("connection", "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(&error))?;
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        Ok((response, connection))
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match &self.address {
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Address::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        })
    }

    fn failed(&self, path: &str, why: String) -> AdminError {
        AdminError::Failed { address: self.address.clone(), path: path.to_owned(), why }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection's task: nothing outlives a request that is given up.
struct Connection(Option<AbortHandle>);

impl Connection {
    fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn absent_socket_is_an_error_that_names_it() {
        let error = AdminClient::new(Path::new("/nonexistent/admin.sock"))
            .get("/ready")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/admin.sock") && error.contains("/ready"), "{error}");
    }

    #[tokio::test]
    async fn a_loopback_port_is_an_address_too() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = AdminClient::new(Address::Tcp(closed)).get("/ready").await.unwrap_err().to_string();
        assert!(error.contains(&closed.to_string()), "{error}");
    }
}
