//! The graph thread: owns objects and world, settles once per burst, commits once per fleet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use gatehouse_model::{FleetKey, NamespacedName, ResourceType, Target};
use gatehouse_standalone::files::FileBatch;
use gatehouse_standalone::intake::{FileProblem, Intake};
use gatehouse_translate::{
    ClusterNews, Config, FleetChange, Outputs, Resource, Watch, WatchKey, WatchState, World,
};
use gatehouse_xds::{Commit, Event, FleetId, Notice, Server, WatchChange, What};
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use crate::load::change;
use crate::print;
use crate::run::metrics::CoreMetrics;
use crate::run::ports::HostPorts;
use crate::run::publish::SharedDocument;

/// What wakes the thread.
pub(crate) enum Input {
    /// Files changed.
    Files { batch: FileBatch, initial: bool, seen: Instant },
    /// The xDS server tells of proxies.
    Proxy(Event),
    /// Somebody wants to see inside.
    Dump { name: String, answer: mpsc::Sender<Option<String>> },
    /// The end.
    Stop,
}

/// What a watch of the xDS server stands for.
#[derive(Clone, Debug)]
enum Watched {
    /// A watch of the world and the digest of its needs.
    Needs(WatchKey, Arc<str>),
    /// A virtual host and its version.
    Host(FleetKey, Arc<str>, Arc<str>),
}

/// Everything that the thread owns.
pub(crate) struct Core {
    world: World,
    ports: HostPorts,
    intake: Intake,
    server: Server,
    /// The fleets that should run, sent when they change.
    fleets: UnboundedSender<BTreeSet<FleetKey>>,
    known_fleets: BTreeSet<FleetKey>,
    document: SharedDocument,
    metrics: CoreMetrics,
    /// By watch id; an id stands for one version only, so that a late answer is not taken for a newer one. Trees, since all
    /// hosts are watched at the start and hardly one later: hash tables would keep the room.
    watched: BTreeMap<u64, Watched>,
    needs_watches: HashMap<WatchKey, u64>,
    host_watches: BTreeMap<(FleetKey, Arc<str>), u64>,
    /// Watches of hosts that were answered: a host is watched only until a proxy has it.
    answered: BTreeMap<FleetKey, Vec<u64>>,
    next_watch: u64,
    /// Whether all files were read once: before that nothing is served.
    complete: bool,
    /// When the oldest change since the last commit was seen.
    seen: Option<Instant>,
    reported: Vec<FileProblem>,
}

impl Core {
    pub(crate) fn new(
        config: Config,
        ports: HostPorts,
        server: Server,
        fleets: UnboundedSender<BTreeSet<FleetKey>>,
        document: SharedDocument,
        metrics: CoreMetrics,
    ) -> Self {
        Self {
            world: World::new(config),
            ports,
            intake: Intake::default(),
            server,
            fleets,
            known_fleets: BTreeSet::new(),
            document,
            metrics,
            watched: BTreeMap::new(),
            needs_watches: HashMap::new(),
            host_watches: BTreeMap::new(),
            answered: BTreeMap::new(),
            next_watch: 0,
            complete: false,
            seen: None,
            reported: Vec::new(),
        }
    }

