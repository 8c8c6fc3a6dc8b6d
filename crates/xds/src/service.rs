//! The gRPC service: delta ADS.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::metadata::{GRPC_CONTENT_TYPE, MetadataMap};

use crate::authorize::{Admission, Admitted, Terms};
use crate::body::ResponseBody;
use crate::fleet::Fleet;
use crate::requests::Requests;
use crate::server::Inner;
use crate::session::Session;

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

impl Discovery {
    /// Starts the session of a stream. Tonic's own ways between bodies and streams of messages would keep buffers of
    /// the size of the largest message for each client.
    async fn stream(self, request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let (head, body) = request.into_parts();
        let admitted = self.access.admit(&self.inner, &MetadataMap::from_headers(head.headers)).await?;
        let requests = Requests::new(body, self.inner.config.max_request_bytes);
        let session = Session::new(self.inner, admitted);
        let (sink, responses) = mpsc::channel(SINK);
        tokio::spawn(session.run(requests, sink));
        let mut response = http::Response::new(Body::new(ResponseBody::new(responses)));
        response.headers_mut().insert(http::header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
        Ok(response)
    }
}

impl Service<http::Request<Body>> for Discovery {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let discovery = self.clone();
        Box::pin(async move {
            if request.uri().path() != DELTA {
                let status = Status::unimplemented("only DeltaAggregatedResources is served; set DELTA_GRPC");
                return Ok(status.into_http());
            }
            Ok(discovery.stream(request).await.unwrap_or_else(Status::into_http))
        })
    }
}
