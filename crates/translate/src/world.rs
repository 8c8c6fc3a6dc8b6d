//! The world: facts and stages, and the order in which they settle.

mod answers;
mod backends;
mod gateways;
mod guards;
mod listeners;
mod quarantine;
mod routes;
mod settings;
mod stages;
mod statuses;
mod telemetry;
mod texts;
mod wants;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gatehouse_engine::{Counters, Graph, Missing, Panicked, Tally};
use gatehouse_model::{FleetKey, ListenerKey, NamespacedName, PortKey, RouteKey};
use rustc_hash::FxHashMap;

use crate::attach::Points;
use crate::authorities::GatewayPort;
use crate::backends::ClusterKey;
use crate::config::{Config, PortSource, SecretSource};
use crate::facts::{Change, Facts};
use crate::http::RedirectContext;
use crate::output::{FleetChange, FleetPlan, FleetState, Outputs, SecretKey};
use crate::parameters::Settings;
use crate::policies::{Outcomes, PolicyKey};
use crate::ports::Emitted;
use crate::streams::Streams;
use crate::uses::{User, Uses};
use crate::vhosts::VirtualHosts;
use stages::Stages;
pub use texts::Texts;

/// Facts, stages and what was handed out. One thread owns it.
#[derive(Debug)]
pub struct World {
    config: Config,
    graph: Graph,
    facts: Facts,
    stages: Stages,
    hosts: VirtualHosts,
    points: Points,
    streams: Streams,
    /// What policies are told.
    outcomes: Outcomes,
    /// Routes by listener: the `attachedRoutes` counts.
    attached: Tally<RouteKey, Arc<ListenerKey>>,
    clusters_used: Uses<User, ClusterKey>,
    secrets_used: Uses<SecretUser, SecretKey>,
    /// Derived keys of each source, so that those that vanish are run once more and go.
    listeners_of: Derived<NamespacedName, ListenerKey>,
    ports_of: Derived<NamespacedName, PortKey>,
    /// Listeners with filters.
    filtered_of: Derived<NamespacedName, ListenerKey>,
    checked_ports_of: Derived<NamespacedName, GatewayPort>,
    showing: Derived<NamespacedName, NamespacedName>,
    certified_of: Derived<ClusterKey, (ClusterKey, NamespacedName)>,
    /// Of most routes this is the one view that no redirect asks for, and they are not listed.
    contexts_of: Derived<RouteKey, Option<RedirectContext>>,
    fleets: BTreeSet<FleetKey>,
    /// What Gateways keep while parameters cannot be followed; see [`gateways::Sources`].
    last_settings: FxHashMap<NamespacedName, Settings>,
    /// Fleets that began or ceased to send requests to Services' own addresses since the last settle.
    rerouted: Vec<FleetKey>,
    /// Fleets that show backends another certificate since the last settle.
    recertified: Vec<FleetKey>,
    /// From so many bad fragments on it is looked which are still there.
    refused_limit: usize,
    /// Plans handed out.
    plans: HashMap<FleetKey, Option<Arc<FleetPlan>>>,
    /// Envoy listeners handed out, by port.
    emitted_ports: HashMap<PortKey, Emitted>,
    encoded: u64,
    /// Statuses that are handed out.
    texts: Texts,
}

/// What names secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum SecretUser {
    Port(PortKey),
    /// The clusters of a fleet.
    Clusters(FleetKey),
    /// Backends that say which certificate they are shown.
    Backends(User),
}

/// Keys of facts that changed since the last settle.
struct Changed {
    classes: Vec<Arc<str>>,
    gateways: Vec<NamespacedName>,
    sets: Vec<NamespacedName>,
    routes: Vec<RouteKey>,
    secrets: Vec<NamespacedName>,
    backends: Vec<NamespacedName>,
    policies: Vec<PolicyKey>,
}

impl World {
    /// An empty world.
    pub fn new(config: Config) -> Self {
        let mut graph = Graph::default();
        let secrets = match config.secrets {
            SecretSource::Complete => Missing::Absent,
            SecretSource::OnDemand => Missing::Unknown,
        };
        let ports = match config.ports {
            PortSource::Free => Missing::Absent,
            PortSource::OnDemand => Missing::Unknown,
        };
        let mut facts = Facts::new(&mut graph, secrets, ports);
        facts.apply(&mut graph, Change::TrustBundles(config.trust_bundles));
        Self {
            facts,
            stages: Stages::new(&mut graph),
            hosts: VirtualHosts::new(&mut graph),
            points: Points::new(&mut graph),
            streams: Streams::new(&mut graph),
            outcomes: Outcomes::new(&mut graph, "policies/outcomes"),
            attached: Tally::new(&mut graph, "attached"),
            clusters_used: Uses::default(),
            secrets_used: Uses::default(),
            listeners_of: Derived::default(),
            ports_of: Derived::default(),
            filtered_of: Derived::default(),
            checked_ports_of: Derived::default(),
            showing: Derived::default(),
            certified_of: Derived::default(),
            contexts_of: Derived::default(),
            fleets: BTreeSet::new(),
            last_settings: FxHashMap::default(),
            rerouted: Vec::new(),
            recertified: Vec::new(),
            refused_limit: quarantine::REMEMBERED,
            plans: HashMap::new(),
            emitted_ports: HashMap::new(),
            encoded: 0,
            texts: Texts::default(),
            config,
            graph,
        }
    }

