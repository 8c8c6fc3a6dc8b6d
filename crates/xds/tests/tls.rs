//! Who gets what over TLS.

// The lint spares tests, but not their helpers.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use gatehouse_testkit::xds_client::Kind;
use gatehouse_xds::{
    Admission, Authorize, Commit, Config, Denied, FleetId, Identity, Resource, Server, Verdict, tls_config,
};
use prometheus::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

const HOUR: Duration = Duration::from_hours(1);

/// Knows tokens by heart; `caught_up` waits for the watch.
struct Fake {
    tokens: BTreeMap<&'static str, Result<Identity, Denied>>,
    current: watch::Receiver<bool>,
}

impl Authorize for Fake {
    fn authorize<'a>(&'a self, token: &'a str) -> Verdict<'a, Identity> {
        let unknown = || Err(Denied::Unauthenticated("the token is not valid".to_owned()));
        let verdict = self.tokens.get(token).cloned().unwrap_or_else(unknown);
        Box::pin(async move { verdict })
    }

    fn caught_up(&self) -> Verdict<'_, ()> {
        let mut current = self.current.clone();
        Box::pin(async move {
            let current = current.wait_for(|current| *current).await;
            current.map(drop).map_err(|_| Denied::Unavailable("stopping".to_owned()))
        })
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn server(&self) -> Arc<rustls::ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["controller".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        Arc::new(tls_config(leaf.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap())
    }

    fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }
}

struct World {
    address: SocketAddr,
    authority: Authority,
    tls: watch::Sender<Arc<rustls::ServerConfig>>,
    ready: watch::Sender<bool>,
    current: watch::Sender<bool>,
    registry: Registry,
    server: Server,
}

fn identity(fleet: &str, valid: Duration) -> Identity {
    Identity { fleet: FleetId::new(fleet), expires: SystemTime::now() + valid }
}

impl World {
    /// A server of fleets `one` and `two`, each with a cluster and a secret named alike.
    fn new() -> Self {
        let expired = Identity { fleet: FleetId::new("one"), expires: SystemTime::now() - HOUR };
        let audience = Denied::Unauthenticated("the token is for another audience".to_owned());
        let nobody = Denied::Forbidden("the service account belongs to no Gateway".to_owned());
        let tokens = BTreeMap::from([
            ("one", Ok(identity("one", HOUR))),
            ("two", Ok(identity("two", HOUR))),
            ("unknown", Ok(identity("unknown", HOUR))),
            ("short", Ok(identity("one", Duration::from_millis(300)))),
            ("expired", Ok(expired)),
            ("audience", Err(audience)),
            ("nobody", Err(nobody)),
            ("outage", Err(Denied::Unavailable("the API server does not answer".to_owned()))),
        ]);
        let authority = Authority::new();
        let (tls, tls_seen) = watch::channel(authority.server());
        let (ready, ready_seen) = watch::channel(true);
        let (current, current_seen) = watch::channel(true);
        let config = Config { token_grace: Duration::ZERO, ..Config::default() };
        let (server, registry) = (Server::new(config), Registry::new());
        server.register_metrics(&registry).unwrap();
        for fleet in ["one", "two"] {
            let resource = |name: &str| Resource::new(name, "v", format!("secret of {fleet}"));
            let upserts = vec![
                (gatehouse_model::ResourceType::Cluster, resource(&format!("cluster-{fleet}"))),
                (gatehouse_model::ResourceType::Secret, resource("shared")),
                (gatehouse_model::ResourceType::Secret, resource(&format!("secret-{fleet}"))),
            ];
            server.commit(&FleetId::new(fleet), Commit { upserts, ..Commit::default() });
        }
        let authorizer = Arc::new(Fake { tokens, current: current_seen });
        let admission = Admission { authorizer, ready: ready_seen };
        let (address, serve) = server.serve_tls(([127, 0, 0, 1], 0).into(), tls_seen, admission).unwrap();
        tokio::spawn(async move { serve.await.unwrap() });
        Self { address, authority, tls, ready, current, registry, server }
    }

