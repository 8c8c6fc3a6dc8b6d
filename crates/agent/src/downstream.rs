//! The socket that Envoy connects to.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use gatehouse_xds::{ServeError, bind_unix};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{UnboundedReceiverStream, UnixListenerStream};
use tonic::codegen::{Body, BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, StreamingService};
use tonic::{Request as Call, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::shuttle::Event;
use crate::wire::{DELTA, MAX_MESSAGE, Request, Response};

const KEEPALIVE: Duration = Duration::from_secs(30);

/// The service that Envoy sees.
#[derive(Clone)]
struct Discovery {
    events: mpsc::Sender<Event>,
    /// Counts streams.
    streams: Arc<AtomicU64>,
}

/// Listens on the socket, at once, and serves it while the future is polled.
pub(crate) fn serve(
    socket: &Path,
    events: mpsc::Sender<Event>,
) -> Result<impl Future<Output = Result<(), ServeError>> + Send + use<>, ServeError> {
    let listener = bind_unix(socket)?;
    let address = socket.display().to_string();
    let listener = tokio::net::UnixListener::from_std(listener)
        .map_err(|source| ServeError::Listen { address: address.clone(), source })?;
    // Connections end with the agent, not only streams: Envoy would stay with one that nobody answers.
    let inbox = events.clone();
    let ended = async move { inbox.closed().await };
    let discovery = Discovery { events, streams: Arc::default() };
    Ok(async move {
        let server = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .serve_with_incoming_shutdown(discovery, UnixListenerStream::new(listener), ended);
        server.await.map_err(|source| ServeError::Transport { address, source })
    })
}

async fn listen(mut requests: Streaming<Request>, stream: u64, events: mpsc::Sender<Event>) {
    while let Ok(Some(request)) = requests.message().await {
        if events.send(Event::Asked(stream, request)).await.is_err() {
            return;
        }
    }
    // Nobody listens when the agent ends.
    let _ = events.send(Event::Closed(stream)).await;
}

impl StreamingService<Request> for Discovery {
    type Response = Response;
    type ResponseStream =
        std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<Response, Status>> + Send>>;
    type Future = BoxFuture<tonic::Response<Self::ResponseStream>, Status>;

    fn call(&mut self, call: Call<Streaming<Request>>) -> Self::Future {
        let stream = self.streams.fetch_add(1, Ordering::Relaxed) + 1;
        let events = self.events.clone();
        Box::pin(async move {
            let (sink, responses) = mpsc::unbounded_channel();
            let opened = events.send(Event::Opened(stream, sink)).await;
            opened.map_err(|_| Status::unavailable("the agent ends"))?;
            tokio::spawn(listen(call.into_inner(), stream, events));
            let responses = UnboundedReceiverStream::new(responses).map(Ok);
            Ok(tonic::Response::new(Box::pin(responses) as Self::ResponseStream))
        })
    }
}

impl<B> Service<http::Request<B>> for Discovery
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let discovery = self.clone();
        Box::pin(async move {
            if request.uri().path() != DELTA {
                let status = Status::unimplemented("only DeltaAggregatedResources is served; set DELTA_GRPC");
                return Ok(status.into_http());
            }
            let codec = ProstCodec::<Response, Request>::default();
            let mut grpc = Grpc::new(codec).apply_max_message_size_config(Some(MAX_MESSAGE), None);
            Ok(grpc.streaming(discovery, request).await)
        })
    }
}
