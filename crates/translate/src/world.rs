//! The world: facts and stages, and the order in which they settle.

mod answers;
mod backends;
mod guards;
mod listeners;
mod quarantine;
mod settings;
mod statuses;
mod telemetry;
mod texts;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gatehouse_engine::{Counters, Graph, Missing, Panicked, Stage, Tally};
use gatehouse_model::{FleetKey, ListenerKey, NamespacedName, PortKey, RouteKey, RouteKind};
use rustc_hash::FxHashMap;

use crate::attach::{Bindings, Points, Site, bindings};
use crate::authorities::{GatewayPort, OfClients, of_clients};
use crate::backends::{Assignment, ClusterKey};
use crate::certificates::{Certificates, KeyPair, Shown, certificates, key_pair, shown};
use crate::config::{Config, Hosting, PortSource, SecretSource};
use crate::facts::{Change, Facts, PodSelection, age};
use crate::fragments::{Fragments, FragmentsKey, contexts, fragments};
use crate::gateways::{self, ClassState, GatewayState, class, gateway};
use crate::http::guards::Guard;
use crate::http::{Lowered, RedirectContext, lowered};
use crate::output::{FleetChange, FleetPlan, FleetState, Outputs, Resource, SecretKey};
use crate::overlaps::{Overlaps, overlaps};
use crate::parameters::Settings;
use crate::policies::telemetry::Traced;
use crate::policies::{Outcome, Outcomes, OutcomesOfUsers, Place, PolicyKey, PolicyKind, Told};
use crate::ports::{self, Emitted, PortState};
use crate::streams::Streams;
use crate::uses::{User, Uses};
use crate::vhosts::{Placement, VirtualHosts};
use statuses::StatusText;
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
    outcomes_of_users: OutcomesOfUsers,
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

#[derive(Debug)]
struct Stages {
    classes: Stage<Arc<str>, ClassState>,
    gateways: Stage<NamespacedName, GatewayState>,
    pairs: Stage<NamespacedName, KeyPair>,
    /// The authorities of the clients of ports where they are checked.
    authorities: Stage<GatewayPort, Arc<OfClients>>,
    /// What Gateways show to backends, where they show something.
    shown: Stage<NamespacedName, Shown>,
    certificates: Stage<ListenerKey, Arc<Certificates>>,
    overlaps: Stage<NamespacedName, Arc<Overlaps>>,
    guards: Stage<ListenerKey, Arc<Guard>>,
    traced: Stage<NamespacedName, Arc<Traced>>,
    ports: Stage<PortKey, PortState>,
    bindings: Stage<RouteKey, Arc<Bindings>>,
    lowered: Stage<RouteKey, Arc<Lowered>>,
    fragments: Stage<FragmentsKey, Arc<Fragments>>,
    clusters: Stage<ClusterKey, Arc<Resource>>,
    /// The same for fleets that show a certificate over TLS.
    certified_clusters: Stage<(ClusterKey, NamespacedName), Arc<Resource>>,
    endpoints: Stage<ClusterKey, Assignment>,
    /// The same for fleets that send requests to Services' own addresses.
    service_addresses: Stage<ClusterKey, Assignment>,
    class_status: Stage<Arc<str>, StatusText>,
    gateway_status: Stage<NamespacedName, StatusText>,
    set_status: Stage<NamespacedName, StatusText>,
    route_status: Stage<RouteKey, StatusText>,
    backend_status: Stage<NamespacedName, StatusText>,
    policy_status: Stage<PolicyKey, StatusText>,
}

impl Stages {
    fn new(graph: &mut Graph) -> Self {
        Self {
            classes: Stage::new(graph, "classes"),
            gateways: Stage::new(graph, "gateways"),
            pairs: Stage::new(graph, "key_pairs"),
            authorities: Stage::new(graph, "authorities"),
            shown: Stage::new(graph, "certificates/shown"),
            certificates: Stage::new(graph, "certificates"),
            overlaps: Stage::new(graph, "overlaps"),
            guards: Stage::new(graph, "guards"),
            traced: Stage::new(graph, "traced"),
            ports: Stage::new(graph, "ports"),
            bindings: Stage::new(graph, "bindings"),
            lowered: Stage::new(graph, "lowered"),
            fragments: Stage::new(graph, "fragments"),
            clusters: Stage::new(graph, "clusters"),
            certified_clusters: Stage::new(graph, "clusters/certified"),
            endpoints: Stage::new(graph, "endpoints"),
            service_addresses: Stage::new(graph, "service_addresses"),
            class_status: Stage::new(graph, "status/classes"),
            gateway_status: Stage::new(graph, "status/gateways"),
            set_status: Stage::new(graph, "status/listener_sets"),
            route_status: Stage::new(graph, "status/routes"),
            backend_status: Stage::new(graph, "status/backends"),
            policy_status: Stage::new(graph, "status/policies"),
        }
    }
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
            outcomes_of_users: OutcomesOfUsers::new(&mut graph, "policies/outcomes_of_users"),
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

