//! A collector of spans (OTLP over gRPC) that keeps what it is sent.
//!
//! ```text
//! TcpListener -> connection (HTTP/2 by prior knowledge) -> Export(spans of a service) -> Seen, one for each span
//! ```

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use envoy_types::pb::opentelemetry::proto::common::v1::{KeyValue, any_value};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The only call that is known.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// A byte and a length stand before a message of gRPC.
const FRAME: usize = 5;

/// A span, with the service that it is of.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The attribute `service.name` of the resource.
    pub service: String,
    /// The span's name.
    pub name: String,
    /// What it is of, as a number: 2 is a server's.
    pub kind: i32,
    /// Attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// Headers of the call that brought it.
    pub headers: http::HeaderMap,
}

/// A running collector; ends with its last value.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Seen>>>,
    _server: JoinSet<()>,
}

impl Collector {
    /// Serves `listener` on the current tokio runtime until the value is dropped.
    ///
    /// # Errors
    ///
    /// If the listener has no address.
    pub fn serve(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let spans = Arc::<Mutex<Vec<Seen>>>::default();
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::clone(&spans)));
        Ok(Self { address, spans, _server: server })
    }

    /// The address that accepts connections.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Spans so far for which this holds.
    pub fn seen(&self, holds: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|seen| holds(seen)).cloned().collect()
    }

    /// Spans so far with this value of the attribute `test`.
    pub fn of(&self, test: &str) -> Vec<Seen> {
        self.seen(|seen| seen.attributes.get("test").is_some_and(|value| value == test))
    }
}

async fn accept(listener: TcpListener, spans: Arc<Mutex<Vec<Seen>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let spans = Arc::clone(&spans);
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&spans)));
            // A client that goes away is none of our concern.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: http::Request<Incoming>,
    spans: Arc<Mutex<Vec<Seen>>>,
) -> Result<http::Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let export = body.get(FRAME..).filter(|_| parts.uri.path() == EXPORT);
    // gRPC's numbers for "done" and for "this cannot be understood".
    let status = match export.map(Export::decode) {
        Some(Ok(export)) => {
            spans.lock().unwrap_or_else(PoisonError::into_inner).extend(export.seen(&parts.headers));
            http::HeaderValue::from_static("0")
        }
        _ => http::HeaderValue::from_static("3"),
    };
    let trailers = http::HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), status)]);
    let body = Full::new(Bytes::from_static(&[0; FRAME])).with_trailers(async { Some(Ok(trailers)) });
    let mut answer = http::Response::new(body);
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"));
    Ok(answer)
}

/// The parts of `ExportTraceServiceRequest` that are looked at.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

impl Export {
    fn seen(self, headers: &http::HeaderMap) -> Vec<Seen> {
        let mut seen = Vec::new();
        for resource in self.resources {
            let service = texts(resource.resource.unwrap_or_default().attributes).remove("service.name");
            let spans = resource.scopes.into_iter().flat_map(|scope| scope.spans);
            seen.extend(spans.map(|span| Seen {
                service: service.clone().unwrap_or_default(),
                name: span.name,
                kind: span.kind,
                attributes: texts(span.attributes),
                headers: headers.clone(),
            }));
        }
        seen
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| match attribute.value?.value? {
        any_value::Value::StringValue(text) => Some((attribute.key, text)),
        other => Some((attribute.key, format!("{other:?}"))),
    };
    attributes.into_iter().filter_map(text).collect()
}
