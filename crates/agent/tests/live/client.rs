//! Requests, one by one or as steady traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The connection carries no more requests.
    pub(crate) closes: bool,
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Answer, Error> {
    let closes = response.headers().get("connection").is_some_and(|value| value == "close");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned(), closes })
}

fn request(host: &str, path: &str) -> Request<Empty<Bytes>> {
    Request::builder().uri(path).header("host", host).body(Empty::new()).unwrap()
}

async fn connect(port: u16) -> Result<http1::SendRequest<Empty<Bytes>>, Error> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// One request on a connection of its own.
pub(crate) async fn get(port: u16, host: &str, path: &str) -> Result<Answer, Error> {
    read(connect(port).await?.send_request(request(host, path)).await?).await
}

/// Several requests at a time on one HTTP/2 connection.
pub(crate) async fn get_h2(port: u16, host: &str, path: &str, count: usize) -> Vec<Result<Answer, Error>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let asks = (0..count).map(|_| {
        let mut sender = sender.clone();
        let uri = format!("http://{host}{path}");
        tokio::spawn(async move {
            let request = Request::builder().version(Version::HTTP_2).uri(uri).body(Empty::<Bytes>::new())?;
            read(sender.send_request(request).await?).await
        })
    });
    let mut answers = Vec::new();
    for ask in asks.collect::<Vec<_>>() {
        answers.push(ask.await.unwrap());
    }
    answers
}

/// Asks until a host is served.
pub(crate) async fn wait_for(port: u16, host: &str) {
    let start = Instant::now();
    loop {
        let got = get(port, host, "/").await.map(|answer| answer.status);
        if matches!(got, Ok(200)) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{host} on {port} answers {got:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Steady requests on connections that are kept as long as the server keeps them.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    task: JoinHandle<Vec<String>>,
}

impl Traffic {
    pub(crate) fn start(port: u16, host: &'static str) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), sent.clone());
        let task = tokio::spawn(async move {
            let mut failures = Vec::new();
            let mut kept = None;
            while !stopped.load(Ordering::Relaxed) {
                match one(port, host, kept.take()).await {
                    Ok((200, next)) => kept = next,
                    Ok((status, _)) => failures.push(format!("status {status}")),
                    Err(error) => failures.push(error.to_string()),
                }
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            failures
        });
        Self { stop, sent, task }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends the traffic: all requests and the failed ones.
    pub(crate) async fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        (self.sent(), self.task.await.unwrap())
    }
}

type Sender = http1::SendRequest<Empty<Bytes>>;

async fn one(port: u16, host: &str, kept: Option<Sender>) -> Result<(u16, Option<Sender>), Error> {
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(port).await?,
    };
    let answer = read(sender.send_request(request(host, "/")).await?).await?;
    Ok((answer.status, (!answer.closes).then_some(sender)))
}
