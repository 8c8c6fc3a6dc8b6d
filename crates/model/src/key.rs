//! Identities of the objects and of what is made of them.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

/// Namespace and name of an object, `namespace/name` in print.
///
/// Sorts by that text, as Gateway API asks for ("alphabetical order by `{namespace}/{name}`").
///
/// ```
/// use gatehouse_model::NamespacedName;
/// assert!(NamespacedName::new("a-b", "x") < NamespacedName::new("a", "x"));
/// assert!(NamespacedName::new("a", "x") < NamespacedName::new("ab", "x"));
/// assert!(NamespacedName::new("a", "x") < NamespacedName::new("a", "x-y"));
/// assert!(NamespacedName::new("a", "z") < NamespacedName::new("a/b", "x"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct NamespacedName {
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl NamespacedName {
    /// Makes a key from its two parts.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl Ord for NamespacedName {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.namespace == other.namespace {
            return self.name.cmp(&other.name);
        }
        // Namespaces that differ do so at the latest where one has its slash and the other goes on. (One that has a slash of
        // its own, which only hostile files have, comes after its beginning.)
        let (own, theirs) = (self.namespace.as_bytes(), other.namespace.as_bytes());
        let shared = own.len().min(theirs.len());
        let next = |namespace: &[u8]| namespace.get(shared).copied().unwrap_or(b'/');
        own[..shared]
            .cmp(&theirs[..shared])
            .then_with(|| next(own).cmp(&next(theirs)))
            .then_with(|| own.len().cmp(&theirs.len()))
    }
}

impl PartialOrd for NamespacedName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// One set of equal proxies with one configuration. Today every Gateway is a fleet of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct FleetKey(pub NamespacedName);

impl fmt::Display for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The kinds of routes of Gateway API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum RouteKind {
    /// `HTTPRoute`
    #[serde(rename = "HTTPRoute")]
    Http,
    /// `GRPCRoute`
    #[serde(rename = "GRPCRoute")]
    Grpc,
    /// `TLSRoute`
    #[serde(rename = "TLSRoute")]
    Tls,
    /// `TCPRoute`
    #[serde(rename = "TCPRoute")]
    Tcp,
    /// `UDPRoute`
    #[serde(rename = "UDPRoute")]
    Udp,
}

impl RouteKind {
    /// The kind as users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
            Self::Tls => "TLSRoute",
            Self::Tcp => "TCPRoute",
            Self::Udp => "UDPRoute",
        }
    }

    /// What a request is answered that a rule of this kind cannot serve. Clients of gRPC see 503 as `UNAVAILABLE`.
    pub fn failure_status(self) -> u16 {
        if self == Self::Grpc { 503 } else { 500 }
    }
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Identity of a route object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RouteKey {
    /// Its kind.
    pub kind: RouteKind,
    /// Its namespace and name.
    pub object: NamespacedName,
}

/// The object whose `spec.listeners` holds a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum ListenerOwner {
    /// The Gateway itself.
    Gateway,
    /// A ListenerSet attached to the Gateway.
    ListenerSet(NamespacedName),
}

/// Identity of a listener: the Gateway it serves, the object that declares it, its name there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ListenerKey {
    /// The Gateway it belongs to.
    pub gateway: NamespacedName,
    /// The object that declares it.
    pub owner: ListenerOwner,
    /// `listeners[].name`
    pub name: Arc<str>,
}

/// Sorted addresses that a fleet listens on; empty means every address of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct AddressSet(pub Vec<IpAddr>);

/// The transport protocol of a port. One number may be used by both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Transport {
    /// `tcp` or `udp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// One port of a fleet: what becomes one Envoy listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct PortKey {
    /// The fleet that listens.
    pub fleet: FleetKey,
    /// The addresses that it listens on.
    pub addresses: AddressSet,
    /// The port that the Gateway names (before any local port map).
    pub port: u16,
    /// The protocol that is spoken there.
    pub transport: Transport,
}