    async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        connect(self.address, self.authority.der()).await
    }

    /// Opens a stream with a token and says something on it.
    async fn open(&self, token: Option<&str>, first: DeltaDiscoveryRequest) -> Result<Stream, Status> {
        let mut rpc = AggregatedDiscoveryServiceClient::new(self.channel().await.unwrap());
        let (send, requests) = mpsc::unbounded_channel();
        send.send(first).unwrap();
        let mut request = Request::new(UnboundedReceiverStream::new(requests));
        if let Some(token) = token {
            let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        let responses = rpc.delta_aggregated_resources(request).await?.into_inner();
        Ok(Stream { _send: send, responses })
    }

    async fn refusal(&self, token: Option<&str>) -> Status {
        match self.open(token, wildcard(Kind::Cds)).await {
            Err(status) => status,
            Ok(_) => panic!("{token:?} opens a stream"),
        }
    }

    fn denied(&self, reason: &str) -> f64 {
        let families = self.registry.gather();
        let metrics = families.iter().filter(|family| family.name() == "gatehouse_xds_denied_total");
        let metrics = metrics.flat_map(prometheus::proto::MetricFamily::get_metric);
        let of_reason = metrics.filter(|metric| metric.get_label()[0].value() == reason);
        of_reason.map(|metric| metric.get_counter().get_value()).sum()
    }
}

struct Stream {
    _send: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Stream {
    async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let next = tokio::time::timeout(Duration::from_secs(10), self.responses.message()).await;
        next.expect("something happens").transpose().expect("the server ends streams with a status")
    }
}

async fn connect(
    address: SocketAddr,
    authority: CertificateDer<'static>,
) -> Result<Channel, tonic::transport::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    let connector = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let name = ServerName::try_from("controller").unwrap();
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(connector.connect(name, stream).await?))
        }
    });
    Endpoint::from_static("https://controller").connect_with_connector(connector).await
}

fn wildcard(kind: Kind) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.type_url().to_owned(), ..DeltaDiscoveryRequest::default() }
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

#[tokio::test]
async fn whoever_brings_no_good_token_gets_nothing() {
    let world = World::new();
    let cases = [
        (None, Code::Unauthenticated, "no_token", "authorization: Bearer"),
        (Some(""), Code::Unauthenticated, "no_token", "authorization: Bearer"),
        (Some("forged"), Code::Unauthenticated, "unauthenticated", "not valid"),
        (Some("audience"), Code::Unauthenticated, "unauthenticated", "another audience"),
        (Some("expired"), Code::Unauthenticated, "unauthenticated", "expired"),
        (Some("nobody"), Code::PermissionDenied, "forbidden", "no Gateway"),
        (Some("outage"), Code::Unavailable, "unavailable", "does not answer"),
    ];
    for (token, code, reason, words) in cases {
        let before = world.denied(reason);
        let status = world.refusal(token).await;
        assert_eq!(status.code(), code, "{token:?}: {status}");
        assert!(status.message().contains(words), "{token:?}: {status}");
        assert!(world.denied(reason) > before, "{token:?} is counted");
    }
}

#[tokio::test]
async fn a_stream_sees_only_the_fleet_of_its_token_whatever_the_client_says() {
    let world = World::new();
    let node = Node { id: "one".into(), cluster: "one".into(), ..Node::default() };
    let forged = DeltaDiscoveryRequest { node: Some(node), ..wildcard(Kind::Cds) };
    let mut stream = world.open(Some("two"), forged).await.unwrap();
    assert_eq!(names(&stream.next().await.unwrap()), ["cluster-two"]);

    let asked = ["shared", "secret-one", "one/secret-one", "../one/shared"].map(str::to_owned).to_vec();
    let request = DeltaDiscoveryRequest { resource_names_subscribe: asked, ..wildcard(Kind::Sds) };
    let mut stream = world.open(Some("two"), request).await.unwrap();
    let response = stream.next().await.unwrap();
    assert_eq!(names(&response), ["shared"]);
    assert_eq!(response.resources[0].resource.as_ref().unwrap().value, b"secret of two");
    assert_eq!(response.removed_resources.len(), 3, "{:?}", response.removed_resources);
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let world = World::new();
    let mut stream = world.open(Some("short"), wildcard(Kind::Cds)).await.unwrap();
    assert_eq!(names(&stream.next().await.unwrap()), ["cluster-one"]);
    let status = stream.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("expired"), "{status}");
}

