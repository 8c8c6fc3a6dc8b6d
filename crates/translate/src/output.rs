//! What a settle hands out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use gatehouse_model::{Edge, FleetKey, Interim, NamespacedName, PortKey, ResourceType, Target};
use serde_json::Value;

use gatehouse_api::ObjectRef;
use gatehouse_api::types::EnvoyProxySpec;

/// An encoded Envoy resource. `Debug` prints no bytes: there may be a key among them.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceType,
    /// Its xDS name.
    pub name: Arc<str>,
    /// Hash of its content.
    pub version: Arc<str>,
    /// The encoded message, without `Any`.
    pub body: Bytes,
    /// What a virtual host may be meanwhile, while clusters that it names are not ready. It depends on how the host came
    /// to be what it is.
    pub interim: Option<Arc<Interim>>,
}

impl Resource {
    pub(crate) fn new(kind: ResourceType, name: Arc<str>, body: Bytes) -> Self {
        Self { kind, name, version: gatehouse_envoy::version(&body), body, interim: None }
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, version, body, interim: _ } = self;
        write!(f, "{kind:?} {name} {version} ({} bytes)", body.len())
    }
}

/// What a [`Watch`] is about. A listener is programmed when a proxy holds its port and its certificates, which are apart
/// because one certificate may serve many listeners, and a refused one is no fault of the others on the port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WatchKey {
    /// An Envoy listener with its route tables.
    Port(PortKey),
    /// A secret that listeners of a fleet name.
    Secret(FleetKey, SecretKey),
}

/// What proxies get as a secret of its own, so that it can change without what names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretKey {
    /// A certificate with its key, from the Secret of this name.
    Pair(NamespacedName),
    /// The authorities of the clients of a Gateway's port.
    Clients(NamespacedName, u16),
}

/// As users know it.
impl fmt::Display for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pair(secret) => write!(f, "certificate Secret {secret}"),
            Self::Clients(_, port) => write!(f, "authorities of clients (spec.tls.frontend) on port {port}"),
        }
    }
}

impl WatchKey {
    /// The fleet whose proxies are asked.
    pub fn fleet(&self) -> &FleetKey {
        match self {
            Self::Port(port) => &port.fleet,
            Self::Secret(fleet, _) => fleet,
        }
    }
}

/// What a proxy must hold for something to be programmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Hash of the needs.
    pub digest: Arc<str>,
    /// Kind, name and version of each need.
    pub needs: Vec<(ResourceType, Arc<str>, Arc<str>)>,
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
    /// From where it can be reached.
    pub routability: Routability,
}

/// From where an address can be reached (`spec.addresses[].routability`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Routability {
    /// As the infrastructure gives addresses.
    #[default]
    Default,
    /// From inside the cluster only.
    Cluster,
}

impl Routability {
    /// The name in the specification; empty for the default.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::Cluster => "Cluster",
        }
    }
}

/// What must exist in Kubernetes for the proxies of a fleet. Equal plans need equal objects.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What happened to a cluster at the proxies of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterNews {
    /// Whether something that names it went out although it is not ready there.
    Waits(bool),
    /// A proxy refuses it, with these words; `None`: no longer.
    Refused(Option<Arc<str>>),
    /// A proxy refuses its endpoints, with these words; `None`: no longer.
    EndpointsRefused(Option<Arc<str>>),
}

/// What is known of a fleet's proxies from whoever makes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetState {
    /// Where clients reach them, sorted.
    pub addresses: Vec<FleetAddress>,
    /// Whether a proxy is ready, or was until a moment ago.
    pub ready: bool,
    /// Why they are not as they should be.
    pub problem: Option<Arc<str>>,
    /// Why their parameters cannot be followed: they stay as they are.
    pub refused: Option<Arc<str>>,
    /// What of their parameters has no effect, while everything else has.
    pub unheeded: Vec<Arc<str>>,
}

/// Changes of one fleet's resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetChange {
    /// New or changed resources.
    pub upserts: Vec<Resource>,
    /// Resources that are gone.
    pub removals: Vec<Target>,
    /// Changes of who names which cluster.
    pub edges: Vec<Edge>,
    /// New or changed watches; `None` ends one.
    pub watches: Vec<(WatchKey, Option<Watch>)>,
}

impl FleetChange {
    /// Adds a later change, so that both can be committed as one.
    pub fn absorb(&mut self, later: Self) {
        let target = |resource: &Resource| (resource.kind, resource.name.clone());
        let newer: BTreeSet<Target> =
            later.upserts.iter().map(target).chain(later.removals.iter().cloned()).collect();
        self.upserts.retain(|resource| !newer.contains(&target(resource)));
        self.removals.retain(|target| !newer.contains(target));
        let rewatched: BTreeSet<&WatchKey> = later.watches.iter().map(|(key, _)| key).collect();
        self.watches.retain(|(key, _)| !rewatched.contains(key));
        self.upserts.extend(later.upserts);
        self.removals.extend(later.removals);
        self.edges.extend(later.edges);
        self.watches.extend(later.watches);
    }
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
    /// New or changed plans (only with [`Hosting::Pods`](crate::Hosting)); `None` leaves alone what stands: the user's
    /// parameters cannot be followed.
    pub plans: Vec<(FleetKey, Option<Arc<FleetPlan>>)>,
    /// Statuses.
    pub statuses: Vec<StatusChange>,
}