    /// Takes a change. Nothing runs before [`World::settle`].
    pub fn apply(&mut self, change: Change) {
        self.facts.apply(&mut self.graph, change);
    }

    /// The proxies of a fleet are in this state now.
    pub fn fleet_is(&mut self, fleet: &FleetKey, state: FleetState) {
        if self.fleets.contains(fleet) {
            self.facts.pods.set(&mut self.graph, fleet.clone(), Arc::new(state));
        }
    }

    /// Panics caught since the last call; their keys kept their last values.
    pub fn take_panics(&mut self) -> Vec<Panicked> {
        self.graph.take_panics()
    }

    /// Counters of all stages that ran.
    pub fn counters(&self) -> BTreeMap<&'static str, Counters> {
        self.graph.all_counters().collect()
    }

    /// Virtual hosts put together and bytes copied for that since the start.
    pub fn host_work(&self) -> (u64, u64) {
        (self.hosts.work.assembled, self.hosts.work.copied)
    }

    /// Bytes of fragments encoded since the start, those that turned out equal included.
    pub fn encoded_bytes(&self) -> u64 {
        self.encoded
    }

    /// Runs everything that the changes touch and returns what differs from the last settle.
    pub fn settle(&mut self) -> Outputs {
        let mut outputs = Outputs::default();
        let changed = Changed {
            classes: self.facts.classes.take_changed(),
            gateways: self.facts.gateways.take_changed(),
            sets: self.facts.listener_sets.take_changed(),
            routes: self.facts.routes.take_changed(),
            secrets: self.facts.secrets.take_changed(),
            backends: self.facts.backends.take_changed(),
            policies: self.facts.take_changed_policies(),
        };
        self.drain_unread_logs();
        self.settle_gateways(&changed, &mut outputs);
        self.settle_routes(&changed);
        self.settle_ports(&mut outputs);
        self.settle_backends(&mut outputs);
        self.emit_hosts(&mut outputs);
        self.settle_statuses(&changed, &mut outputs);
        self.drop_gone_fleets(&mut outputs);
        outputs
    }

    /// Tables whose changes nobody follows by key: readers are woken anyway.
    fn drain_unread_logs(&mut self) {
        self.facts.services.take_changed();
        self.facts.slices.take_changed();
        self.facts.namespaces.take_changed();
        self.facts.grants.take_changed();
        self.facts.quarantined.take_changed();
        self.facts.held.take_changed();
        self.facts.troubles.take_changed();
        self.facts.pods.take_changed();
        self.facts.config_maps.take_changed();
        self.facts.trust_bundles.take_changed();
        self.facts.trust_bundles_served.take_changed();
        self.facts.proxies.take_changed();
        self.facts.selections.take_changed();
    }

    /// What is left of a fleet that is gone goes with it as a whole.
    fn drop_gone_fleets(&mut self, outputs: &mut Outputs) {
        for fleet in &outputs.removed_fleets {
            outputs.fleets.remove(fleet);
            self.forget_troubles(fleet);
        }
        outputs
            .fleets
            .retain(|fleet, change| self.fleets.contains(fleet) || *change != FleetChange::default());
    }
}

fn unique<K: Ord>(keys: Vec<K>) -> BTreeSet<K> {
    keys.into_iter().collect()
}

/// Derived keys by source.
type Derived<S, D> = FxHashMap<S, Box<[D]>>;

/// Replaces the derived keys of a source and returns old and new ones together: all of them must run.
fn renew<S, D>(known: &mut Derived<S, D>, source: &S, derived: BTreeSet<D>) -> BTreeSet<D>
where
    S: Clone + Eq + std::hash::Hash,
    D: Clone + Ord,
{
    let old = if derived.is_empty() {
        known.remove(source)
    } else {
        known.insert(source.clone(), derived.iter().cloned().collect())
    };
    old.unwrap_or_default().into_iter().chain(derived).collect()
}