#[tokio::test]
async fn a_server_that_is_not_ready_answers_nobody_and_ends_its_streams() {
    let world = World::new();
    world.ready.send_replace(false);
    let status = world.refusal(Some("one")).await;
    assert_eq!(status.code(), Code::Unavailable);
    assert!(world.denied("not_ready") > 0.0);
    world.ready.send_replace(true);
    let mut stream = world.open(Some("one"), wildcard(Kind::Cds)).await.unwrap();
    assert_eq!(names(&stream.next().await.unwrap()), ["cluster-one"]);
    world.ready.send_replace(false);
    assert_eq!(stream.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_server_that_lags_behind_rolls_nobody_back_and_answers_who_has_nothing() {
    let world = World::new();
    world.current.send_replace(false);
    let versions = [("cluster-new".to_owned(), "newer".to_owned())].into();
    let brings = DeltaDiscoveryRequest { initial_resource_versions: versions, ..wildcard(Kind::Cds) };
    let mut with_versions = world.open(Some("one"), brings).await.unwrap();
    // Opened later and answered first.
    let mut without = world.open(Some("one"), wildcard(Kind::Cds)).await.unwrap();
    assert_eq!(names(&without.next().await.unwrap()), ["cluster-one"]);
    let early = tokio::time::timeout(Duration::from_millis(200), with_versions.responses.message()).await;
    assert!(early.is_err(), "it waits: {early:?}");
    world.current.send_replace(true);
    assert_eq!(names(&with_versions.next().await.unwrap()), ["cluster-one"]);

    world.current.send_replace(false);
    let versions = [("cluster-one".to_owned(), "v".to_owned())].into();
    let brings = DeltaDiscoveryRequest { initial_resource_versions: versions, ..wildcard(Kind::Cds) };
    let mut deposed = world.open(Some("one"), brings).await.unwrap();
    world.ready.send_replace(false);
    assert_eq!(deposed.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_stream_of_an_unknown_fleet_waits_for_its_first_commit() {
    let world = World::new();
    let fleet = FleetId::new("unknown");
    let mut waiting = world.open(Some("unknown"), wildcard(Kind::Cds)).await.unwrap();
    world.server.commit(&fleet, Commit::default());
    assert!(waiting.next().await.unwrap().resources.is_empty(), "an empty table is an answer too");
    world.server.remove_fleet(&fleet);
    assert_eq!(waiting.next().await.unwrap_err().code(), Code::Unavailable);
    assert!(!world.server.fleet_ready(&fleet));
}

#[tokio::test]
async fn a_new_certificate_is_used_at_once_and_old_connections_live_on() {
    let mut world = World::new();
    let mut stream = world.open(Some("one"), wildcard(Kind::Cds)).await.unwrap();
    let old = std::mem::replace(&mut world.authority, Authority::new());
    world.tls.send_replace(world.authority.server());
    assert!(
        connect(world.address, old.der()).await.is_err(),
        "the new certificate is not the old authority's"
    );
    let mut next = world.open(Some("one"), wildcard(Kind::Cds)).await.unwrap();
    assert_eq!(names(&next.next().await.unwrap()), ["cluster-one"]);
    assert_eq!(names(&stream.next().await.unwrap()), ["cluster-one"]);
}

#[tokio::test]
async fn clients_without_tls_get_nothing_and_hold_up_nobody() {
    let world = World::new();
    let silent = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let plain = Endpoint::from_shared(format!("http://{}", world.address)).unwrap().connect().await;
    if let Ok(channel) = plain {
        let mut rpc = AggregatedDiscoveryServiceClient::new(channel);
        let requests = tokio_stream::iter([wildcard(Kind::Cds)]);
        assert!(rpc.delta_aggregated_resources(requests).await.is_err());
    }
    let mut stream = world.open(Some("one"), wildcard(Kind::Cds)).await.unwrap();
    assert_eq!(names(&stream.next().await.unwrap()), ["cluster-one"]);
    assert!(world.denied("tls_handshake") > 0.0);
    drop(silent);
}

#[test]
fn a_bad_certificate_is_an_error_that_names_the_part() {
    let error = tls_config(b"no PEM", b"no PEM").unwrap_err().to_string();
    assert!(error.contains("key") || error.contains("certificate"), "{error}");
}
