//! Gateways with their listeners, their ListenerSets' listeners, and the conflicts among them.

mod conflicts;
mod lower;
mod protocol;
mod rivals;

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_api::types::{Gateway, Listener, ListenerFilter, ListenerTLS, SecretObjectReference};
use gatehouse_engine::{Reads, SmallMap, Stage};
use gatehouse_model::{
    AddressSet, FleetKey, Hostname, ListenerKey, ListenerOwner, NamespacedName, PortKey, RouteKind, Transport,
};
use rustc_hash::FxHashMap;

use crate::attach::NamespacePolicy;
use crate::config::{Config, Hosting};
use crate::facts::{DEFAULT_SCOPE, Facts, Socket, parent_of};
use crate::output::{FleetPlan, FleetPort};
use crate::parameters::{self, Parameters, Settings, Source};
use crate::policies::client::{self, ClientPolicy, Declarer};
use crate::policies::{Target, TargetKind, Told};

pub(crate) use protocol::{Family, Speaks};

/// A reason with words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) reason: &'static str,
    pub(crate) message: Arc<str>,
}

impl Problem {
    pub(crate) fn new(reason: &'static str, message: impl Into<Arc<str>>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What a GatewayClass means to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClassState {
    NotOurs,
    Ours {
        problem: Option<Problem>,
        /// Its EnvoyProxy, if it is there.
        parameters: Option<Source>,
    },
}

/// What a Gateway means to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GatewayState {
    NotOurs,
    Ours(Arc<GatewayView>),
}

impl GatewayState {
    pub(crate) fn view(&self) -> Option<&Arc<GatewayView>> {
        match self {
            Self::NotOurs => None,
            Self::Ours(view) => Some(view),
        }
    }
}

/// A Gateway of ours: its listeners and those of its ListenerSets, conflicts worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GatewayView {
    pub(crate) fleet: FleetKey,
    pub(crate) generation: i64,
    /// Whether routes attach to it that do not name it.
    pub(crate) is_default: bool,
    pub(crate) problem: Option<Problem>,
    /// Whether its listeners serve in spite of the problem.
    pub(crate) serves: bool,
    /// The pods that it needs; `None` also when their parameters cannot be followed.
    pub(crate) plan: Option<Arc<FleetPlan>>,
    /// What it was asked for by EnvoyProxies that can be followed.
    pub(crate) parameters: Option<Arc<Parameters>>,
    /// What that means for the configuration; as it last was while parameters cannot be followed.
    pub(crate) settings: Settings,
    /// The certificate that it shows to backends.
    pub(crate) shows: Option<SecretObjectReference>,
    /// What its listeners bind.
    pub(crate) addresses: AddressSet,
    /// The Gateway's own listeners in order, then those of its sets, oldest set first.
    pub(crate) listeners: Vec<Arc<ListenerView>>,
    /// Their places there in the order of their keys.
    by_key: Box<[usize]>,
    /// Sets that name this Gateway: why they may not, and their generation.
    pub(crate) sets: BTreeMap<NamespacedName, SetView>,
    /// Usable listeners by port and hostname.
    pub(crate) ports: BTreeMap<Socket, PortView>,
    /// What the policies for its listeners are told.
    pub(crate) told: Told,
}

impl GatewayView {
    /// A listener by its key.
    pub(crate) fn listener(&self, key: &ListenerKey) -> Option<&Arc<ListenerView>> {
        let order = |place: &usize| self.listeners.get(*place).map(|listener| &listener.key).cmp(&Some(key));
        let found = self.by_key.binary_search_by(order).ok()?;
        self.listeners.get(*self.by_key.get(found)?)
    }

