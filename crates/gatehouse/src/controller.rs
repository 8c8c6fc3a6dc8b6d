//! `gatehouse controller`: a cluster in, proxies in pods and statuses out.
//!
//! ```text
//! watches --changes--> graph thread (Core) --commits--> xDS server <--TLS, tokens-- agents of the proxies
//!                        |   |    ^---- refused, held ----/
//!                        |   +---- plans ----> Pods (while leading) ----> API server
//!                        |                       '-- addresses, readiness --> graph thread
//!                        +---- statuses, events (while leading) --------> API server
//! ```
//!
//! Every replica watches and computes; the leader alone answers proxies and writes.

mod admission;
mod config;
mod counted;
mod freshness;
mod hearing;
mod notes;
mod patience;
mod pods;
mod thread;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context;
use gatehouse_admin::{Admin, AdminServer, Readiness};
use gatehouse_infra::Settings;
use gatehouse_kube::ca::{Ca, CaConfig, Material};
use gatehouse_kube::events::Events;
use gatehouse_kube::health::Health;
use gatehouse_kube::leader::{Leader, Leadership, LeaseConfig, OwnPod};
use gatehouse_kube::source::{Scope, SecretMode, Source, SourceConfig, SourceEvent};
use gatehouse_kube::status::{StatusWriter, WriterConfig};
use gatehouse_kube::tokens::TokenReviewer;
use gatehouse_kube::{Api, Connection};
use gatehouse_translate::{Config, Hosting, PortSource, SecretSource};
use gatehouse_xds::{Admission, Server};
use prometheus::Registry;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::cli::ControllerArgs;
use crate::inbox::{dumper, forward};
use crate::plane::{Plane, PlaneMetrics};
use crate::run::{ipv6, wait_for_signal};
use admission::{Accounts, Gatekeeper};
use config::Placement;
pub(crate) use config::{ControllerConfig, LogFormat};
use counted::StatusWrites;
use pods::Pods;
use thread::{Core, Input, PlanNews, Sinks};

/// The label that the leader's pod carries; the xDS Service selects by it.
const LEADER_LABEL: &str = "gatehouse.dev/leader";
/// Agents come again after this time, give or take, so that no stream outlives what it was admitted by.
const STREAM_AGE: Duration = Duration::from_mins(30);
/// What agents' tokens are made for.
const AUDIENCE: &str = "gatehouse.dev/xds";
/// What `/readyz` waits for until the first complete snapshot is committed.
const FIRST_SNAPSHOT: &str = "the first complete snapshot";

/// The pod that this process runs in.
struct Pod {
    namespace: String,
    name: String,
}

impl Pod {
    fn from_env() -> anyhow::Result<Self> {
        let variable = |name: &str| {
            std::env::var(name)
                .with_context(|| format!("read ${name}, which the pod's specification must set"))
        };
        Ok(Self { namespace: variable("POD_NAMESPACE")?, name: variable("POD_NAME")? })
    }
}

/// What every part of the controller talks to.
struct Base {
    api: Api,
    health: Health,
    leader: Leader,
    ca: Ca,
    /// Turns true when the first complete snapshot is committed.
    committed: watch::Sender<bool>,
    inbox: mpsc::Sender<Input>,
}

