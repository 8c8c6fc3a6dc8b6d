//! Fleets as they should run: an xDS socket and an Envoy for each Gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use gatehouse_admin::Readiness;
use gatehouse_envoy::{Address, BootstrapOptions, bootstrap};
use gatehouse_model::FleetKey;
use gatehouse_standalone::envoy::{
    EnvoyBinary, EnvoyEvent, EnvoyEventKind, FleetSpec, StateDir, Supervisor, SupervisorOptions,
};
use gatehouse_xds::Server;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use crate::plane::fleet_id;

/// Starts and ends what fleets need on this host.
pub(crate) struct Fleets {
    server: Server,
    state: Arc<StateDir>,
    supervisor: Supervisor,
    concurrency: Option<u32>,
    /// The task that serves each fleet's xDS socket.
    sockets: BTreeMap<FleetKey, JoinHandle<()>>,
}

impl Fleets {
    pub(crate) fn new(
        server: Server,
        state: Arc<StateDir>,
        envoy: EnvoyBinary,
        concurrency: Option<u32>,
    ) -> Self {
        let (supervisor, events) = Supervisor::new(state.clone(), envoy, SupervisorOptions::default());
        tokio::spawn(log_events(events));
        Self { server, state, supervisor, concurrency, sockets: BTreeMap::new() }
    }

    /// Follows the wanted fleets until the channel closes; then hands out the supervisor for the stop.
    pub(crate) async fn run(
        mut self,
        mut wanted: UnboundedReceiver<BTreeSet<FleetKey>>,
        readiness: Readiness,
        waited_for: &'static str,
    ) -> Option<Supervisor> {
        while let Some(fleets) = wanted.recv().await {
            self.follow(&fleets).await;
            readiness.done(waited_for);
        }
        Some(self.supervisor)
    }

    async fn follow(&mut self, wanted: &BTreeSet<FleetKey>) {
        let gone: Vec<_> = self.sockets.keys().filter(|fleet| !wanted.contains(*fleet)).cloned().collect();
        for task in gone.iter().filter_map(|fleet| self.sockets.remove(fleet)) {
            task.abort();
            // Until it is over it holds its socket, which the same Gateway may want back at once.
            let _ = task.await;
        }
        let mut specs = Vec::new();
        for fleet in wanted {
            match self.spec(fleet) {
                Ok(spec) => specs.push(spec),
                Err(error) => tracing::error!(gateway = %fleet, "Envoy is not started: {error:#}"),
            }
        }
        self.supervisor.set_fleets(specs);
    }

    fn spec(&mut self, fleet: &FleetKey) -> anyhow::Result<FleetSpec> {
        let socket = self.state.xds_socket(&fleet.to_string())?;
        if !self.sockets.contains_key(fleet) {
            let serve = self.server.serve_unix(&socket, &fleet_id(fleet))?;
            let gateway = fleet.clone();
            let task = tokio::spawn(async move {
                if let Err(error) = serve.await {
                    tracing::error!(%gateway, "xDS socket: {error}");
                }
            });
            self.sockets.insert(fleet.clone(), task);
        }
        let mut args = vec!["--log-level".to_owned(), "warning".to_owned()];
        if let Some(concurrency) = self.concurrency {
            args.extend(["--concurrency".to_owned(), concurrency.to_string()]);
        }
        Ok(FleetSpec { name: fleet.to_string(), bootstrap: bootstrap_of(fleet, &socket), args })
    }
}

/// The supervisor puts its own socket in the place of the admin address.
fn bootstrap_of(fleet: &FleetKey, socket: &Path) -> String {
    let admin = Address::Pipe("admin.sock".to_owned());
    let xds = Address::Pipe(socket.display().to_string());
    bootstrap(&BootstrapOptions::new(fleet.to_string(), fleet.to_string(), admin, xds))
}

async fn log_events(mut events: UnboundedReceiver<EnvoyEvent>) {
    while let Some(event) = events.recv().await {
        match event.kind {
            EnvoyEventKind::Crashed { .. } | EnvoyEventKind::NotStarted { .. } => tracing::error!("{event}"),
            EnvoyEventKind::Slow { .. } => tracing::warn!("{event}"),
            _ => tracing::info!("{event}"),
        }
    }
}