    /// Runs until told to stop. Bursts coalesce: everything that waits is taken before one settle.
    pub(crate) fn run(mut self, inputs: &mpsc::Receiver<Input>) {
        loop {
            let mut next = match self.ports.quiet_for() {
                None => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(quiet) => inputs.recv_timeout(quiet),
            };
            while let Ok(input) = next {
                if matches!(input, Input::Stop) {
                    return;
                }
                self.take(input);
                next = inputs.try_recv().map_err(|_| RecvTimeoutError::Timeout);
            }
            if matches!(next, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            self.ports.retry(&mut self.world);
            if self.complete {
                self.settle();
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Files { batch, initial, seen } => {
                self.complete |= initial;
                self.seen.get_or_insert(seen);
                self.files(&batch);
            }
            Input::Proxy(event) => self.proxy(&event),
            Input::Dump { name, answer } => {
                // Whoever asked may have gone away.
                let _ = answer.send(self.dump(&name));
            }
            Input::Stop => {}
        }
    }

    fn files(&mut self, batch: &FileBatch) {
        let now = Timestamp::now();
        let changes = self.intake.apply(batch);
        tracing::debug!(files = batch.events.len(), objects = changes.len(), "files changed");
        for object in changes {
            self.document.lock().unwrap_or_else(PoisonError::into_inner).object(&object, now);
            self.world.apply(change(object));
        }
        self.document.touch();
        let problems = self.intake.problems();
        for problem in problems.iter().filter(|problem| !self.reported.contains(problem)) {
            print::error_line(problem);
        }
        if problems.is_empty() && !self.reported.is_empty() {
            tracing::info!("all files are good again");
        }
        self.metrics.file_problems(problems.len(), self.intake.stale().count());
        self.reported = problems;
    }

    fn settle(&mut self) {
        let before = self.known_fleets.clone();
        loop {
            let started = Instant::now();
            let outputs = self.world.settle();
            for panicked in self.world.take_panics() {
                tracing::error!(stage = panicked.stage, key = panicked.key, "bug: {}", panicked.message);
                self.metrics.panicked();
            }
            self.metrics.settled(started.elapsed(), &self.world);
            self.publish(outputs);
            // A Gateway whose ports were not asked about yet has changed nothing.
            if !self.ports.answer(&mut self.world) {
                break;
            }
        }
        self.seen = None;
        // The first set is sent even when empty: Envoys that an earlier run left behind must go.
        if before != self.known_fleets || self.metrics.first_commit() {
            // The receiver ends with the process only.
            let _ = self.fleets.send(self.known_fleets.clone());
        }
    }

    fn publish(&mut self, outputs: Outputs) {
        let Outputs { mut fleets, removed_fleets, statuses, plans: _ } = outputs;
        for fleet in self.answered.keys().filter(|fleet| self.known_fleets.contains(*fleet)) {
            fleets.entry(fleet.clone()).or_default();
        }
        let seen = self.seen;
        for (fleet, change) in fleets {
            self.known_fleets.insert(fleet.clone());
            let commit = self.commit_of(&fleet, change, seen);
            self.server.commit(&fleet_id(&fleet), commit);
        }
        for fleet in removed_fleets {
            self.known_fleets.remove(&fleet);
            self.server.remove_fleet(&fleet_id(&fleet));
            self.forget_watches(&fleet);
        }
        if !statuses.is_empty() {
            let now = Timestamp::now();
            let mut document = self.document.lock().unwrap_or_else(PoisonError::into_inner);
            for status in statuses {
                document.status(&status, now);
            }
            drop(document);
            self.document.touch();
        }
    }

    fn commit_of(&mut self, fleet: &FleetKey, change: FleetChange, seen: Option<Instant>) -> Commit {
        let answered = self.answered.remove(fleet).unwrap_or_default();
        let mut watches: Vec<_> = answered.into_iter().map(WatchChange::Remove).collect();
        for (key, watch) in change.watches {
            self.watch_needs(key, watch, &mut watches);
        }
        for resource in change.upserts.iter().filter(|r| r.kind == ResourceType::VirtualHost) {
            let host = Watched::Host(fleet.clone(), resource.name.clone(), resource.version.clone());
            let need = (ResourceType::VirtualHost, resource.name.clone(), resource.version.clone());
            let id = self.watch(host, vec![need], &mut watches);
            let old = self.host_watches.insert((fleet.clone(), resource.name.clone()), id);
            self.unwatch(old, &mut watches);
        }
        for (_, name) in change.removals.iter().filter(|(kind, _)| *kind == ResourceType::VirtualHost) {
            let old = self.host_watches.remove(&(fleet.clone(), name.clone()));
            self.unwatch(old, &mut watches);
        }
        self.metrics.committed(&change.upserts);
        let upsert = |r: Resource| {
            let Resource { kind, name, version, body, interim } = r;
            (kind, gatehouse_xds::Resource { name, version, body, interim })
        };
        Commit {
            upserts: change.upserts.into_iter().map(upsert).collect(),
            removals: change.removals,
            edges: change.edges,
            watches,
            seen,
        }
    }

    fn watch_needs(&mut self, key: WatchKey, watch: Option<Watch>, out: &mut Vec<WatchChange>) {
        let old = match watch {
            Some(watch) => {
                let id = self.watch(Watched::Needs(key.clone(), watch.digest), watch.needs, out);
                self.needs_watches.insert(key, id)
            }
            None => self.needs_watches.remove(&key),
        };
        self.unwatch(old, out);
    }

    fn watch(&mut self, what: Watched, needs: Vec<gatehouse_xds::Need>, out: &mut Vec<WatchChange>) -> u64 {
        self.next_watch += 1;
        self.watched.insert(self.next_watch, what);
        out.push(WatchChange::Set(gatehouse_xds::Watch { id: self.next_watch, needs }));
        self.next_watch
    }

    fn unwatch(&mut self, id: Option<u64>, out: &mut Vec<WatchChange>) {
        if let Some(id) = id {
            self.watched.remove(&id);
            out.push(WatchChange::Remove(id));
        }
    }

    fn forget_watches(&mut self, fleet: &FleetKey) {
        self.answered.remove(fleet);
        self.needs_watches.retain(|key, _| key.fleet() != fleet);
        self.host_watches.retain(|(owner, _), _| owner != fleet);
        self.watched.retain(|_, watched| match watched {
            Watched::Needs(key, _) => key.fleet() != fleet,
            Watched::Host(owner, ..) => owner != fleet,
        });
    }

    fn proxy(&mut self, event: &Event) {
        match &event.what {
            What::Held { watch, holders, refused } => self.held(*watch, *holders, refused.as_deref()),
            What::Resource(notice) => self.noticed(&event.fleet, notice),
            What::Streams { connected } => {
                tracing::info!(fleet = %event.fleet, connected, "proxies connected");
            }
        }
    }

    fn noticed(&mut self, fleet: &FleetId, notice: &Notice) {
        match notice {
            Notice::Refused { target, version, message } => self.refused(fleet, target, version, message),
            Notice::GateExpired { target, clusters } => {
                for cluster in clusters {
                    if self.cluster_says(fleet, cluster, ClusterNews::Waits(true)) {
                        tracing::warn!(%fleet, resource = %target.1, %cluster, "sent although the cluster is not ready");
                    }
                }
            }
            Notice::Warmed { cluster } => {
                self.cluster_says(fleet, cluster, ClusterNews::Waits(false));
                tracing::info!(%fleet, %cluster, "ready at last");
            }
            Notice::Cleared { target } => {
                self.refusal_of_cluster(fleet, target, None);
                tracing::info!(%fleet, resource = %target.1, "no longer refused");
            }
        }
    }

    fn held(&mut self, watch: u64, holders: usize, refused: Option<&str>) {
        match self.watched.get(&watch).cloned() {
            Some(Watched::Needs(key, digest)) => {
                if let Some(message) = refused {
                    self.world.proxy_says(key, &digest, WatchState::Refused(message.into()));
                } else if holders > 0 {
                    self.world.proxy_says(key, &digest, WatchState::Held);
                }
            }
            Some(Watched::Host(fleet, name, version)) if holders > 0 && refused.is_none() => {
                self.world.host_acknowledged(&fleet, &name, &version);
                self.watched.remove(&watch);
                self.host_watches.remove(&(fleet.clone(), name));
                self.answered.entry(fleet).or_default().push(watch);
            }
            Some(Watched::Host(..)) | None => {}
        }
    }

    fn refused(&mut self, fleet: &FleetId, target: &Target, version: &str, message: &str) {
        self.metrics.refused(target.0);
        tracing::warn!(%fleet, resource = %target.1, "refused by the proxy: {message}");
        if target.0 == ResourceType::VirtualHost
            && let Some(fleet) = fleet_key(fleet)
        {
            self.world.host_refused(&fleet, &target.1, version, &message.into());
        }
        self.refusal_of_cluster(fleet, target, Some(message.into()));
    }

    fn refusal_of_cluster(&mut self, fleet: &FleetId, (kind, name): &Target, message: Option<Arc<str>>) {
        match kind {
            ResourceType::Cluster => self.cluster_says(fleet, name, ClusterNews::Refused(message)),
            ResourceType::Endpoint => self.cluster_says(fleet, name, ClusterNews::EndpointsRefused(message)),
            _ => false,
        };
    }

    fn cluster_says(&mut self, fleet: &FleetId, cluster: &Arc<str>, news: ClusterNews) -> bool {
        fleet_key(fleet).is_some_and(|fleet| self.world.cluster_says(&fleet, cluster, news))
    }

    fn dump(&self, name: &str) -> Option<String> {
        match name {
            "stages" => {
                let counters: BTreeMap<_, _> = self
                    .world
                    .counters()
                    .into_iter()
                    .map(|(stage, c)| (stage, serde_json::json!([c.computed, c.changed, c.held])))
                    .collect();
                serde_json::to_string(&counters).ok()
            }
            "problems" => {
                let problems: Vec<_> = self.reported.iter().map(ToString::to_string).collect();
                serde_json::to_string(&problems).ok()
            }
            _ => None,
        }
    }
}

/// The xDS server's name of a fleet.
pub(crate) fn fleet_id(fleet: &FleetKey) -> FleetId {
    FleetId::new(fleet.to_string())
}

fn fleet_key(id: &FleetId) -> Option<FleetKey> {
    let (namespace, name) = id.as_str().split_once('/')?;
    Some(FleetKey(NamespacedName::new(namespace, name)))
}