/// Serves until a signal: the first hands leadership over, a second ends at once.
pub(crate) async fn controller(args: ControllerArgs, config: ControllerConfig) -> anyhow::Result<()> {
    let pod = Pod::from_env()?;
    let (inbox, inputs) = mpsc::channel();
    let base = Base::start(args, &config, &pod, inbox).await?;
    tracing::info!(pod = pod.name, namespace = pod.namespace, controllers = ?config.controller_names, "starting");

    let registry = Registry::new();
    let xds_config = gatehouse_xds::Config { max_stream_age: Some(STREAM_AGE), ..Default::default() };
    let server = Server::new(xds_config);
    server.register_metrics(&registry)?;
    let plane = Plane::new(translation(&config), server.clone(), PlaneMetrics::new(&registry)?);
    let (planned, plan_news) = unbounded_channel();
    let accounts = Accounts::default();
    let sinks = base.sinks(&config, &pod, planned, accounts.clone());
    let parts = freshness::Parts { source: sinks.source.clone(), inbox: base.inbox.clone() };
    let fresh = freshness::follow(base.leader.watch(), parts, sinks.caught_up.subscribe());
    registry.register(Box::new(StatusWrites::new(sinks.statuses.clone())?))?;
    let core = Core::new(plane, sinks);
    let graph = std::thread::Builder::new()
        .name("gatehouse-graph".to_owned())
        .spawn(move || core.run(&inputs))
        .context("start the graph thread")?;
    tokio::spawn(forward(server.events(), base.inbox.clone(), Input::Proxy));
    let admin = base.admin(&config, registry).await?;
    let admission = base.admission(accounts, fresh);
    let xds = tokio::spawn(serve(server, any_address(config.xds.port), base.ca.watch(), admission));
    let pods = tokio::spawn(base.pods(&config, &pod).run(plan_news));

    tokio::select! {
        result = wait_for_signal() => result?,
        end = xds => return end.context("the xDS server panicked (this is a bug)")?,
    }
    tracing::info!("stopping: handing over; a second signal ends at once");
    let Base { leader, inbox, .. } = base;
    tokio::select! {
        // The lease is given back while the streams still stand: agents bridge the time until the next leader.
        () = leader.release() => {}
        result = wait_for_signal() => return result,
    }
    // The thread can only be gone after a panic, which the join reports; its end closes the plans.
    let _ = inbox.send(Input::Stop);
    tokio::select! {
        _ = pods => {}
        result = wait_for_signal() => return result,
    }
    admin.stop().await;
    graph.join().map_err(|_| anyhow::anyhow!("the graph thread panicked (this is a bug)"))
}

impl Base {
    async fn start(
        args: ControllerArgs,
        config: &ControllerConfig,
        pod: &Pod,
        inbox: mpsc::Sender<Input>,
    ) -> anyhow::Result<Self> {
        let role = role(config, pod);
        let api = Api::connect(&Connection { kubeconfig: args.kubeconfig, context: None, role }).await?;
        let health = Health::default();
        let leader = Leader::start(api.clone(), lease(config, pod), health.clone());
        let ca = CaConfig::new(&pod.namespace, &config.certificate_authority.secret, dns_names(config, pod));
        let ca = Ca::start(api.clone(), ca, leader.watch(), health.clone());
        Ok(Self { api, health, leader, ca, committed: watch::Sender::new(false), inbox })
    }

    /// Starts what reads the cluster and what writes to it.
    fn sinks(
        &self,
        config: &ControllerConfig,
        pod: &Pod,
        plans: UnboundedSender<PlanNews>,
        accounts: Accounts,
    ) -> Sinks {
        let Self { api, health, leader, .. } = self;
        let controllers = config.controller_names.iter().map(|name| name.as_str().into()).collect();
        let (heard, answered) = watch::channel(false);
        let writer = WriterConfig { controllers, heard: Some(answered), ..WriterConfig::default() };
        let (statuses, observer) = StatusWriter::start(api.clone(), &writer, leader.watch(), health.clone());
        let controller = config.controller_names[0].as_str();
        let events = Events::start(api.clone(), controller, &pod.name, leader.watch(), health.clone());
        let (source, changes) =
            Source::start(api.clone(), watches(config, pod), Some(observer), health.clone());
        tokio::spawn(forward_changes(changes, self.inbox.clone()));
        let (committed, caught_up) = (self.committed.clone(), watch::Sender::default());
        Sinks { source, statuses, events, plans, accounts, committed, caught_up, heard }
    }

