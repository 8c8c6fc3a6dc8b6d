//! What a settle hands out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatehouse_model::{FleetKey, PortKey};
use serde_json::Value;

use gatehouse_api::ObjectRef;
use gatehouse_api::types::EnvoyProxySpec;

/// The kinds of Envoy resources, in the order in which they must become known to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// `envoy.config.cluster.v3.Cluster`
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`
    Endpoint,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret`
    Secret,
    /// `envoy.config.listener.v3.Listener`
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration`
    RouteConfiguration,
    /// `envoy.config.route.v3.VirtualHost`
    VirtualHost,
}

impl ResourceKind {
    /// The type URL of the message.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
        }
    }
}

/// An encoded Envoy resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its xDS name.
    pub name: Arc<str>,
    /// Hash of its content.
    pub version: Arc<str>,
    /// The encoded message, without `Any`.
    pub body: Bytes,
}

impl Resource {
    pub(crate) fn new(kind: ResourceKind, name: Arc<str>, body: Bytes) -> Self {
        Self { kind, name, version: gatehouse_envoy::version(&body), body }
    }
}

/// A change of "this resource names that cluster", counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The naming resource.
    pub from: (ResourceKind, Arc<str>),
    /// The cluster.
    pub cluster: Arc<str>,
    /// Names added or taken away.
    pub delta: i32,
    /// How long a request may take that used the name.
    pub linger: Duration,
}

/// What a proxy must hold for an Envoy listener to be programmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The listener.
    pub port: PortKey,
    /// Hash of the needs.
    pub digest: Arc<str>,
    /// Kind, name and version of each need.
    pub needs: Vec<(ResourceKind, Arc<str>, Arc<str>)>,
}

/// What the proxies answered to a [`Watch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// A proxy holds it.
    Held,
    /// A proxy refused it, with these words.
    Refused(Arc<str>),
}

/// A port that clients of a fleet connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FleetPort {
    /// The port that listeners name.
    pub port: u16,
    /// The port that the proxies bind for it.
    pub bound: u16,
    /// UDP rather than TCP.
    pub udp: bool,
}

/// An address that a Gateway asks for (`spec.addresses`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FleetAddress {
    /// `IPAddress`, `Hostname` or a name of the implementation's own.
    pub kind: Arc<str>,
    /// The address; `None` asks for any of that kind.
    pub value: Option<Arc<str>>,
}

/// What must exist in Kubernetes for the proxies of a fleet. Equal plans need equal objects.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetPlan {
    /// The fleet; its name is the Gateway's.
    pub fleet: FleetKey,
    /// `metadata.uid` of the Gateway: the owner of the objects.
    pub gateway_uid: Arc<str>,
    /// The GatewayClass.
    pub class: Arc<str>,
    /// Sorted, without doubles; may be empty.
    pub ports: Vec<FleetPort>,
    /// `spec.infrastructure.labels`
    pub labels: BTreeMap<String, String>,
    /// `spec.infrastructure.annotations`
    pub annotations: BTreeMap<String, String>,
    /// `spec.addresses`, in the user's order.
    pub addresses: Vec<FleetAddress>,
    /// How the proxies run: the Gateway's EnvoyProxy over that of its class.
    pub parameters: Option<Arc<EnvoyProxySpec>>,
}

/// Changes of one fleet's resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetChange {
    /// New or changed resources.
    pub upserts: Vec<Resource>,
    /// Resources that are gone.
    pub removals: Vec<(ResourceKind, Arc<str>)>,
    /// Changes of who names which cluster.
    pub edges: Vec<Edge>,
    /// New or changed watches; `None` ends one.
    pub watches: Vec<(PortKey, Option<Watch>)>,
}

/// A status that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusChange {
    /// The object.
    pub object: ObjectRef,
    /// Its generation.
    pub generation: i64,
    /// Its whole status as JSON text, without transition times; `None` when we have nothing to say of it (any more).
    pub status: Option<Arc<str>>,
}

impl StatusChange {
    /// The status as a tree, to be looked into.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(self.status.as_deref()?).ok()
    }
}

/// Everything that a settle changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// By fleet. A fleet that is new stands here even without resources.
    pub fleets: BTreeMap<FleetKey, FleetChange>,
    /// Fleets that exist no more.
    pub removed_fleets: Vec<FleetKey>,
    /// Statuses.
    pub statuses: Vec<StatusChange>,
}
