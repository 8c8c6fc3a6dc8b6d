//! A minimal delta ADS server: it answers what Envoy asks for and tells what Envoy says of each push.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::Any;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tokio_stream::wrappers::{UnboundedReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

pub(crate) const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub(crate) const EDS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
pub(crate) const LDS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
pub(crate) const RDS: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
pub(crate) const SDS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
pub(crate) const VHDS: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";

type Out = mpsc::UnboundedSender<Result<DeltaDiscoveryResponse, Status>>;

#[derive(Default)]
struct State {
    resources: BTreeMap<(String, String), Bytes>,
    out: Option<Out>,
    nonce: u64,
    /// Pushes that wait for Envoy's verdict, by nonce.
    waiting: BTreeMap<String, oneshot::Sender<Result<(), String>>>,
    refused: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Ads(Arc<Mutex<State>>);

impl Ads {
    pub(crate) fn serve(&self, listener: UnixListener) {
        let service = AggregatedDiscoveryServiceServer::new(self.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    }

    pub(crate) fn set(&self, type_url: &str, name: &str, bytes: Bytes) {
        self.0.lock().unwrap().resources.insert((type_url.to_owned(), name.to_owned()), bytes);
    }

    /// Sends one resource and waits for Envoy's verdict.
    pub(crate) async fn push(&self, type_url: &str, name: &str, bytes: Bytes) -> Result<(), String> {
        let verdict = {
            let mut state = self.0.lock().unwrap();
            let (sender, verdict) = oneshot::channel();
            let nonce = state.send(type_url, vec![resource(type_url, name, &bytes)]);
            state.waiting.insert(nonce, sender);
            verdict
        };
        verdict.await.unwrap()
    }

    pub(crate) fn refused(&self) -> Vec<String> {
        self.0.lock().unwrap().refused.clone()
    }
}

impl State {
    fn send(&mut self, type_url: &str, resources: Vec<Resource>) -> String {
        self.nonce += 1;
        let nonce = self.nonce.to_string();
        let response = DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            nonce: nonce.clone(),
            resources,
            ..DeltaDiscoveryResponse::default()
        };
        self.out.as_ref().expect("Envoy is connected").send(Ok(response)).unwrap();
        nonce
    }

    fn receive(&mut self, request: DeltaDiscoveryRequest) {
        if !request.response_nonce.is_empty() {
            let verdict = match request.error_detail {
                Some(error) => Err(error.message),
                None => Ok(()),
            };
            match (self.waiting.remove(&request.response_nonce), verdict) {
                (Some(waiting), verdict) => waiting.send(verdict).unwrap(),
                (None, Err(message)) => self.refused.push(message),
                (None, Ok(())) => {}
            }
        }
        let names: BTreeSet<&String> = request.resource_names_subscribe.iter().collect();
        let first = request.response_nonce.is_empty();
        // Virtual hosts are pushed for the tables that Envoy has, whatever it asks for.
        let everything = names.is_empty() || request.type_url == VHDS;
        if !first && names.is_empty() {
            return;
        }
        let resources = self
            .resources
            .iter()
            .filter(|((kind, name), _)| *kind == request.type_url && (everything || names.contains(name)))
            .map(|((kind, name), bytes)| resource(kind, name, bytes))
            .collect();
        self.send(&request.type_url, resources);
    }
}

fn resource(type_url: &str, name: &str, bytes: &Bytes) -> Resource {
    Resource {
        name: name.to_owned(),
        version: gatehouse_envoy::version(bytes).to_string(),
        resource: Some(Any { type_url: type_url.to_owned(), value: bytes.to_vec() }),
        ..Resource::default()
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream =
        Pin<Box<dyn Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;
    type DeltaAggregatedResourcesStream = UnboundedReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (out, stream) = mpsc::unbounded_channel();
        let state = Arc::clone(&self.0);
        state.lock().unwrap().out = Some(out);
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                state.lock().unwrap().receive(request);
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(stream)))
    }
}
