//! The facts: trimmed objects by key, with the indexes that stages read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_api::types::{
    Backend, BackendTLSPolicy, ClientTrafficPolicy, ClusterTrustBundle, ConfigMap, CustomResourceDefinition,
    EndpointSlice, EnvoyProxySpec, GRPCRoute, Gateway, GatewayClass, HTTPRoute, Listener, ListenerSet, Meta,
    ParentReference, Pod, Protocol, ReferenceGrant, Resource, Route, Secret, Service, TCPRoute, TLSRoute,
    UDPRoute, XBackend, XBackendTrafficPolicy, XTelemetryPolicy,
};
use gatehouse_api::{Object, ObjectRef};
use gatehouse_engine::{Graph, Index, Missing, Table};
use gatehouse_model::{FleetKey, NamespacedName, PortKey, RouteKey, RouteKind, Transport};

use crate::fragments::FragmentId;
use crate::grants::GATEWAY_GROUP;
use crate::output::{FleetState, WatchKey};
use crate::policies::{Policies, PolicyKey, PolicyKind};

/// Identity of an object in a change.
pub type ObjectId = ObjectRef;

/// One thing that became known.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object exists and looks like this.
    Upsert(Box<Object>),
    /// The object does not exist.
    Remove(ObjectId),
    /// All pods of a selection that was wanted have been told.
    Selected(PodSelection),
    /// A Secret or ConfigMap was wanted and cannot be read now (only with [`crate::SecretSource::OnDemand`]).
    Forget(ObjectId),
    /// Whether there can be ClusterTrustBundles at all; [`crate::Config::trust_bundles`] until then.
    TrustBundles(bool),
}

/// The pods of a namespace that have all these labels; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodSelection {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

impl PodSelection {
    /// Whether a pod of the namespace with these labels is one of them.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(label, value)| labels.get(label) == Some(value))
    }
}

/// A label of pods: namespace, key and value.
pub(crate) type PodLabel = (Arc<str>, Arc<str>, Arc<str>);

/// A route of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RouteFact {
    Http(Arc<HTTPRoute>),
    Grpc(Arc<GRPCRoute>),
    Tls(Arc<TLSRoute>),
    Tcp(Arc<TCPRoute>),
    Udp(Arc<UDPRoute>),
}

/// What all kinds of routes have.
macro_rules! of_any {
    ($fact:expr, $route:ident => $value:expr) => {
        match $fact {
            RouteFact::Http($route) => $value,
            RouteFact::Grpc($route) => $value,
            RouteFact::Tls($route) => $value,
            RouteFact::Tcp($route) => $value,
            RouteFact::Udp($route) => $value,
        }
    };
}

impl RouteFact {
    pub(crate) fn meta(&self) -> &Meta {
        of_any!(self, route => route.meta())
    }

    pub(crate) fn parent_refs(&self) -> &[ParentReference] {
        of_any!(self, route => route.parent_refs())
    }

    pub(crate) fn hostnames(&self) -> &[String] {
        of_any!(self, route => route.hostnames())
    }

    /// Whether it attaches to default Gateways, too.
    pub(crate) fn uses_default_gateways(&self) -> bool {
        of_any!(self, route => route.default_scope()) == Some(DEFAULT_SCOPE)
    }
}

/// The one scope of Gateways that routes attach to without naming them; the other value, `None`, means what absence does.
pub(crate) const DEFAULT_SCOPE: &str = "All";

/// The kind of route that objects of this kind are.
fn route_kind(kind: &str) -> Option<RouteKind> {
    [RouteKind::Http, RouteKind::Grpc, RouteKind::Tls, RouteKind::Tcp, RouteKind::Udp]
        .into_iter()
        .find(|k| k.as_str() == kind)
}

/// The port of a listener, with its transport protocol.
pub(crate) type Socket = (u16, Transport);

