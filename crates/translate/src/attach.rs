//! Which listeners a route attaches to, for every kind of route.

mod points;

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_api::types::{FromNamespaces, LabelSelector, NamespacesFrom, ParentReference};
use gatehouse_engine::{Reads, SmallMap};
use gatehouse_model::{Hostname, ListenerKey, ListenerOwner, NamespacedName, RouteKey};

use crate::facts::{Facts, RouteFact};
use crate::gateways::{Problem, gateway_of_set, namespace_of};
use crate::grants::GATEWAY_GROUP;
use crate::names;

pub(crate) use points::{Point, Points, Site};

/// Whose objects may attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamespacePolicy {
    None,
    Same,
    All,
    Selector(LabelSelector),
}

impl NamespacePolicy {
    /// `allowedRoutes.namespaces`: the same namespace by default.
    pub(crate) fn of_routes(namespaces: Option<&NamespacesFrom>) -> Self {
        Self::of(namespaces, Self::Same)
    }

    /// `allowedListeners.namespaces`: none by default.
    pub(crate) fn of_listeners(namespaces: Option<&NamespacesFrom>) -> Self {
        Self::of(namespaces, Self::None)
    }

    fn of(namespaces: Option<&NamespacesFrom>, default: Self) -> Self {
        let Some(namespaces) = namespaces else { return default };
        match &namespaces.from {
            None => default,
            Some(FromNamespaces::All) => Self::All,
            Some(FromNamespaces::Same) => Self::Same,
            Some(FromNamespaces::Selector) => namespaces.selector.clone().map_or(Self::None, Self::Selector),
            Some(FromNamespaces::None | FromNamespaces::Other(_)) => Self::None,
        }
    }

    pub(crate) fn allows(&self, facts: &Facts, reads: &mut Reads, own: &str, other: &Arc<str>) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Same => *own == **other,
            Self::Selector(selector) => selector.matches(&labels_of(facts, reads, other)).unwrap_or(false),
        }
    }
}

/// Labels of a namespace; every namespace carries its name as a label, also one that no file declares.
fn labels_of(facts: &Facts, reads: &mut Reads, namespace: &Arc<str>) -> BTreeMap<String, String> {
    let mut labels = facts.namespaces.get(reads, namespace).map(|l| (**l).clone()).unwrap_or_default();
    labels.entry("kubernetes.io/metadata.name".to_owned()).or_insert_with(|| namespace.to_string());
    labels
}

/// A route under one of its parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParentBinding {
    pub(crate) reference: Named,
    /// Why the parent does not take the route.
    pub(crate) problem: Option<Problem>,
    pub(crate) listeners: Box<[BoundListener]>,
    /// Listeners that are not accepted and would take the route: it counts as attached to them.
    pub(crate) idle: Box<[Arc<ListenerKey>]>,
}

/// How a route comes to a parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// By the reference at this place in its `parentRefs`.
    At(usize),
    /// It uses default Gateways, and this is one.
    ByDefault(Box<NamespacedName>),
}

/// A listener that takes the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoundListener {
    pub(crate) site: Arc<Site>,
    /// Hosts served there: what both sides name (the virtual host), and the route's own pattern (precedence).
    pub(crate) hosts: Box<[(Hostname, Hostname)]>,
}

/// All parents of a route that are ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bindings {
    pub(crate) parents: Box<[ParentBinding]>,
}

impl Bindings {
    /// Listeners of all parents; one may come twice when two references name it.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = &BoundListener> {
        self.parents.iter().flat_map(|parent| &parent.listeners)
    }

    /// The listeners that the route is attached to, whether they serve or not.
    pub(crate) fn attached(&self) -> impl Iterator<Item = &Arc<ListenerKey>> {
        let idle = self.parents.iter().flat_map(|parent| &parent.idle);
        self.listeners().map(|listener| &listener.site.key).chain(idle)
    }
}

/// Stage: a route's parents.
pub(crate) fn bindings(
    facts: &Facts,
    points: &Points,
    reads: &mut Reads,
    key: &RouteKey,
) -> Option<Arc<Bindings>> {
    let route = facts.routes.get(reads, key)?;
    let binder = Binder { facts, points, key, hostnames: hostnames(route) };
    let references = route.parent_refs();
    let parent = |(index, reference)| binder.parent(reads, Named::At(index), reference);
    let mut parents: Vec<_> = references.iter().enumerate().filter_map(parent).collect();
    if route.uses_default_gateways() {
        for gateway in facts.default_gateways.get(reads, &()).into_iter().flat_map(SmallMap::keys) {
            let reference = whole(gateway);
            if !references.iter().any(|written| binder.names_whole(written, gateway)) {
                parents.extend(binder.parent(reads, Named::ByDefault(Box::new(gateway.clone())), &reference));
            }
        }
    }
    Some(Arc::new(Bindings { parents: parents.into() }))
}

/// A reference to all of a Gateway.
fn whole(gateway: &NamespacedName) -> ParentReference {
    ParentReference {
        namespace: Some(gateway.namespace.to_string()),
        name: gateway.name.to_string(),
        ..ParentReference::default()
    }
}

fn hostnames(route: &RouteFact) -> Vec<Hostname> {
    let written = route.hostnames();
    if written.is_empty() {
        return vec![Hostname::Any];
    }
    // One that is none is left out, and a route with no other is nobody's rather than everybody's.
    let mut hostnames: Vec<_> = written.iter().filter_map(|text| names::hostname(text)).collect();
    hostnames.sort();
    hostnames.dedup();
    hostnames
}