    /// Secrets that became wanted (`true`) or are wanted no more since the last call.
    pub fn take_secret_wants(&mut self) -> Vec<(NamespacedName, bool)> {
        self.facts.secrets.take_want_changes(&mut self.graph)
    }

    /// The same of ConfigMaps.
    pub fn take_config_map_wants(&mut self) -> Vec<(NamespacedName, bool)> {
        self.facts.config_maps.take_want_changes(&mut self.graph)
    }

    /// The same of pods. Whoever tells them says [`Change::Selected`] then.
    pub fn take_pod_wants(&mut self) -> Vec<(PodSelection, bool)> {
        let changes = self.facts.selections.take_want_changes(&mut self.graph);
        for (selection, _) in changes.iter().filter(|(_, wanted)| !wanted) {
            self.facts.selections.forget(&mut self.graph, selection);
        }
        changes
    }

    /// Ports that became wanted (`true`) or are wanted no more since the last call: [`World::port_asked`] takes the
    /// answers. With [`PortSource::OnDemand`] a Gateway changes only when all its ports are answered.
    pub fn take_port_wants(&mut self) -> Vec<(PortKey, bool)> {
        let changes = self.facts.unavailable.take_want_changes(&mut self.graph);
        for (port, _) in changes.iter().filter(|(_, wanted)| !wanted) {
            self.facts.unavailable.forget(&mut self.graph, port);
        }
        changes
    }

    /// Says why proxies cannot have a port of the host, if so; may change at any time.
    pub fn port_asked(&mut self, port: PortKey, unavailable: Option<Arc<str>>) {
        match unavailable {
            Some(why) => drop(self.facts.unavailable.set(&mut self.graph, port, why)),
            None => drop(self.facts.unavailable.set_absent(&mut self.graph, port)),
        }
    }