pub(crate) fn socket(listener: &Listener) -> Socket {
    let udp = listener.protocol == Protocol::Udp;
    (listener.port, if udp { Transport::Udp } else { Transport::Tcp })
}

/// What the proxies say of one watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Digest of the needs that a ready proxy holds.
    pub(crate) digest: Option<Arc<str>>,
    /// The Gateway's generation when that digest was the wanted one.
    pub(crate) generation: i64,
    /// Digest and message of what a proxy refused.
    pub(crate) refused: Option<(Arc<str>, Arc<str>)>,
}

/// What keeps a cluster from being what was sent, as the proxies of a fleet say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Something that names it went out although it is not ready.
    pub(crate) waits: bool,
    /// Why a proxy refuses the cluster, and its endpoints.
    pub(crate) refused: [Option<Arc<str>>; 2],
}

/// All facts of a world.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) classes: Table<Arc<str>, Arc<GatewayClass>>,
    pub(crate) gateways: Table<NamespacedName, Arc<Gateway>>,
    pub(crate) listener_sets: Table<NamespacedName, Arc<ListenerSet>>,
    pub(crate) routes: Table<RouteKey, RouteFact>,
    pub(crate) services: Table<NamespacedName, Arc<Service>>,
    pub(crate) slices: Table<NamespacedName, Arc<EndpointSlice>>,
    pub(crate) backends: Table<NamespacedName, Arc<Backend>>,
    pub(crate) xbackends: Table<NamespacedName, Arc<XBackend>>,
    /// What EnvoyProxies say.
    pub(crate) proxies: Table<NamespacedName, Arc<EnvoyProxySpec>>,
    pub(crate) client_policies: Policies<ClientTrafficPolicy>,
    pub(crate) backend_tls_policies: Policies<BackendTLSPolicy>,
    pub(crate) telemetry_policies: Policies<XTelemetryPolicy>,
    pub(crate) backend_traffic_policies: Policies<XBackendTrafficPolicy>,
    pub(crate) secrets: Table<NamespacedName, Arc<Secret>>,
    /// Read as they are wanted, like Secrets.
    pub(crate) config_maps: Table<NamespacedName, Arc<ConfigMap>>,
    pub(crate) trust_bundles: Table<Arc<str>, Arc<ClusterTrustBundle>>,
    /// Has an entry while there can be ClusterTrustBundles.
    pub(crate) trust_bundles_served: Table<(), ()>,
    /// Selections of which every pod has been told; by want, like Secrets.
    pub(crate) selections: Table<PodSelection, ()>,
    /// Labels by namespace; a namespace without an object has only its name label.
    pub(crate) namespaces: Table<Arc<str>, Arc<BTreeMap<String, String>>>,
    pub(crate) grants: Table<NamespacedName, Arc<ReferenceGrant>>,
    /// Fragments that a proxy refused, with its message.
    pub(crate) quarantined: Table<FragmentId, Arc<str>>,
    /// What is known of a fleet's pods.
    pub(crate) pods: Table<FleetKey, Arc<FleetState>>,
    pub(crate) held: Table<WatchKey, Held>,
    /// Why a port of the host cannot be had.
    pub(crate) unavailable: Table<PortKey, Arc<str>>,
    /// Clusters by name that a fleet has trouble with.
    pub(crate) troubles: Table<(FleetKey, Arc<str>), Trouble>,
    /// Grants by the namespace they stand in.
    pub(crate) grants_in: Index<NamespacedName, Arc<str>, NamespacedName, Arc<ReferenceGrant>>,
    /// Slices by the Service that they belong to.
    pub(crate) slices_of: Index<NamespacedName, NamespacedName, NamespacedName, Arc<EndpointSlice>>,
    /// Pods of wanted selections by each of their labels.
    pub(crate) pods_labelled: Index<NamespacedName, PodLabel, NamespacedName, Arc<Pod>>,
    /// ListenerSets by the Gateway that they name, oldest first.
    pub(crate) sets_of: Index<NamespacedName, NamespacedName, (Arc<str>, NamespacedName), Arc<ListenerSet>>,
    /// Gateways by a port that they name, oldest first: who comes first owns it on a shared host.
    pub(crate) claims: Index<NamespacedName, Socket, (Arc<str>, NamespacedName), Arc<Gateway>>,
    /// ListenerSets by a port that they name, with the Gateway that they name: these ports count as the Gateway's.
    pub(crate) set_claims: Index<NamespacedName, Socket, NamespacedName, NamespacedName>,
    /// The definitions of Gateway API's kinds by name, with the version that they say, or an empty one.
    pub(crate) definitions: Index<Arc<str>, (), Arc<str>, Arc<str>>,
    /// Gateways with a default scope.
    pub(crate) default_gateways: Index<NamespacedName, (), NamespacedName, ()>,
}

