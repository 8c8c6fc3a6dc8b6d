//! A small HTTP client: one connection per request, or many requests over one.

use bytes::Bytes;
use gatehouse_testkit::echo::Capture;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The values of a header, joined by `,`; empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> String {
        let values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.replace(", ", ",")).collect::<Vec<_>>().join(",")
    }

    /// What the backend saw.
    pub(crate) fn seen(&self) -> Capture {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header as the backend saw it, values joined by `,`.
    pub(crate) fn seen_header(&self, name: &str) -> String {
        self.seen().headers.get(name).map(|values| values.join(",")).unwrap_or_default()
    }
}

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

pub(crate) struct Client(SendRequest<Empty<Bytes>>);

impl Client {
    pub(crate) async fn connect(port: u16) -> Result<Self, Error> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        Ok(Self(sender))
    }

    pub(crate) async fn send(&mut self, request: Ask<'_>) -> Result<Reply, Error> {
        let mut builder = hyper::Request::builder().method(request.method).uri(request.path);
        builder = builder.header("host", request.host);
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        let response = self.0.send_request(builder.body(Empty::new())?).await?;
        let (parts, body) = response.into_parts();
        let text =
            |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Reply { status: parts.status.as_u16(), headers, body: body.collect().await?.to_bytes() })
    }
}

/// A request.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
}

pub(crate) async fn ask(port: u16, request: Ask<'_>) -> Result<Reply, Error> {
    Client::connect(port).await?.send(request).await
}

pub(crate) async fn get(port: u16, host: &str, path: &str) -> Result<Reply, Error> {
    ask(port, Ask { method: "GET", host, path, headers: &[] }).await
}
