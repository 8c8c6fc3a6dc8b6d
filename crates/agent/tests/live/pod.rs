//! A proxy pod on this machine: an agent and a real Envoy, and a controller that can be killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use gatehouse_agent::{Address, Agent, Options, Upstream};
use gatehouse_envoy::BootstrapOptions;
use gatehouse_testkit::envoy::Envoy;
use gatehouse_testkit::http::free_port;
use gatehouse_xds::{
    Admission, Authorize, Commit, Config, Denied, FleetId, Identity, Server, Verdict, tls_config,
};
use prometheus::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub(crate) const TOKEN: &str = "good";

/// Knows one token.
struct OneToken;

impl Authorize for OneToken {
    fn authorize<'a>(&'a self, token: &'a str) -> Verdict<'a, Identity> {
        Box::pin(async move {
            let expires = SystemTime::now() + Duration::from_hours(1);
            let fleet = FleetId::new("ns/gateway");
            let denied = || Denied::Unauthenticated("the token is not valid".to_owned());
            (token == TOKEN).then_some(Identity { fleet, expires }).ok_or_else(denied)
        })
    }
}

/// A controller in a runtime of its own, so that it can be killed with all its connections.
pub(crate) struct Controller {
    runtime: Option<Runtime>,
    server: Server,
    registry: Registry,
    _ready: watch::Sender<bool>,
}

impl Controller {
    fn start(address: SocketAddr, tls: Arc<rustls::ServerConfig>) -> Self {
        let (server, registry) = (Server::new(Config::default()), Registry::new());
        server.register_metrics(&registry).unwrap();
        let (ready, ready_seen) = watch::channel(true);
        let admission = Admission { authorizer: Arc::new(OneToken), ready: ready_seen };
        let tls = watch::channel(tls).1;
        // The one before it may still be about to let go of the address.
        let start = Instant::now();
        let serve = loop {
            match server.serve_tls(address, tls.clone(), admission.clone()) {
                Ok((_, serve)) => break serve,
                Err(error) => assert!(start.elapsed() < Duration::from_secs(10), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        runtime.spawn(async move { serve.await.unwrap() });
        Self { runtime: Some(runtime), server, registry, _ready: ready }
    }

    pub(crate) fn commit(&self, commit: Commit) {
        self.server.commit(&FleetId::new("ns/gateway"), commit);
    }

    /// The sum of a metric over its labels.
    pub(crate) fn count(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().filter(|family| family.name() == name);
        let metrics = family.flat_map(prometheus::proto::MetricFamily::get_metric);
        metrics.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What the agent of the pod in a directory is told.
pub(crate) fn options(dir: &Path, controller: u16, probes: SocketAddr) -> Options {
    Options {
        upstream: Upstream {
            host: "localhost".to_owned(),
            port: controller,
            ca: dir.join("ca.pem"),
            token: dir.join("token"),
        },
        socket: dir.join("xds.sock"),
        store: dir.join("store"),
        envoy_admin: Address::Unix(dir.join("admin.sock")),
        listen: probes,
        failure_delay: Duration::ZERO,
        min_drain: Duration::from_millis(500),
        drain_timeout: Duration::from_secs(20),
    }
}

pub(crate) struct Pod {
    dir: tempfile::TempDir,
    tls: Arc<rustls::ServerConfig>,
    controller: SocketAddr,
    pub(crate) agent: Option<Agent>,
    pub(crate) probes: SocketAddr,
    envoy: Option<Envoy>,
}

impl Pod {
    /// A directory with the files of a pod; nothing runs yet.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let tls = tls_config(leaf.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
        Self {
            dir,
            tls: Arc::new(tls),
            controller: (Ipv4Addr::LOCALHOST, free_port()).into(),
            agent: None,
            probes: (Ipv4Addr::LOCALHOST, free_port()).into(),
            envoy: None,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn controller(&self) -> Controller {
        Controller::start(self.controller, self.tls.clone())
    }

    pub(crate) fn options(&self) -> Options {
        options(self.dir.path(), self.controller.port(), self.probes)
    }

    pub(crate) async fn start_agent(&mut self) {
        self.agent = Some(Agent::start(self.options()).await.unwrap());
    }

    pub(crate) async fn stop_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.stop().await;
        }
    }

    pub(crate) fn start_envoy(&mut self) {
        let pipe = |name: &str| gatehouse_envoy::Address::Pipe(self.path(name).display().to_string());
        let options = BootstrapOptions::new("pod", "ns/gateway", pipe("admin.sock"), pipe("xds.sock"));
        self.envoy = Some(Envoy::start(self.dir.path(), &gatehouse_envoy::bootstrap(&options)));
    }

    pub(crate) fn kill_envoy(&mut self) {
        self.envoy = None;
    }

    /// A probe: status and body.
    pub(crate) async fn probe(&self, path: &str) -> (u16, String) {
        let answer = crate::client::get(self.probes.port(), "probe", path).await;
        answer.map_or_else(|error| (0, error.to_string()), |answer| (answer.status, answer.body))
    }

    /// Waits until `/ready` says yes, and returns how long that took.
    pub(crate) async fn ready(&self) -> Duration {
        let start = Instant::now();
        loop {
            let (status, why) = self.probe("/ready").await;
            if status == 200 {
                return start.elapsed();
            }
            assert!(start.elapsed() < Duration::from_secs(30), "not ready: {status} {why}{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("envoy.log")).unwrap_or_default()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.kill_envoy();
    }
}
