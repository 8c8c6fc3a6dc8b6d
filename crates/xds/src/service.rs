//! The gRPC service: delta ADS, with the codec that writes shared bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{Body, BoxFuture, Service, StdError, http};
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Status, Streaming};

use crate::authorize::{Admission, Admitted, Terms};
use crate::codec::DeltaCodec;
use crate::fleet::Fleet;
use crate::server::Inner;
use crate::session::Session;
use crate::stream::Response;

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Responses that wait for the transport, per stream.
const SINK: usize = 16;

/// The service as one listener offers it.
#[derive(Clone)]
pub(crate) struct Discovery {
    pub(crate) inner: Arc<Inner>,
    pub(crate) access: Access,
}

/// Which fleet a stream belongs to.
#[derive(Clone)]
pub(crate) enum Access {
    /// Whoever reaches the listener belongs to this fleet.
    Listener(Arc<Fleet>),
    /// Each stream brings a token.
    Token(Admission),
}

impl Access {
    async fn admit(&self, inner: &Inner, metadata: &MetadataMap) -> Result<Admitted, Status> {
        match self {
            Self::Listener(fleet) => Ok(Admitted { fleet: fleet.clone(), terms: Terms::default() }),
            Self::Token(admission) => admission.admit(inner, metadata).await,
        }
    }
}

impl StreamingService<DeltaDiscoveryRequest> for Discovery {
    type Response = Response;
    type ResponseStream = ReceiverStream<Result<Response, Status>>;
    type Future = BoxFuture<tonic::Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        let Self { inner, access } = self.clone();
        Box::pin(async move {
            let admitted = access.admit(&inner, request.metadata()).await?;
            let session = Session::new(inner, admitted);
            let (sink, responses) = mpsc::channel(SINK);
            tokio::spawn(session.run(request.into_inner(), sink));
            Ok(tonic::Response::new(ReceiverStream::new(responses)))
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
            let limit = discovery.inner.config.max_request_bytes;
            let mut grpc = Grpc::new(DeltaCodec).apply_max_message_size_config(Some(limit), None);
            Ok(grpc.streaming(discovery, request).await)
        })
    }
}