    async fn admin(&self, config: &ControllerConfig, metrics: Registry) -> anyhow::Result<AdminServer> {
        let readiness = Readiness::waiting_for([FIRST_SNAPSHOT]);
        let admin = Admin {
            readiness: readiness.clone(),
            metrics,
            status: Arc::new(|| None),
            dump: dumper(self.inbox.clone(), Input::Dump),
        };
        let admin = AdminServer::start(any_address(config.admin.port), admin).await?;
        tracing::info!(address = %admin.address(), "health and metrics");
        tokio::spawn(follow_readiness(readiness, self.health.clone(), self.committed.subscribe()));
        Ok(admin)
    }

    fn admission(&self, accounts: Accounts, fresh: watch::Receiver<bool>) -> Admission {
        let reviewer = TokenReviewer::new(self.api.clone(), AUDIENCE);
        Admission {
            authorizer: Arc::new(Gatekeeper { reviewer, accounts, fresh }),
            ready: both(self.leader.watch(), self.committed.subscribe()),
        }
    }

    fn pods(&self, config: &ControllerConfig, pod: &Pod) -> Pods {
        Pods {
            api: self.api.clone(),
            settings: settings(config, pod),
            namespaces: namespaces(config, pod),
            leadership: self.leader.watch(),
            material: self.ca.watch(),
            committed: self.committed.subscribe(),
            inbox: self.inbox.clone(),
        }
    }
}

/// Where our rights are, with the names that the chart gives, which names the lease like itself.
fn role(config: &ControllerConfig, pod: &Pod) -> String {
    let (namespace, release) = (&pod.namespace, &config.leader_election.lease);
    format!(
        "the Roles and ClusterRoles of the controller (by the chart's names ClusterRole \"{namespace}:{release}\", in single namespaces Role \
         \"{release}-namespace\", in its own also Role \"{release}\")"
    )
}

fn lease(config: &ControllerConfig, pod: &Pod) -> LeaseConfig {
    let election = &config.leader_election;
    LeaseConfig {
        duration: election.lease_duration,
        renew_deadline: election.renew_deadline,
        retry: election.retry_period,
        pod: Some(OwnPod { name: pod.name.clone(), label: LEADER_LABEL.to_owned() }),
        ..LeaseConfig::new(&pod.namespace, &election.lease, &pod.name)
    }
}

/// Names that the xDS Service is reached by.
fn dns_names(config: &ControllerConfig, pod: &Pod) -> Vec<String> {
    let service = format!("{}.{}.svc", config.xds.service, pod.namespace);
    vec![service.clone(), format!("{service}.cluster.local")]
}

fn translation(config: &ControllerConfig) -> Config {
    Config {
        controller_names: config.controller_names.iter().map(|name| name.as_str().into()).collect(),
        hosting: Hosting::Pods,
        secrets: SecretSource::OnDemand,
        ipv6: ipv6(),
        ports: PortSource::OnDemand,
        shared_namespace: config.placement == Placement::ControllerNamespace,
        external_names: config.backends.external_names,
        trust_bundles: false,
        ..Config::default()
    }
}

fn watches(config: &ControllerConfig, pod: &Pod) -> SourceConfig {
    let set = |names: &[String]| names.iter().cloned().collect();
    let scope = if !config.watch.namespaces.is_empty() {
        Scope::Namespaces(set(&config.watch.namespaces))
    } else if !config.watch.selector.is_empty() {
        Scope::Selector(config.watch.selector.clone())
    } else {
        Scope::Cluster
    };
    let secrets = match &config.secrets.namespaces[..] {
        [] => SecretMode::Wanted,
        names => SecretMode::Namespaces(set(names)),
    };
    SourceConfig {
        scope,
        secrets,
        backends: config.backends.enabled,
        parameters: Some(pod.namespace.clone()),
        ..SourceConfig::default()
    }
}

/// Where pods may be: the applier needs no rights elsewhere.
fn namespaces(config: &ControllerConfig, pod: &Pod) -> Option<Vec<String>> {
    match config.placement {
        Placement::ControllerNamespace => Some(vec![pod.namespace.clone()]),
        Placement::GatewayNamespace if config.watch.namespaces.is_empty() => None,
        Placement::GatewayNamespace => Some(config.watch.namespaces.clone()),
    }
}