    /// Ports where clients must show certificates; one may come several times.
    pub(crate) fn checked_ports(&self) -> impl Iterator<Item = u16> {
        self.listeners.iter().filter(|l| l.usable() && l.check.is_some()).map(|l| l.port)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetView {
    pub(crate) generation: i64,
    pub(crate) problem: Option<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortView {
    pub(crate) family: Family,
    /// The listener of each hostname pattern; patterns on a port are distinct.
    pub(crate) hosts: BTreeMap<Hostname, Arc<ListenerView>>,
}

/// What becomes of clients who fail the check of their certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// They are rejected.
    Strict,
    /// They are served all the same.
    Lenient,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenerView {
    pub(crate) key: ListenerKey,
    /// Generation of the object that declares it.
    pub(crate) generation: i64,
    pub(crate) port: u16,
    pub(crate) speaks: Speaks,
    /// Every host for protocols without hostnames.
    pub(crate) hostname: Hostname,
    pub(crate) kinds: Vec<RouteKind>,
    /// Kinds that were asked for and that the protocol does not carry.
    pub(crate) invalid_kinds: Option<Arc<str>>,
    pub(crate) namespaces: NamespacePolicy,
    pub(crate) tls: Option<Arc<ListenerTLS>>,
    /// What its requests meet before a route is chosen.
    pub(crate) filters: Arc<[ListenerFilter]>,
    /// Whether clients must show certificates (`spec.tls.frontend`).
    pub(crate) check: Option<Check>,
    /// How its clients are treated.
    pub(crate) clients: Arc<ClientPolicy>,
    /// `HostnameConflict` or `ProtocolConflict`.
    pub(crate) conflict: Option<Problem>,
    /// Why it is not accepted for other reasons.
    pub(crate) problem: Option<Problem>,
}

impl ListenerView {
    /// Whether routes may attach and traffic may flow (certificates are another matter).
    pub(crate) fn usable(&self) -> bool {
        self.conflict.is_none() && self.problem.is_none()
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> Socket {
        (self.port, self.speaks.transport())
    }

    /// The namespace of the object that declares it.
    pub(crate) fn namespace(&self) -> &Arc<str> {
        namespace_of(&self.key)
    }
}

/// The namespace of the object that declares a listener.
pub(crate) fn namespace_of(listener: &ListenerKey) -> &Arc<str> {
    match &listener.owner {
        ListenerOwner::Gateway => &listener.gateway.namespace,
        ListenerOwner::ListenerSet(set) => &set.namespace,
    }
}

/// Stage: a GatewayClass.
pub(crate) fn class(
    facts: &Facts,
    config: &Config,
    reads: &mut Reads,
    name: &Arc<str>,
) -> Option<ClassState> {
    let class = facts.classes.get(reads, name)?;
    if !config.is_ours(&class.spec.controller_name) {
        return Some(ClassState::NotOurs);
    }
    Some(match parameters::of_class(facts, reads, class) {
        Ok(parameters) => ClassState::Ours { problem: None, parameters },
        Err(problem) => ClassState::Ours { problem: Some(problem), parameters: None },
    })
}

/// What gateways are worked out from.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) classes: &'a Stage<Arc<str>, ClassState>,
    pub(crate) config: &'a Config,
    /// The settings of each Gateway as they last could be followed, where they are not the default ones. An entry changes
    /// only with its Gateway's own state.
    pub(crate) last_settings: &'a FxHashMap<NamespacedName, Settings>,
}

/// Stage: a Gateway with its ListenerSets.
pub(crate) fn gateway(sources: Sources<'_>, reads: &mut Reads, key: &NamespacedName) -> Option<GatewayState> {
    let Sources { facts, classes, config, .. } = sources;
    let gateway = facts.gateways.get(reads, key)?;
    let class: Arc<str> = gateway.spec.gateway_class_name.as_str().into();
    let Some(ClassState::Ours { problem: class_problem, parameters: of_class }) = classes.get(reads, &class)
    else {
        return Some(GatewayState::NotOurs);
    };
    let in_pods = config.hosting == Hosting::Pods;
    if class_problem.is_some() && !in_pods {
        return Some(GatewayState::NotOurs);
    }
    let (addresses, address_problem) = lower::addresses(gateway, &config.hosting);
    let parameters = match class_problem {
        Some(Problem { reason, message }) => {
            Err(Problem::new(reason, format!("GatewayClass {class}: {message}")))
        }
        None => parameters::of_gateway(facts, reads, config, of_class.as_ref(), gateway),
    };
    // Parameters shape the proxies, not what they serve: those that cannot be followed change nothing that runs.
    let serves = address_problem.is_none() && (parameters.is_ok() || in_pods);
    let settings = sources.settings(key, &parameters);
    let listeners = listeners(sources, reads, key, gateway, &addresses);
    let ports = ports(&listeners.all);
    let (parameters, parameters_problem) = match parameters {
        Ok(parameters) => (parameters, None),
        Err(problem) => (None, Some(problem)),
    };
    let plan = (in_pods && parameters_problem.is_none())
        .then(|| Arc::new(plan(config, key, gateway, &ports, parameters.as_deref())));
    Some(GatewayState::Ours(Arc::new(GatewayView {
        fleet: FleetKey(key.clone()),
        generation: gateway.metadata.generation,
        is_default: gateway.spec.default_scope.as_deref() == Some(DEFAULT_SCOPE),
        problem: address_problem.or(parameters_problem),
        serves,
        plan,
        parameters,
        settings,
        shows: lower::shows(gateway),
        // Pods bind everything that they have; the addresses are those of the Service before them.
        addresses: if in_pods { AddressSet::default() } else { addresses },
        ports,
        by_key: by_key(&listeners.all),
        listeners: listeners.all,
        sets: listeners.sets,
        told: listeners.told,
    })))
}

fn by_key(listeners: &[Arc<ListenerView>]) -> Box<[usize]> {
    let mut places: Box<[usize]> = (0..listeners.len()).collect();
    places.sort_by_key(|place| listeners.get(*place).map(|listener| &listener.key));
    places
}

impl Sources<'_> {
    fn settings(
        self,
        key: &NamespacedName,
        parameters: &Result<Option<Arc<Parameters>>, Problem>,
    ) -> Settings {
        match parameters {
            Ok(Some(parameters)) => parameters.settings(&self.config.hosting),
            Ok(None) => Settings::default(),
            Err(_) => self.last_settings.get(key).cloned().unwrap_or_default(),
        }
    }
}

/// A Gateway's listeners and whose they are.
struct Listeners {
    all: Vec<Arc<ListenerView>>,
    sets: BTreeMap<NamespacedName, SetView>,
    told: Told,
}

/// The listeners of a Gateway and of its ListenerSets, conflicts worked out.
fn listeners<'a>(
    Sources { facts, classes, config, .. }: Sources<'a>,
    reads: &mut Reads,
    key: &NamespacedName,
    gateway: &'a Gateway,
    addresses: &AddressSet,
) -> Listeners {
    let mut groups = vec![lower::own_listeners(key, gateway)];
    let mut sets = BTreeMap::new();
    let names = |listeners: &'a [Listener]| listeners.iter().map(|listener| listener.name.as_str()).collect();
    let mut declarers = vec![Declarer {
        target: Target { kind: TargetKind::Gateway, object: key.clone() },
        labels: &gateway.metadata.labels,
        listeners: names(&gateway.spec.listeners),
    }];
    for set in facts.sets_of.get(reads, key).into_iter().flat_map(SmallMap::values) {
        let set_key = NamespacedName::new(set.metadata.namespace(), set.metadata.name.as_str());
        let problem = refuse_set(facts, reads, key, gateway, &set_key);
        if problem.is_none() {
            groups.push(lower::set_listeners(key, gateway, &set_key, set));
            declarers.push(Declarer {
                target: Target { kind: TargetKind::ListenerSet, object: set_key.clone() },
                labels: &set.metadata.labels,
                listeners: names(&set.spec.listeners),
            });
        }
        sets.insert(set_key, SetView { generation: set.metadata.generation, problem });
    }
    let mut clients = client::claims(&facts.client_policies, reads, &declarers);
    let claimant = rivals::Claimant::new(facts, classes, config, key, gateway);
    for listener in groups.iter_mut().flatten().filter(|l| l.problem.is_none()) {
        let (port, transport) = listener.socket();
        let taken = claimant.port_taken(reads, (port, transport));
        listener.problem = taken.or_else(|| clients.closes(listener)).or_else(|| {
            let fleet = FleetKey(key.clone());
            let port = PortKey { fleet, addresses: addresses.clone(), port, transport };
            let why = facts.unavailable.want(reads, &port)?;
            Some(Problem::new("PortUnavailable", why.clone()))
        });
    }
    let mut all = conflicts::resolve(groups);
    clients.assign(&mut all);
    Listeners { all: all.into_iter().map(Arc::new).collect(), sets, told: clients.told() }
}

/// The pods that a Gateway needs.
fn plan(
    config: &Config,
    key: &NamespacedName,
    gateway: &Gateway,
    ports: &BTreeMap<Socket, PortView>,
    parameters: Option<&Parameters>,
) -> FleetPlan {
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let port = |(port, transport): &Socket| FleetPort {
        port: *port,
        bound: config.bound_port(*port),
        udp: *transport == Transport::Udp,
    };
    FleetPlan {
        fleet: FleetKey(key.clone()),
        gateway_uid: gateway.metadata.uid.as_str().into(),
        class: gateway.spec.gateway_class_name.as_str().into(),
        ports: ports.keys().map(port).collect(),
        labels: infrastructure.map(|i| i.labels.clone()).unwrap_or_default(),
        annotations: infrastructure.map(|i| i.annotations.clone()).unwrap_or_default(),
        addresses: lower::wanted_addresses(gateway, &config.hosting),
        parameters: parameters.map(|parameters| parameters.spec.clone()),
    }
}

fn ports(listeners: &[Arc<ListenerView>]) -> BTreeMap<Socket, PortView> {
    let mut ports: BTreeMap<Socket, PortView> = BTreeMap::new();
    for listener in listeners.iter().filter(|l| l.usable()) {
        let port = ports
            .entry(listener.socket())
            .or_insert_with(|| PortView { family: listener.speaks.family(), hosts: BTreeMap::new() });
        port.hosts.insert(listener.hostname.clone(), listener.clone());
    }
    ports
}

/// Why a ListenerSet may not attach (`Gateway.spec.allowedListeners`; by default none may).
fn refuse_set(
    facts: &Facts,
    reads: &mut Reads,
    key: &NamespacedName,
    gateway: &Gateway,
    set: &NamespacedName,
) -> Option<Problem> {
    let namespaces = gateway.spec.allowed_listeners.as_ref().and_then(|a| a.namespaces.as_ref());
    let policy = NamespacePolicy::of_listeners(namespaces);
    if policy.allows(facts, reads, &key.namespace, &set.namespace) {
        return None;
    }
    Some(Problem::new(
        "NotAllowed",
        format!(
            "Gateway {key} does not allow ListenerSets of namespace {} (spec.allowedListeners)",
            set.namespace
        ),
    ))
}

/// The Gateway that a ListenerSet belongs to, if it names a Gateway at all.
pub(crate) fn gateway_of_set(
    facts: &Facts,
    reads: &mut Reads,
    set: &NamespacedName,
) -> Option<NamespacedName> {
    parent_of(set, facts.listener_sets.get(reads, set)?)
}
