//! One Envoy with backends, configured by what the crate encodes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_envoy::{Address, BootstrapOptions, bootstrap, encode, validate};
use gatehouse_model::backend::{
    BackendKind, Cluster, ClusterName, Discovery, Endpoint, EndpointAddress, Endpoints, Health, Protocol,
};
use gatehouse_model::client::{ClientSettings, ConnectionSettings};
use gatehouse_model::http::{ExternalAuth, HttpRoute};
use gatehouse_model::listener::{
    AccessLog, EnvoyListener, FilterChain, Handler, ListenerSettings, LogFormat, LogScope, SecretName,
    TableName, TlsTermination,
};
use gatehouse_model::tracing::Tracing;
use gatehouse_model::{AddressSet, Hostname, Transport};
use gatehouse_testkit::echo::{self, Echo, Identity};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::process::{Child, Command};

use crate::ads::{self, Ads};
use crate::client;

pub(crate) struct World {
    pub(crate) ads: Ads,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) echoes: BTreeMap<&'static str, Echo>,
    directory: TempDir,
    envoy: Child,
}

/// What a world is made of besides its fixed backends.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) hosts: Vec<(Hostname, Vec<HttpRoute>)>,
    pub(crate) clusters: Vec<(Cluster, Endpoints)>,
    /// What the hosts' requests meet before a route is chosen.
    pub(crate) guard: Vec<Arc<ExternalAuth>>,
    pub(crate) tls: Vec<TlsSite>,
    /// Spans of requests to the HTTP port.
    pub(crate) tracing: Option<Arc<Tracing>>,
    /// How clients of the HTTP port are treated.
    pub(crate) clients: Arc<ClientSettings>,
    pub(crate) connections: ConnectionSettings,
}

/// A filter chain with its certificate and the virtual hosts of its table.
pub(crate) struct TlsSite {
    pub(crate) server_name: Hostname,
    pub(crate) certificate: gatehouse_model::listener::TlsCertificate,
    pub(crate) hosts: Vec<bytes::Bytes>,
}

/// The log of the addresses of clients.
const CLIENTS: &str = "clients.log";

pub(crate) fn table() -> TableName {
    TableName("http/80".into())
}

impl World {
    /// Starts backends `a`, `b` and `c` (HTTP/1.1) and `h2c`, one cluster each, and an Envoy with the hosts
    /// of the setup and `ready.test`.
    pub(crate) async fn start(setup: Setup) -> Self {
        Self::start_with(setup, &[]).await
    }

    /// The same where requests need these headers.
    pub(crate) async fn start_with(setup: Setup, headers: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ads = Ads::default();
        let mut echoes = BTreeMap::new();
        for name in ["a", "b", "c", "h2c"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let echo =
                echo::serve(listener, Identity { pod: name.to_owned(), ..Identity::default() }).unwrap();
            let protocol = if name == "h2c" { Protocol::H2c } else { Protocol::Http1 };
            set_cluster(&ads, &cluster(name, protocol), &endpoints(name, [echo.addr()]));
            echoes.insert(name, echo);
        }
        for (cluster, endpoints) in &setup.clusters {
            set_cluster(&ads, cluster, endpoints);
        }
        let (port, tls_port) = (free_port().await, free_port().await);
        let ready = vec![crate::rules::to("/", "a")];
        set_host(&ads, &Hostname::parse("ready.test"), encoded_host, &ready);
        for (host, routes) in &setup.hosts {
            match &setup.guard[..] {
                [] => set_host(&ads, host, encoded_host, routes),
                guard => set_host(
                    &ads,
                    host,
                    |table, host, routes| guarded_host(guard, table, host, routes),
                    routes,
                ),
            }
        }
        set(&ads, ads::RDS, &table().0, encode::route_table(&table(), encode::TableMode::Vhds));
        set_listener(&ads, &http_listener(port, &setup, &directory));
        set_tls(&ads, tls_port, &setup.tls);

        let socket = directory.path().join("xds.sock");
        ads.serve(UnixListener::bind(&socket).unwrap());
        let options = BootstrapOptions {
            zone: "zone-1".to_owned(),
            ..BootstrapOptions::new(
                "node",
                "fleet",
                Address::Pipe(directory.path().join("admin.sock").display().to_string()),
                Address::Pipe(socket.display().to_string()),
            )
        };
        let envoy = start_envoy(&directory, &bootstrap(&options));
        let mut world = Self { ads, port, tls_port, echoes, directory, envoy };
        world.wait_until_ready(headers).await;
        world
    }