impl Facts {
    pub(crate) fn new(graph: &mut Graph, secrets: Missing, ports: Missing) -> Self {
        Self {
            classes: Table::new(graph, "facts/classes", Missing::Absent),
            gateways: Table::new(graph, "facts/gateways", Missing::Absent),
            listener_sets: Table::new(graph, "facts/listener_sets", Missing::Absent),
            routes: Table::new(graph, "facts/routes", Missing::Absent),
            services: Table::new(graph, "facts/services", Missing::Absent),
            slices: Table::new(graph, "facts/slices", Missing::Absent),
            backends: Table::new(graph, "facts/backends", Missing::Absent),
            xbackends: Table::new(graph, "facts/xbackends", Missing::Absent),
            proxies: Table::new(graph, "facts/proxies", Missing::Absent),
            client_policies: Policies::new(
                graph,
                ["facts/client_policies", "facts/client_policies_on", "facts/client_policies_selecting"],
            ),
            backend_tls_policies: Policies::new(
                graph,
                [
                    "facts/backend_tls_policies",
                    "facts/backend_tls_policies_on",
                    "facts/backend_tls_policies_by_label",
                ],
            ),
            telemetry_policies: Policies::new(
                graph,
                [
                    "facts/telemetry_policies",
                    "facts/telemetry_policies_on",
                    "facts/telemetry_policies_by_label",
                ],
            ),
            backend_traffic_policies: Policies::new(
                graph,
                [
                    "facts/backend_traffic_policies",
                    "facts/backend_traffic_policies_on",
                    "facts/backend_traffic_policies_by_label",
                ],
            ),
            secrets: Table::new(graph, "facts/secrets", secrets),
            config_maps: Table::new(graph, "facts/config_maps", secrets),
            trust_bundles: Table::new(graph, "facts/trust_bundles", Missing::Absent),
            trust_bundles_served: Table::new(graph, "facts/trust_bundles_served", Missing::Absent),
            selections: Table::new(graph, "facts/selections", secrets),
            namespaces: Table::new(graph, "facts/namespaces", Missing::Absent),
            grants: Table::new(graph, "facts/grants", Missing::Absent),
            quarantined: Table::new(graph, "facts/quarantined", Missing::Absent),
            pods: Table::new(graph, "facts/pods", Missing::Absent),
            held: Table::new(graph, "facts/held", Missing::Absent),
            unavailable: Table::new(graph, "facts/unavailable", ports),
            troubles: Table::new(graph, "facts/troubles", Missing::Absent),
            grants_in: Index::new(graph, "facts/grants_in"),
            slices_of: Index::new(graph, "facts/slices_of"),
            pods_labelled: Index::new(graph, "facts/pods_labelled"),
            sets_of: Index::new(graph, "facts/sets_of"),
            claims: Index::new(graph, "facts/claims"),
            set_claims: Index::new(graph, "facts/set_claims"),
            definitions: Index::new(graph, "facts/definitions"),
            default_gateways: Index::new(graph, "facts/default_gateways"),
        }
    }