struct Binder<'a> {
    facts: &'a Facts,
    points: &'a Points,
    key: &'a RouteKey,
    hostnames: Vec<Hostname>,
}

impl Binder<'_> {
    /// Whether the route itself says that it attaches to all of a Gateway.
    fn names_whole(&self, reference: &ParentReference, gateway: &NamespacedName) -> bool {
        let (group, kind) = (reference.group.as_deref(), reference.kind.as_deref());
        let namespace = reference.namespace.as_deref().unwrap_or(&self.key.object.namespace);
        (group.unwrap_or(GATEWAY_GROUP), kind.unwrap_or("Gateway")) == (GATEWAY_GROUP, "Gateway")
            && (namespace, &*reference.name) == (&*gateway.namespace, &*gateway.name)
            && (reference.section_name.as_ref(), reference.port) == (None, None)
    }

    /// `None` when the parent is not ours to speak of.
    fn parent(&self, reads: &mut Reads, named: Named, reference: &ParentReference) -> Option<ParentBinding> {
        let (gateway, owner) = self.resolve(reads, reference)?;
        if !self.points.is_ours(reads, &gateway) {
            return None;
        }
        let outcome = self.attach(reads, (&gateway, &owner), reference);
        let (problem, listeners, idle) = match outcome {
            Ok((listeners, idle)) => (None, listeners.into(), idle.into()),
            Err(problem) => (Some(problem), Box::default(), Box::default()),
        };
        Some(ParentBinding { reference: named, problem, listeners, idle })
    }

    fn resolve(
        &self,
        reads: &mut Reads,
        reference: &ParentReference,
    ) -> Option<(NamespacedName, ListenerOwner)> {
        if reference.group.as_deref().unwrap_or(GATEWAY_GROUP) != GATEWAY_GROUP {
            return None;
        }
        let own = &self.key.object.namespace;
        let namespace = reference.namespace.as_deref().map_or_else(|| own.clone(), Arc::from);
        let parent = NamespacedName::new(namespace, reference.name.as_str());
        match reference.kind.as_deref().unwrap_or("Gateway") {
            "Gateway" => Some((parent, ListenerOwner::Gateway)),
            "ListenerSet" => {
                let gateway = gateway_of_set(self.facts, reads, &parent)?;
                Some((gateway, ListenerOwner::ListenerSet(parent)))
            }
            _ => None,
        }
    }

    fn attach(
        &self,
        reads: &mut Reads,
        (gateway, owner): (&NamespacedName, &ListenerOwner),
        reference: &ParentReference,
    ) -> Result<(Vec<BoundListener>, Vec<Arc<ListenerKey>>), Problem> {
        let section = self.points.section(reads, gateway, owner, reference.section_name.as_deref());
        let named: Vec<_> =
            section.filter(|l| reference.port.is_none_or(|port| port == l.site.port)).collect();
        if named.is_empty() {
            return Err(Problem::new("NoMatchingParent", "no listener has this sectionName and port"));
        }
        let (usable, idle): (Vec<_>, Vec<_>) = named.into_iter().partition(|l| l.usable);
        if usable.is_empty() {
            let message = "the listeners that the route names are not valid; see their own conditions";
            return Err(Problem::new("ListenersNotValid", message));
        }
        let allowing: Vec<_> = usable.into_iter().filter(|l| self.allowed(reads, l)).collect();
        if allowing.is_empty() {
            let message = format!(
                "no listener allows a {} of namespace {} (allowedRoutes)",
                self.key.kind, self.key.object.namespace
            );
            return Err(Problem::new("NotAllowedByListeners", message));
        }
        let bound: Vec<_> = allowing.into_iter().filter_map(|l| self.bind(reads, l)).collect();
        if bound.is_empty() {
            let message = "no hostname of the route is within a listener's hostname";
            return Err(Problem::new("NoMatchingListenerHostname", message));
        }
        let takes = |l: &&Arc<Point>| !self.shared(l).is_empty() && self.allowed(reads, l);
        let idle = idle.into_iter().filter(takes).map(|l| l.site.key.clone()).collect();
        Ok((bound, idle))
    }

    fn allowed(&self, reads: &mut Reads, listener: &Point) -> bool {
        listener.kinds.contains(&self.key.kind)
            && listener.namespaces.allows(
                self.facts,
                reads,
                namespace_of(&listener.site.key),
                &self.key.object.namespace,
            )
    }

    /// The hosts that the listener and the route share, each with the route's own pattern.
    fn shared(&self, listener: &Point) -> Vec<(Hostname, Hostname)> {
        let shared = |host: &Hostname| Some((listener.hostname.intersect(host)?, host.clone()));
        self.hostnames.iter().filter_map(shared).collect()
    }

    /// The hosts that the listener and the route share; those that a narrower listener of the port owns are
    /// not served here (listener isolation), though the route is attached.
    fn bind(&self, reads: &mut Reads, listener: &Point) -> Option<BoundListener> {
        let shared = self.shared(listener);
        if shared.is_empty() {
            return None;
        }
        let Site { key, port, transport, .. } = &*listener.site;
        let socket = (*port, *transport);
        let mut owned =
            |host: &Hostname| self.points.owner(reads, &key.gateway, socket, host) == Some(&**key);
        let hosts = shared.into_iter().filter(|(host, _)| owned(host)).collect();
        Some(BoundListener { site: listener.site.clone(), hosts })
    }
}
