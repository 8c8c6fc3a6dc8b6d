//! `gatehouse run`: files in, one Envoy per Gateway out.
//!
//! ```text
//! files --batches--> graph thread (Core) --commits--> xDS server <--streams--> Envoys
//!                        |    ^---- refused, held ----/                          ^
//!                        +---- fleets ----> Fleets (sockets, supervisor) --------+
//!                        +---- statuses --> status file, /status
//! ```

mod core;
mod fleets;
mod ports;
mod publish;

use std::sync::{Arc, mpsc};
use std::time::Instant;

use anyhow::Context;
use gatehouse_admin::{Admin, AdminServer, Readiness};
use gatehouse_standalone::envoy::{Drain, StateDir, find_envoy};
use gatehouse_standalone::files::{BatchKind, FileUpdates};
use gatehouse_standalone::ports::{PortMap, PortWatch};
use gatehouse_translate::{Config, PortSource};
use gatehouse_xds::Server;
use prometheus::Registry;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{OnStop, RunArgs};
use crate::inbox::{dumper, forward};
use crate::load::{config, instance_id, open};
use crate::plane::{Plane, PlaneMetrics};
use crate::run::core::{Core, FileProblems, Input};
use crate::run::fleets::Fleets;
use crate::run::ports::HostPorts;
use crate::run::publish::Publisher;

/// What `/readyz` waits for until the first snapshot is committed.
const FILES: &str = "reading the files";

/// Serves until a signal: the first drains, a second ends at once.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<()> {
    let envoy = find_envoy(args.envoy.clone()).await?;
    let config = Config { ports: PortSource::OnDemand, ipv6: ipv6(), ..config(&args.source.settings)? };
    let state_path =
        args.state_dir.clone().unwrap_or_else(|| StateDir::default_path(&instance_id(&args.source.paths)));
    let state = Arc::new(StateDir::open(state_path)?);
    tracing::info!(envoy = %envoy.path.display(), version = envoy.version, state = %state.path().display(), "starting");

    let registry = Registry::new();
    let server = Server::new(gatehouse_xds::Config::default());
    server.register_metrics(&registry)?;
    let plane = Plane::new(config, server.clone(), PlaneMetrics::new(&registry)?);
    let problems = FileProblems::new(&registry)?;
    let readiness = Readiness::waiting_for([FILES]);
    let publisher = Publisher::start(state.path());
    let (fleet_sender, fleet_receiver) = tokio::sync::mpsc::unbounded_channel();
    let (inbox, inputs) = mpsc::channel();
    let map = PortMap::parse(&args.source.settings.port_map)?;
    let ports = HostPorts::new(map, envoy.path.clone(), PortWatch::new(state.path()));
    let core = Core::new(plane, ports, fleet_sender, publisher.document(), problems);
    let graph = std::thread::Builder::new()
        .name("gatehouse-graph".to_owned())
        .spawn(move || core.run(&inputs))
        .context("start the graph thread")?;

    let document = publisher.document();
    let admin = Admin {
        readiness: readiness.clone(),
        metrics: registry,
        status: Arc::new(move || document.json()),
        dump: dumper(inbox.clone(), Input::Dump),
    };
    let admin = AdminServer::start(args.admin, admin).await?;
    tracing::info!(address = %admin.address(), "health, metrics and status");
    let fleets = Fleets::new(server.clone(), state, envoy, args.concurrency);
    let fleets = tokio::spawn(fleets.run(fleet_receiver, readiness, FILES));
    tokio::spawn(forward_files(open(&args.source.paths)?, inbox.clone()));
    tokio::spawn(forward(server.events(), inbox.clone(), Input::Proxy));

    wait_for_signal().await?;
    let drain = (args.on_stop == OnStop::Drain).then(|| Drain::stop(args.drain_timeout));
    if drain.is_some() {
        tracing::info!("stopping: draining open requests; a second signal ends at once");
    } else {
        tracing::info!("stopping: the Envoys keep serving");
    }
    tokio::select! {
        () = stop(inbox, fleets, drain) => {}
        result = wait_for_signal() => result?,
    }
    admin.stop().await;
    publisher.finish();
    graph.join().map_err(|_| anyhow::anyhow!("the graph thread panicked (this is a bug)"))
}

/// Ends the graph thread, which closes the fleets' channel, and drains all Envoys or leaves them running.
async fn stop(
    inbox: mpsc::Sender<Input>,
    fleets: tokio::task::JoinHandle<Option<gatehouse_standalone::envoy::Supervisor>>,
    drain: Option<Drain>,
) {
    // The thread can only be gone after a panic, which the join reports.
    let _ = inbox.send(Input::Stop);
    if let Ok(Some(supervisor)) = fleets.await {
        match drain {
            Some(drain) => supervisor.stop(drain).await,
            None => supervisor.detach().await,
        }
    }
}

/// Returns at SIGTERM or SIGINT.
pub(crate) async fn wait_for_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn forward_files(mut updates: FileUpdates, inbox: mpsc::Sender<Input>) {
    while let Some(batch) = updates.next().await {
        let initial = batch.kind == BatchKind::InitialComplete;
        if inbox.send(Input::Files { batch, initial, seen: Instant::now() }).is_err() {
            return;
        }
    }
    tracing::error!("the thread that reads files ended: changes are no longer seen; restart gatehouse");
}

/// Whether this host has IPv6, so that listeners on every address can bind it too.
pub(crate) fn ipv6() -> bool {
    std::net::TcpListener::bind((std::net::Ipv6Addr::LOCALHOST, 0)).is_ok()
}