    pub(crate) fn apply(&mut self, graph: &mut Graph, change: Change) {
        match change {
            Change::Upsert(object) => self.upsert(graph, *object),
            Change::Remove(id) => self.remove(graph, &id),
            // Whoever stopped wanting it forgot it, and may want it anew.
            Change::Selected(selection) if self.selections.is_wanted(&selection) => {
                self.selections.set(graph, selection, ());
            }
            Change::Forget(id) if id.kind == "Secret" => {
                self.secrets.forget(graph, &key_of(&id));
            }
            Change::Forget(id) if id.kind == "ConfigMap" => {
                self.config_maps.forget(graph, &key_of(&id));
            }
            Change::Forget(_) | Change::Selected(_) => {}
            Change::TrustBundles(true) => drop(self.trust_bundles_served.set(graph, (), ())),
            Change::TrustBundles(false) => drop(self.trust_bundles_served.set_absent(graph, ())),
        }
    }

    /// Policies that changed since the last call, and what is told like them.
    pub(crate) fn take_changed_policies(&mut self) -> Vec<PolicyKey> {
        let changed = [
            (PolicyKind::ClientTraffic, self.client_policies.all.take_changed()),
            (PolicyKind::BackendTls, self.backend_tls_policies.all.take_changed()),
            (PolicyKind::Telemetry, self.telemetry_policies.all.take_changed()),
            (PolicyKind::BackendTraffic, self.backend_traffic_policies.all.take_changed()),
            (PolicyKind::XBackend, self.xbackends.take_changed()),
        ];
        changed.into_iter().flat_map(|(kind, keys)| keys.into_iter().map(move |key| (kind, key))).collect()
    }

    /// The generation of one of them, as it is now.
    pub(crate) fn policy_generation(&self, (kind, key): &PolicyKey) -> Option<i64> {
        let meta = match kind {
            PolicyKind::ClientTraffic => self.client_policies.all.peek(key)?.meta(),
            PolicyKind::BackendTls => self.backend_tls_policies.all.peek(key)?.meta(),
            PolicyKind::Telemetry => self.telemetry_policies.all.peek(key)?.meta(),
            PolicyKind::BackendTraffic => self.backend_traffic_policies.all.peek(key)?.meta(),
            PolicyKind::XBackend => self.xbackends.peek(key)?.meta(),
        };
        Some(meta.generation)
    }

    fn upsert(&mut self, graph: &mut Graph, object: Object) {
        let key = key_of(&object.key());
        match object {
            Object::GatewayClass(o) => drop(self.classes.set(graph, key.name, o)),
            Object::Gateway(o) => self.set_gateway(graph, key, Some(o)),
            Object::ListenerSet(o) => self.set_listener_set(graph, key, Some(o)),
            Object::HTTPRoute(o) => self.set_route(graph, key, RouteKind::Http, RouteFact::Http(o)),
            Object::GRPCRoute(o) => self.set_route(graph, key, RouteKind::Grpc, RouteFact::Grpc(o)),
            Object::TLSRoute(o) => self.set_route(graph, key, RouteKind::Tls, RouteFact::Tls(o)),
            Object::TCPRoute(o) => self.set_route(graph, key, RouteKind::Tcp, RouteFact::Tcp(o)),
            Object::UDPRoute(o) => self.set_route(graph, key, RouteKind::Udp, RouteFact::Udp(o)),
            Object::Service(o) => drop(self.services.set(graph, key, o)),
            Object::EndpointSlice(o) => self.set_slice(graph, key, Some(o)),
            Object::Backend(o) => drop(self.backends.set(graph, key, o)),
            Object::XBackend(o) => drop(self.xbackends.set(graph, key, o)),
            Object::XBackendTrafficPolicy(o) => self.backend_traffic_policies.set(graph, key, Some(o)),
            Object::Pod(o) => self.set_pod(graph, key, Some(&o)),
            Object::EnvoyProxy(o) => drop(self.proxies.set(graph, key, Arc::new(o.spec.clone()))),
            Object::ClientTrafficPolicy(o) => self.client_policies.set(graph, key, Some(o)),
            Object::Secret(o) => drop(self.secrets.set(graph, key, o)),
            Object::ConfigMap(o) => drop(self.config_maps.set(graph, key, o)),
            Object::CustomResourceDefinition(o) => self.set_definition(graph, key.name, Some(&o)),
            Object::ClusterTrustBundle(o) => drop(self.trust_bundles.set(graph, key.name, o)),
            Object::BackendTLSPolicy(o) => self.backend_tls_policies.set(graph, key, Some(o)),
            Object::XTelemetryPolicy(o) => self.telemetry_policies.set(graph, key, Some(o)),
            Object::Namespace(o) => {
                self.namespaces.set(graph, key.name, Arc::new(o.metadata.labels.clone()));
            }
            Object::ReferenceGrant(o) => self.set_grant(graph, key, Some(o)),
            Object::Other(_) => {}
        }
    }

