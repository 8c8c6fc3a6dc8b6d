//! One simulated proxy: the testkit's client, which warms like Envoy, on a connection of its own.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use gatehouse_testkit::xds_client::{Client, Kind, words};
use prost::Message;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// The window that Envoy gives a stream.
const WINDOW: u32 = 16 << 20;
/// The message limit of gRPC, and its own few bytes around each message.
const MAX_MESSAGE: usize = 64 << 20;
const FRAME: usize = 5;

/// A client acknowledged a response.
pub(crate) struct Ack {
    pub(crate) client: usize,
    pub(crate) at: Instant,
    /// Size of the response.
    pub(crate) bytes: usize,
    /// How many resources in it are of the kind that comes last: virtual hosts, or endpoints that came alone.
    pub(crate) last: usize,
    /// Nothing that the client was sent so far named what it could not use.
    pub(crate) sound: bool,
}

/// What runs a client.
pub(crate) struct Driver {
    pub(crate) id: usize,
    pub(crate) socket: PathBuf,
    pub(crate) acks: UnboundedSender<anyhow::Result<Ack>>,
}

impl Driver {
    /// Runs until the server ends the stream; why it ended is told like an acknowledgement.
    pub(crate) async fn run(self) {
        let end = self.serve().await.and(Err(anyhow::anyhow!("the server ended the stream")));
        // The main task may be over.
        let _ = self.acks.send(end.with_context(|| format!("client {}", self.id)));
    }

    async fn serve(&self) -> anyhow::Result<()> {
        let (requests, sent) = unbounded_channel();
        let mut client = Client::new(words);
        send(client.connect(), &requests)?;
        let mut rpc = AggregatedDiscoveryServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE);
        let stream = rpc.delta_aggregated_resources(UnboundedReceiverStream::new(sent)).await?;
        let mut responses = stream.into_inner();
        while let Some(response) = responses.message().await? {
            // Endpoints that nobody just asked for are an edit of their own.
            let alone = client.warming().is_empty() && response.type_url == Kind::Eds.type_url();
            let last = if alone || response.type_url == Kind::Vhds.type_url() {
                response.resources.len()
            } else {
                0
            };
            send(client.receive(&response), &requests)?;
            let sound = client.violations.is_empty() && client.refused == 0;
            let bytes = response.encoded_len() + FRAME;
            self.acks.send(Ok(Ack { client: self.id, at: Instant::now(), bytes, last, sound }))?;
        }
        Ok(())
    }

    async fn connect(&self) -> anyhow::Result<Channel> {
        let socket = self.socket.clone();
        let connector = tower::service_fn(move |_| {
            let connecting = tokio::net::UnixStream::connect(socket.clone());
            async { Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(connecting.await?)) }
        });
        let endpoint = Endpoint::from_static("http://unix").initial_stream_window_size(WINDOW);
        let endpoint = endpoint.initial_connection_window_size(WINDOW);
        endpoint.connect_with_connector(connector).await.context("connect")
    }
}

/// Sends requests, subscriptions of one type joined into one message as Envoy does.
fn send(
    requests: Vec<DeltaDiscoveryRequest>,
    to: &UnboundedSender<DeltaDiscoveryRequest>,
) -> anyhow::Result<()> {
    let mut joined: Vec<DeltaDiscoveryRequest> = Vec::new();
    for request in requests {
        let plain = request.response_nonce.is_empty() && request.initial_resource_versions.is_empty();
        let before = joined.iter_mut().find(|before| plain && before.type_url == request.type_url);
        match before {
            Some(before) => {
                before.resource_names_subscribe.extend(request.resource_names_subscribe);
                before.resource_names_unsubscribe.extend(request.resource_names_unsubscribe);
            }
            None => joined.push(request),
        }
    }
    for request in joined {
        to.send(request).ok().context("the stream ended")?;
    }
    Ok(())
}