    /// Whether everything is known that the fleet's resources depend on. As long as it is not, they lack what is unknown
    /// or show what was known of it before. A proxy may have more: whoever starts beside one that runs puts off the
    /// first commit until then (see [`FleetChange::absorb`]), or until it has waited long enough for those who fetch.
    pub fn is_settled(&self, fleet: &FleetKey) -> bool {
        // Only Secrets, ConfigMaps, pods and ports can be unknown, and only these stages read them.
        let concerns = |route| {
            let bound = self.stages.bindings.peek(route);
            bound.is_some_and(|bound| bound.listeners().any(|listener| listener.site.fleet == *fleet))
        };
        !self.stages.lowered.holding().any(concerns)
            && !self.stages.certificates.holding().any(|listener| listener.gateway == fleet.0)
            && !self.stages.guards.holding().any(|listener| listener.gateway == fleet.0)
            && !self.stages.traced.holding().any(|gateway| *gateway == fleet.0)
            && !self.stages.authorities.holding().any(|(gateway, _)| *gateway == fleet.0)
            && !self.stages.shown.holding().any(|gateway| *gateway == fleet.0)
            && !self.stages.gateways.holding().any(|gateway| *gateway == fleet.0)
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

    fn settle_gateways(&mut self, changed: &Changed, outputs: &mut Outputs) {
        let Self { config, graph, facts, stages, last_settings, .. } = self;
        for key in &changed.classes {
            stages.classes.mark(graph, key.clone());
        }
        stages.classes.settle(graph, |reads, key| class(facts, config, reads, key));
        for key in &changed.gateways {
            stages.gateways.mark(graph, key.clone());
        }
        let sources = gateways::Sources { facts, classes: &stages.classes, config, last_settings };
        stages.gateways.settle(graph, |reads, key| gateway(sources, reads, key));
        for key in &changed.secrets {
            // What is unknown stays as it was for those who need it; without them it would stay for ever.
            if facts.secrets.peek(key).is_none() && !facts.secrets.is_wanted(key) {
                stages.pairs.forget(graph, key);
            } else {
                stages.pairs.mark(graph, key.clone());
            }
        }
        stages.pairs.settle(graph, |reads, key| key_pair(facts, reads, key));
        let gateways = unique(stages.gateways.take_changed());
        stages.classes.take_changed();
        for key in &gateways {
            self.mark_gateway(key, outputs);
        }
        let Self { graph, facts, stages, .. } = self;
        stages
            .certificates
            .settle(graph, |reads, key| certificates(facts, &stages.gateways, &stages.pairs, reads, key));
        stages.certificates.take_changed();
        stages
            .overlaps
            .settle(graph, |reads, key| overlaps(&stages.gateways, &stages.certificates, reads, key));
        stages.overlaps.take_changed();
        stages.authorities.settle(graph, |reads, key| of_clients(facts, &stages.gateways, reads, key));
        stages.shown.settle(graph, |reads, key| shown(facts, &stages.gateways, &stages.pairs, reads, key));
        for key in unique(self.stages.shown.take_changed()) {
            self.show(FleetKey(key));
        }
        self.settle_telemetry(&gateways);
        self.settle_guards(gateways);
    }

    /// Follows a Gateway's listeners and ports as they come and go.
    fn mark_gateway(&mut self, key: &NamespacedName, outputs: &mut Outputs) {
        let view = self.stages.gateways.peek(key).and_then(GatewayState::view).cloned();
        let listeners: BTreeSet<_> =
            view.iter().flat_map(|v| v.listeners.iter().map(|l| l.key.clone())).collect();
        let port_keys: BTreeSet<_> = view.iter().flat_map(|v| ports::keys(v)).collect();
        for listener in renew(&mut self.listeners_of, key, listeners) {
            self.stages.certificates.mark(&mut self.graph, listener);
        }
        self.stages.overlaps.mark(&mut self.graph, key.clone());
        let filtered = view.iter().flat_map(|v| v.listeners.iter().filter(|l| !l.filters.is_empty()));
        let filtered = filtered.map(|listener| listener.key.clone()).collect();
        for listener in renew(&mut self.filtered_of, key, filtered) {
            self.stages.guards.mark(&mut self.graph, listener);
        }
        let checked = view.iter().flat_map(|v| v.checked_ports().map(|port| (key.clone(), port))).collect();
        for port in renew(&mut self.checked_ports_of, key, checked) {
            self.stages.authorities.mark(&mut self.graph, port);
        }
        let shows = view.iter().filter(|view| view.shows.is_some()).map(|_| key.clone()).collect();
        for gateway in renew(&mut self.showing, key, shows) {
            self.stages.shown.mark(&mut self.graph, gateway);
        }
        for port in renew(&mut self.ports_of, key, port_keys) {
            self.stages.ports.mark(&mut self.graph, port);
        }
        self.keep_settings(key, view.as_deref());
        self.points.set(&mut self.graph, key, view.as_deref());
        let told = view.as_ref().map(|view| view.told.clone()).unwrap_or_default();
        self.outcomes.set(&mut self.graph, key.clone(), told);
        self.hosts.set_gateway(&mut self.graph, key, view.as_deref());
        let fleet = FleetKey(key.clone());
        if let Some(view) = view {
            outputs.fleets.entry(fleet.clone()).or_default();
            self.fleets.insert(fleet.clone());
            if self.config.hosting == Hosting::Pods && self.plans.get(&fleet) != Some(&view.plan) {
                self.plans.insert(fleet.clone(), view.plan.clone());
                outputs.plans.push((fleet, view.plan.clone()));
            }
        } else if self.fleets.remove(&fleet) {
            self.plans.remove(&fleet);
            self.facts.pods.set_absent(&mut self.graph, fleet.clone());
            outputs.removed_fleets.push(fleet);
        }
    }

    fn settle_routes(&mut self, changed: &Changed) {
        let Self { config, graph, facts, stages, points, .. } = self;
        for key in &changed.routes {
            stages.bindings.mark(graph, key.clone());
            stages.lowered.mark(graph, key.clone());
        }
        stages.bindings.settle(graph, |reads, key| bindings(facts, points, reads, key));
        stages.lowered.settle(graph, |reads, key| lowered(facts, config, reads, key));
        let mut routes = stages.bindings.take_changed();
        routes.extend(stages.lowered.take_changed());
        let mut routes: BTreeSet<RouteKey> = routes.into_iter().collect();
        for key in &routes {
            self.mark_fragments(key);
        }
        let Self { graph, facts, stages, encoded, .. } = self;
        stages.fragments.settle(graph, |reads, key| {
            let made = fragments(facts, &stages.bindings, &stages.lowered, reads, key);
            *encoded += made.iter().flat_map(|made| &made.list).map(|f| f.bytes.len() as u64).sum::<u64>();
            made
        });
        routes.extend(stages.fragments.take_changed().into_iter().map(|(route, _)| route));
        for key in &routes {
            self.place_route(key);
        }
    }

    fn mark_fragments(&mut self, key: &RouteKey) {
        let bound = self.stages.bindings.peek(key).zip(self.stages.lowered.peek(key));
        let wanted = bound.map(|(bindings, lowered)| contexts(bindings, lowered)).unwrap_or_default();
        let plain = BTreeSet::from([None]);
        let listed = if wanted == plain { BTreeSet::new() } else { wanted };
        for context in renew(&mut self.contexts_of, key, listed).union(&plain).copied() {
            self.stages.fragments.mark(&mut self.graph, (key.clone(), context));
        }
    }

    /// Puts a route's fragments, attachments and clusters where they belong now.
    fn place_route(&mut self, key: &RouteKey) {
        let Self { graph, facts, stages, hosts, streams, attached, .. } = self;
        let bound = stages.bindings.peek(key).zip(stages.lowered.peek(key));
        let created = facts.routes.peek(key).map(|route| age(route.meta()));
        let claimed = bound.zip(created).map(|((b, l), age)| (&**b, &**l, age));
        streams.set(graph, key, claimed);
        let fragments = |context| stages.fragments.peek(&(key.clone(), context)).cloned();
        let placement = bound.map(|(b, l)| Placement {
            bindings: b,
            fragments: &fragments,
            needs_listener: l.needs_listener,
        });
        hosts.set_route(graph, key, placement.as_ref());
        let listeners = bound.iter().flat_map(|(bindings, _)| bindings.listeners());
        attached.set(graph, key.clone(), listeners.map(|l| l.site.key.clone()).collect());
        let mut uses = BTreeSet::new();
        if let Some((bindings, lowered)) = bound {
            for listener in bindings.listeners() {
                uses.extend(lowered.clusters.iter().map(|c| (listener.site.fleet.clone(), c.clone())));
            }
        }
        let mut told = BTreeMap::new();
        if let Some((bindings, lowered)) = bound.filter(|(_, lowered)| !lowered.told.is_empty()) {
            let passes_on = |site: &Site| key.kind == RouteKind::Tls && !site.ends_tls;
            for listener in bindings.listeners() {
                let place = Place::gateway(&listener.site.key.gateway);
                let concerns = |kind| kind != PolicyKind::BackendTls || !passes_on(&listener.site);
                for (policy, outcome) in lowered.told.iter().filter(|((kind, _), _)| concerns(*kind)) {
                    told.insert((policy.clone(), place.clone()), outcome.clone());
                }
            }
        }
        let told = told.into_iter().map(|((policy, place), outcome)| (policy, place, outcome)).collect();
        self.use_backends(User::Route(key.clone()), uses, told);
    }

    /// Somebody uses these clusters, and tells this of policies and of backends that are told like them.
    fn use_backends(&mut self, user: User, clusters: BTreeSet<(FleetKey, ClusterKey)>, told: Told) {
        let certificates = backends::certificates(&clusters);
        self.secrets_used.set(&SecretUser::Backends(user.clone()), certificates);
        self.clusters_used.set(&user, clusters);
        let told = told.into_iter().map(|(policy, place, outcome)| (policy, (place, user.clone()), outcome));
        let told = told.collect();
        self.outcomes_of_users.set(&mut self.graph, user, told);
    }

    /// The same of what a Gateway itself uses.
    fn gateway_uses(
        &mut self,
        gateway: &NamespacedName,
        user: User,
        clusters: &[ClusterKey],
        told: &[(PolicyKey, Arc<Outcome>)],
    ) {
        let fleet = FleetKey(gateway.clone());
        let clusters = clusters.iter().map(|cluster| (fleet.clone(), cluster.clone())).collect();
        let place = Place::gateway(gateway);
        let told = told.iter().map(|(policy, outcome)| (policy.clone(), place.clone(), outcome.clone()));
        self.use_backends(user, clusters, told.collect());
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