    fn remove(&mut self, graph: &mut Graph, id: &ObjectId) {
        let key = key_of(id);
        match id.kind.as_str() {
            "GatewayClass" => drop(self.classes.set_absent(graph, key.name)),
            "Gateway" => self.set_gateway(graph, key, None),
            "ListenerSet" => self.set_listener_set(graph, key, None),
            "Service" => drop(self.services.set_absent(graph, key)),
            "EndpointSlice" => self.set_slice(graph, key, None),
            "Backend" => drop(self.backends.set_absent(graph, key)),
            "XBackend" => drop(self.xbackends.set_absent(graph, key)),
            "XBackendTrafficPolicy" => self.backend_traffic_policies.set(graph, key, None),
            "Pod" => self.set_pod(graph, key, None),
            "EnvoyProxy" => drop(self.proxies.set_absent(graph, key)),
            "BackendTLSPolicy" => self.backend_tls_policies.set(graph, key, None),
            "ClientTrafficPolicy" => self.client_policies.set(graph, key, None),
            "XTelemetryPolicy" => self.telemetry_policies.set(graph, key, None),
            "Secret" => drop(self.secrets.set_absent(graph, key)),
            "ConfigMap" => drop(self.config_maps.set_absent(graph, key)),
            "CustomResourceDefinition" => self.set_definition(graph, key.name, None),
            "ClusterTrustBundle" => drop(self.trust_bundles.set_absent(graph, key.name)),
            "Namespace" => drop(self.namespaces.set_absent(graph, key.name)),
            "ReferenceGrant" => self.set_grant(graph, key, None),
            other => {
                let route = route_kind(other).map(|kind| RouteKey { kind, object: key });
                route.map(|key| self.routes.set_absent(graph, key));
            }
        }
    }

    fn set_route(&mut self, graph: &mut Graph, object: NamespacedName, kind: RouteKind, route: RouteFact) {
        self.routes.set(graph, RouteKey { kind, object }, route);
    }

    fn set_gateway(&mut self, graph: &mut Graph, key: NamespacedName, object: Option<Arc<Gateway>>) {
        let claims = object.iter().flat_map(|gateway| {
            let ports: BTreeSet<Socket> = gateway.spec.listeners.iter().map(socket).collect();
            let order = (age(&gateway.metadata), key.clone());
            ports.into_iter().map(move |port| (port, order.clone(), gateway.clone()))
        });
        self.claims.set(graph, key.clone(), claims.collect());
        let scoped =
            object.iter().filter(|gateway| gateway.spec.default_scope.as_deref() == Some(DEFAULT_SCOPE));
        self.default_gateways.set(graph, key.clone(), scoped.map(|_| ((), key.clone(), ())).collect());
        put(&mut self.gateways, graph, key, object);
    }

