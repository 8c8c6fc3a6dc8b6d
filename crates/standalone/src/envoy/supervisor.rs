//! All fleets of one gatehouse.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use gatehouse_envoy_admin::Drain;

use super::{
    binary::EnvoyBinary,
    event::EnvoyEvent,
    fleet::{Context, Desired, Fleet, FleetState},
    log::Log,
    state::StateDir,
};

/// A fleet and how its Envoy is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetSpec {
    /// Its name; the same after a restart, or its Envoy is not found again.
    pub name: String,
    /// The bootstrap as YAML or JSON. Its `admin` address is replaced by a Unix socket. A drain can tell that it is done
    /// only when `stats_matcher` lets `listener.*.downstream_cx_active` and `http.*.downstream_{cx,rq}_active` through.
    pub bootstrap: String,
    /// More arguments, such as `--concurrency 2` or `--log-level warn`.
    pub args: Vec<String>,
}

/// What holds for all fleets.
#[derive(Debug, Clone)]
pub struct SupervisorOptions {
    /// How an Envoy is ended whose successor serves, or whose fleet is gone.
    pub replaced: Drain,
    /// When a log is rotated; at most twice as much is kept per fleet.
    pub max_log_bytes: u64,
}

impl Default for SupervisorOptions {
    fn default() -> Self {
        Self { replaced: Drain::replaced(Duration::from_mins(10)), max_log_bytes: 8 * 1024 * 1024 }
    }
}

/// Keeps one Envoy per fleet. Dropping it leaves all Envoys running, as [`detach`](Self::detach) does.
#[derive(Debug)]
pub struct Supervisor {
    state: Arc<StateDir>,
    binary: EnvoyBinary,
    options: SupervisorOptions,
    events: mpsc::UnboundedSender<EnvoyEvent>,
    /// By name. A fleet that left keeps its task, so that one which returns finds its drains.
    fleets: BTreeMap<String, Handle>,
}

#[derive(Debug)]
struct Handle {
    desired: watch::Sender<Desired>,
    state: watch::Receiver<FleetState>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// A supervisor of no fleets, and what it will tell. Nothing is touched before the first [`set_fleets`](Self::set_fleets).
    pub fn new(
        state: Arc<StateDir>,
        binary: EnvoyBinary,
        options: SupervisorOptions,
    ) -> (Self, mpsc::UnboundedReceiver<EnvoyEvent>) {
        let (events, told) = mpsc::unbounded_channel();
        (Self { state, binary, options, events, fleets: BTreeMap::new() }, told)
    }

    /// Makes `specs` the fleets: new ones are taken over or started, changed ones replaced, all others drained and ended,
    /// those included that an earlier gatehouse left in the state directory. So the first call must name all.
    ///
    /// Returns at once; what comes of it is told as events. Must be called within a Tokio runtime.
    pub fn set_fleets(&mut self, specs: impl IntoIterator<Item = FleetSpec>) {
        let mut wanted: BTreeMap<String, Desired> =
            specs.into_iter().map(|spec| (spec.name.clone(), Desired::Run(Arc::new(spec)))).collect();
        let left_behind = self.state.fleets().into_iter().map(|(name, _)| name);
        for name in left_behind.chain(self.fleets.keys().cloned()) {
            wanted.entry(name).or_insert(Desired::Absent);
        }
        for (name, desired) in wanted {
            if let Some(handle) = self.fleets.get(&name) {
                // The task compares. One that ended panicked, which is told when it is joined.
                let _ = handle.desired.send(desired);
            } else {
                let handle = self.spawn(&name, desired);
                self.fleets.insert(name, handle);
            }
        }
    }

    fn spawn(&self, name: &str, desired: Desired) -> Handle {
        let (desired, to_task) = watch::channel(desired);
        let (from_task, state) = watch::channel(FleetState::default());
        let dir = self.state.fleet_dir(name);
        let context = Context {
            name: name.to_owned(),
            log: Log::new(dir.join("envoy.log"), self.options.max_log_bytes),
            dir,
            binary: self.binary.clone(),
            replaced: self.options.replaced,
            events: self.events.clone(),
        };
        let task = tokio::spawn(Fleet::new(context, to_task, from_task).run());
        Handle { desired, state, task }
    }

    /// What each fleet's Envoy does now.
    pub fn states(&self) -> BTreeMap<String, FleetState> {
        self.fleets.iter().map(|(name, handle)| (name.clone(), handle.state.borrow().clone())).collect()
    }

    /// Drains and ends all Envoys.
    pub async fn stop(self, drain: Drain) {
        self.finish(&Desired::Stop(drain)).await;
    }

    /// Leaves all Envoys running, to be taken over by the next supervisor of this state directory.
    pub async fn detach(self) {
        self.finish(&Desired::Detach).await;
    }

    async fn finish(self, desired: &Desired) {
        for handle in self.fleets.values() {
            // A task that ended needs no telling.
            let _ = handle.desired.send(desired.clone());
        }
        for (name, handle) in self.fleets {
            if let Err(error) = handle.task.await {
                tracing::error!("the task of fleet {name} failed: {error}");
            }
        }
    }
}