fn settings(config: &ControllerConfig, pod: &Pod) -> Settings {
    Settings {
        controller: config.controller_names[0].clone(),
        controller_namespace: pod.namespace.clone(),
        placement: match config.placement {
            Placement::GatewayNamespace => gatehouse_infra::Placement::GatewayNamespace,
            Placement::ControllerNamespace => gatehouse_infra::Placement::ControllerNamespace,
        },
        envoy_image: config.proxy.image.clone(),
        agent_image: config.agent.image.clone(),
        image_pull_policy: config.image_pull_policy.clone(),
        image_pull_secrets: config.image_pull_secrets.clone(),
        xds_address: format!("{}.{}.svc:{}", config.xds.service, pod.namespace, config.xds.port),
        token_audience: AUDIENCE.to_owned(),
        ..Settings::default()
    }
}

/// All addresses, those of IPv6 included where there are any.
fn any_address(port: u16) -> SocketAddr {
    if ipv6() { (Ipv6Addr::UNSPECIFIED, port).into() } else { (Ipv4Addr::UNSPECIFIED, port).into() }
}

/// True while both are: we lead, and there is something to serve.
fn both(
    mut leadership: watch::Receiver<Leadership>,
    mut committed: watch::Receiver<bool>,
) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let now = leadership.borrow_and_update().is_leader() && *committed.borrow_and_update();
            sender.send_if_modified(|ready| std::mem::replace(ready, now) != now);
            tokio::select! {
                Ok(()) = leadership.changed() => {}
                Ok(()) = committed.changed() => {}
                else => return,
            }
        }
    });
    receiver
}

/// Serves streams as soon as there is a certificate, and with the newest one from then on.
async fn serve(
    server: Server,
    address: SocketAddr,
    mut material: watch::Receiver<Option<Material>>,
    admission: Admission,
) -> anyhow::Result<()> {
    let first = loop {
        let first = material.borrow_and_update().clone();
        match first {
            Some(first) => break first,
            None => material.changed().await.context("the certificate authority ended")?,
        }
    };
    let config = |material: &Material| {
        gatehouse_xds::tls_config(material.certificate.as_bytes(), material.key.as_bytes()).map(Arc::new)
    };
    let (sender, tls) = watch::channel(config(&first)?);
    let (bound, serve) = server.serve_tls(address, tls, admission)?;
    tracing::info!(address = %bound, "serving xDS");
    let renew = async {
        while material.changed().await.is_ok() {
            let renewed = material.borrow_and_update().as_ref().map(config);
            match renewed {
                Some(Ok(config)) => drop(sender.send_replace(config)),
                Some(Err(error)) => tracing::error!("the renewed certificate is not used: {error}"),
                None => {}
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        end = serve => Ok(end?),
        () = renew => Ok(()),
    }
}

/// Until the first snapshot is committed, `/readyz` names what is in its way; after that nothing makes us unready: a
/// controller without an API server still serves.
async fn follow_readiness(readiness: Readiness, health: Health, mut committed: watch::Receiver<bool>) {
    let mut problems = health.watch();
    let mut named: Vec<String> = Vec::new();
    while !*committed.borrow_and_update() {
        let now: Vec<_> =
            problems.borrow_and_update().iter().map(|(subject, text)| format!("{subject}: {text}")).collect();
        for text in named.iter().filter(|text| !now.contains(text)) {
            readiness.done(text);
        }
        for text in &now {
            readiness.wait_for(text.clone());
        }
        named = now;
        tokio::select! {
            Ok(()) = problems.changed() => {}
            Ok(()) = committed.changed() => {}
            else => return,
        }
    }
    for text in &named {
        readiness.done(text);
    }
    readiness.done(FIRST_SNAPSHOT);
}

async fn forward_changes(mut changes: tokio::sync::mpsc::Receiver<SourceEvent>, inbox: mpsc::Sender<Input>) {
    while let Some(change) = changes.recv().await {
        if inbox.send(Input::Source(change)).is_err() {
            return;
        }
    }
}