    fn set_listener_set(&mut self, graph: &mut Graph, key: NamespacedName, object: Option<Arc<ListenerSet>>) {
        let gateway = object.as_ref().and_then(|set| Some((parent_of(&key, set)?, set.clone())));
        let ports = gateway.iter().flat_map(|(gateway, set)| {
            let ports: BTreeSet<Socket> = set.spec.listeners.iter().map(socket).collect();
            ports.into_iter().map(|port| (port, key.clone(), gateway.clone()))
        });
        self.set_claims.set(graph, key.clone(), ports.collect());
        let entry = gateway.map(|(gateway, set)| (gateway, (age(&set.metadata), key.clone()), set));
        self.sets_of.set(graph, key.clone(), entry.into_iter().collect());
        put(&mut self.listener_sets, graph, key, object);
    }

    fn set_slice(&mut self, graph: &mut Graph, key: NamespacedName, object: Option<Arc<EndpointSlice>>) {
        let entry = object.as_ref().and_then(|slice| {
            let service = slice.metadata.labels.get("kubernetes.io/service-name")?;
            let service = NamespacedName::new(key.namespace.clone(), service.as_str());
            Some((service, key.clone(), slice.clone()))
        });
        self.slices_of.set(graph, key.clone(), entry.into_iter().collect());
        put(&mut self.slices, graph, key, object);
    }

    /// Cost: the pod's labels.
    fn set_pod(&mut self, graph: &mut Graph, key: NamespacedName, object: Option<&Arc<Pod>>) {
        let labels =
            object.into_iter().flat_map(|pod| pod.metadata.labels.iter().map(move |label| (label, pod)));
        let place = |label: &String, value: &String| {
            (key.namespace.clone(), label.as_str().into(), value.as_str().into())
        };
        let entries = labels.map(|((label, value), pod)| (place(label, value), key.clone(), pod.clone()));
        let entries = entries.collect();
        self.pods_labelled.set(graph, key, entries);
    }

    fn set_definition(
        &mut self,
        graph: &mut Graph,
        name: Arc<str>,
        object: Option<&Arc<CustomResourceDefinition>>,
    ) {
        let ours = object.filter(|definition| definition.is_of_gateway_api());
        let version = ours.map(|definition| definition.bundle_version().unwrap_or_default().into());
        let entries = version.map(|version| ((), name.clone(), version)).into_iter().collect();
        self.definitions.set(graph, name, entries);
    }

    fn set_grant(&mut self, graph: &mut Graph, key: NamespacedName, object: Option<Arc<ReferenceGrant>>) {
        let entry = object.as_ref().map(|grant| (key.namespace.clone(), key.clone(), grant.clone()));
        self.grants_in.set(graph, key.clone(), entry.into_iter().collect());
        put(&mut self.grants, graph, key, object);
    }
}

fn put<V: PartialEq>(
    table: &mut Table<NamespacedName, V>,
    graph: &mut Graph,
    key: NamespacedName,
    value: Option<V>,
) {
    match value {
        Some(value) => table.set(graph, key, value),
        None => table.set_absent(graph, key),
    };
}

/// The Gateway that a ListenerSet names; `None` when its parent is something else.
pub(crate) fn parent_of(key: &NamespacedName, set: &ListenerSet) -> Option<NamespacedName> {
    let parent = &set.spec.parent_ref;
    let is_gateway = parent.group.as_deref().unwrap_or(GATEWAY_GROUP) == GATEWAY_GROUP
        && parent.kind.as_deref().unwrap_or("Gateway") == "Gateway";
    if !is_gateway {
        return None;
    }
    let namespace = parent.namespace.as_deref().map_or_else(|| key.namespace.clone(), Arc::from);
    Some(NamespacedName::new(namespace, parent.name.as_str()))
}

/// Creation time as text (RFC 3339 sorts by time); empty where nobody set one, as in files.
pub(crate) fn age(meta: &Meta) -> Arc<str> {
    meta.creation_timestamp.as_deref().unwrap_or_default().into()
}

fn key_of(id: &ObjectId) -> NamespacedName {
    NamespacedName::new(id.namespace.as_str(), id.name.as_str())
}