    async fn wait_until_ready(&mut self, headers: &[(&str, &str)]) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            assert_eq!(self.ads.refused(), [""; 0], "Envoy refused configuration");
            let exited = self.envoy.try_wait().unwrap();
            assert!(exited.is_none(), "Envoy ended with {exited:?}: {}", self.log());
            let request = client::Ask { method: "GET", host: "ready.test", path: "/", headers };
            if client::ask(self.port, request).await.is_ok_and(|reply| reply.status == 200) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "Envoy is not ready: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The administration interface's answer.
    pub(crate) async fn admin(&self, path: &str) -> String {
        let mut socket = UnixStream::connect(self.directory.path().join("admin.sock")).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Addresses of the clients of all requests so far, as Envoy sees them.
    pub(crate) fn clients(&self) -> Vec<String> {
        let log = fs::read_to_string(self.directory.path().join(CLIENTS)).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// What Envoy logged; warnings and errors only.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("envoy.log")).unwrap_or_default()
    }
}

pub(crate) fn start_envoy(directory: &TempDir, bootstrap: &str) -> Child {
    let binary = std::env::var_os("GATEHOUSE_ENVOY").map(PathBuf::from);
    let binary =
        binary.expect("GATEHOUSE_ENVOY names no Envoy binary: run `make envoy` and set it (see `make test`)");
    let path = directory.path().join("bootstrap.json");
    fs::write(&path, bootstrap).unwrap();
    Command::new(binary)
        .arg("--config-path")
        .arg(path)
        .args(["--disable-hot-restart", "--concurrency", "2", "--file-flush-interval-msec", "20"])
        .args(["--log-level", "warning", "--log-path"])
        .arg(directory.path().join("envoy.log"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Every resource that a test serves also passes the check of Envoy's validation rules and can be printed.
fn set(ads: &Ads, type_url: &str, name: &str, bytes: bytes::Bytes) {
    assert_eq!(validate::message(type_url, &bytes), Ok(()), "{name}");
    gatehouse_envoy::json::decode(type_url, &bytes).unwrap();
    ads.set(type_url, name, bytes);
}

fn set_cluster(ads: &Ads, cluster: &Cluster, endpoints: &Endpoints) {
    set(ads, ads::CDS, &cluster.name.0, encode::cluster(cluster));
    if cluster.discovery == Discovery::Eds {
        set(ads, ads::EDS, &cluster.name.0, encode::endpoints(endpoints));
    }
}

fn set_host(
    ads: &Ads,
    host: &Hostname,
    encoded: impl Fn(&TableName, &Hostname, &[HttpRoute]) -> bytes::Bytes,
    routes: &[HttpRoute],
) {
    set(ads, ads::VHDS, &encode::virtual_host_name(&table(), host), encoded(&table(), host, routes));
}

/// A host behind the filters of its listener.
fn guarded_host(
    guard: &[Arc<ExternalAuth>],
    table: &TableName,
    host: &Hostname,
    routes: &[HttpRoute],
) -> bytes::Bytes {
    let mut parts = vec![encode::pre_routing(guard).unwrap().bytes];
    parts.extend(routes.iter().map(|route| encode::route(route).unwrap().bytes));
    parts.push(encode::answer_all(404));
    encode::virtual_host(table, host, parts.iter().map(|bytes| &**bytes))
}

pub(crate) fn encoded_host(table: &TableName, host: &Hostname, routes: &[HttpRoute]) -> bytes::Bytes {
    let fragments: Vec<_> = routes.iter().map(|route| encode::route(route).unwrap().bytes).collect();
    encode::virtual_host(table, host, fragments.iter().map(|bytes| &**bytes))
}

/// A real Envoy takes every form of access log.
fn access_logged(directory: &TempDir, tracing: Option<Arc<Tracing>>) -> Arc<ListenerSettings> {
    let path: Arc<str> = directory.path().join(CLIENTS).display().to_string().into();
    let log = |format, scope| AccessLog { path: "/dev/null".into(), format, scope };
    let fields = [("code".into(), "%RESPONSE_CODE%".into()), ("path".into(), "%REQ(:PATH)%".into())];
    let access_logs = vec![
        log(LogFormat::Default, LogScope::Everything),
        AccessLog {
            path,
            format: LogFormat::Text("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\n".into()),
            scope: LogScope::Requests,
        },
        log(LogFormat::Json(fields.into()), LogScope::Connections),
    ];
    Arc::new(ListenerSettings { family: None, access_logs, tracing })
}

fn http_listener(port: u16, setup: &Setup, directory: &TempDir) -> EnvoyListener {
    EnvoyListener {
        name: "http".into(),
        addresses: AddressSet::default(),
        port,
        transport: Transport::Tcp,
        tls: false,
        chains: vec![FilterChain {
            name: "http".into(),
            server_name: Hostname::Any,
            tls: None,
            handler: Handler::Http(table()),
            clients: setup.clients.clone(),
        }],
        settings: access_logged(directory, setup.tracing.clone()),
        connections: setup.connections.clone(),
    }
}

/// TLS tables carry their virtual hosts inside (RDS).
fn set_tls(ads: &Ads, port: u16, sites: &[TlsSite]) {
    let mut chains = Vec::new();
    for site in sites {
        let name: Arc<str> = site.server_name.to_string().into();
        let table = TableName(format!("https/{name}").into());
        // A secret named `*` would be a wildcard.
        let secret = SecretName(format!("secret/{name}").into());
        set(ads, ads::RDS, &table.0, encode::route_table(&table, encode::TableMode::Inline(&site.hosts)));
        set(ads, ads::SDS, &secret.0, encode::secret(&secret, &site.certificate));
        let tls = Some(TlsTermination { secrets: vec![secret], clients: None });
        chains.push(FilterChain {
            name,
            server_name: site.server_name.clone(),
            tls,
            handler: Handler::Http(table),
            clients: Arc::default(),
        });
    }
    if !chains.is_empty() {
        let addresses = AddressSet(vec!["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()]);
        let listener = EnvoyListener {
            name: "https".into(),
            addresses,
            port,
            transport: Transport::Tcp,
            tls: true,
            chains,
            settings: Arc::default(),
            connections: ConnectionSettings::default(),
        };
        set_listener(ads, &listener);
    }
}

fn set_listener(ads: &Ads, listener: &EnvoyListener) {
    set(ads, ads::LDS, &listener.name, encode::listener(listener, encode::Options { ipv6: false }));
}

pub(crate) async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

pub(crate) fn cluster(name: &str, protocol: Protocol) -> Cluster {
    Cluster {
        name: ClusterName(name.into()),
        kind: BackendKind::Service,
        namespace: "default".into(),
        object: name.into(),
        port: 80,
        protocol,
        tls: None,
        certificate: None,
        discovery: Discovery::Eds,
        retries: None,
    }
}

pub(crate) fn endpoints(name: &str, addresses: impl IntoIterator<Item = std::net::SocketAddr>) -> Endpoints {
    let members = addresses
        .into_iter()
        .map(|address| Endpoint { address: EndpointAddress::Socket(address), health: Health::Healthy })
        .collect();
    Endpoints { cluster: ClusterName(name.into()), localities: vec![("zone-1".into(), members)] }
}
