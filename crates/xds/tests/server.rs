//! The server over real sockets, with a client that is not ours.

// The lint spares tests, but not their helpers.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use gatehouse_model::ResourceType;
use gatehouse_testkit::xds_client::{Client, Kind, words};
use gatehouse_xds::{Commit, Config, FleetId, Resource, ServeError, Server, What};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};

fn commit(all: &[(ResourceType, &str, &str)]) -> Commit {
    let upserts = all.iter().map(|(kind, name, body)| {
        let body = (*body).to_owned();
        (*kind, Resource::new(*name, format!("v({body})"), body))
    });
    Commit { upserts: upserts.collect(), ..Commit::default() }
}

async fn connect(path: &Path) -> AggregatedDiscoveryServiceClient<Channel> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move {
            let stream = tokio::net::UnixStream::connect(path).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    let channel = Endpoint::from_static("http://unix").connect_with_connector(connector).await.unwrap();
    AggregatedDiscoveryServiceClient::new(channel)
}

fn serve(server: &Server, path: &Path, fleet: &FleetId) {
    let serve = server.serve_unix(path, fleet).unwrap();
    tokio::spawn(async move { serve.await.unwrap() });
}

#[tokio::test]
async fn a_client_on_a_socket_gets_the_table_of_its_fleet() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("xds.sock");
    let (server, fleet) = (Server::new(Config::default()), FleetId::new("one"));
    let mut events = server.events();
    serve(&server, &path, &fleet);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let mut rpc = connect(&path).await;
    let (send, requests) = mpsc::unbounded_channel::<DeltaDiscoveryRequest>();
    let mut responses =
        rpc.delta_aggregated_resources(UnboundedReceiverStream::new(requests)).await.unwrap().into_inner();
    let mut client = Client::new(words);
    client.connect().into_iter().for_each(|request| send.send(request).unwrap());
    let early = tokio::time::timeout(Duration::from_millis(100), responses.message()).await;
    assert!(early.is_err(), "nothing is served before the first complete snapshot");
    assert!(!server.fleet_ready(&fleet));

    server.commit(&FleetId::new("other"), commit(&[(ResourceType::Cluster, "foreign", "static")]));
    let all = [
        (ResourceType::Cluster, "c", "eds"),
        (ResourceType::Endpoint, "c", "here"),
        (ResourceType::Listener, "l", "route:r"),
        (ResourceType::RouteConfiguration, "r", "vhds"),
        (ResourceType::VirtualHost, "r/h", "names:c"),
    ];
    server.commit(&fleet, commit(&all));
    while client.effective(Kind::Vhds).is_empty() {
        let response = responses.message().await.unwrap().expect("the stream goes on");
        client.receive(&response).into_iter().for_each(|request| send.send(request).unwrap());
    }
    assert!(client.violations.is_empty());
    assert_eq!(client.effective(Kind::Cds).into_keys().collect::<Vec<_>>(), ["c"]);
    assert_eq!(events.recv().await.map(|event| event.what), Some(What::Streams { connected: 1 }));

    server.remove_fleet(&fleet);
    let ended = loop {
        match responses.message().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(ended.unwrap_err().code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn state_of_the_world_is_refused_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("xds.sock");
    let server = Server::new(Config::default());
    serve(&server, &path, &FleetId::new("one"));
    let requests = tokio_stream::iter([DiscoveryRequest::default()]);
    let status = connect(&path).await.stream_aggregated_resources(requests).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert!(status.message().contains("DELTA_GRPC"), "{status}");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (server, fleet) = (Server::new(Config::default()), FleetId::new("one"));
    let stale = dir.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(server.serve_unix(&stale, &fleet).is_ok());
    let busy = dir.path().join("served.sock");
    let _other = std::os::unix::net::UnixListener::bind(&busy).unwrap();
    assert!(matches!(server.serve_unix(&busy, &fleet).err(), Some(ServeError::InUse(_))));
    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(server.serve_unix(&file, &fleet).err(), Some(ServeError::NotASocket(_))));
    let long = dir.path().join("x".repeat(120));
    assert!(matches!(server.serve_unix(&long, &fleet).err(), Some(ServeError::PathTooLong { .. })));
}
