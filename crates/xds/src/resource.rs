//! What travels: resource types, and resources as opaque, shared bytes.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use bytes::Bytes;

/// The xDS resource types that Gatehouse serves, in the order in which Envoy should see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// `envoy.config.cluster.v3.Cluster`, by wildcard.
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`, named like its cluster, by name.
    Endpoint,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret`, by name.
    Secret,
    /// `envoy.config.listener.v3.Listener`, by wildcard.
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration`, by name.
    Route,
    /// `envoy.config.route.v3.VirtualHost`, named `<route configuration>/<identity>`, pushed for the tables a proxy has.
    VirtualHost,
}

impl ResourceType {
    /// All types, by rank.
    pub const ALL: [Self; 6] =
        [Self::Cluster, Self::Endpoint, Self::Secret, Self::Listener, Self::Route, Self::VirtualHost];

    /// The types whose resources name clusters, so that they wait until those are warm.
    pub const NAMING: [Self; 3] = [Self::Listener, Self::Route, Self::VirtualHost];

    /// The `type_url` of requests, responses and the `Any` around each resource.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
        }
    }

    /// The type of a `type_url`, if it is one that is served.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// Position in a batch: what others name goes first.
    pub fn rank(self) -> usize {
        self as usize
    }

    /// Whether an empty first request subscribes to everything.
    pub fn wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener | Self::VirtualHost)
    }

    /// Whether resources of this type may name clusters.
    pub fn names_clusters(self) -> bool {
        Self::NAMING.contains(&self)
    }

    /// A short word for labels and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Endpoint => "endpoint",
            Self::Secret => "secret",
            Self::Listener => "listener",
            Self::Route => "route",
            Self::VirtualHost => "virtual_host",
        }
    }
}

/// A type and a name: what identifies a resource inside one fleet.
pub type Target = (ResourceType, Arc<str>);

/// Bytes of one version of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// A hash of the bytes; equal bytes have equal versions on every replica.
    pub version: Arc<str>,
    /// The encoded message, without the `Any` around it.
    pub bytes: Bytes,
}

/// One resource, immutable and shared by all streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The xDS name.
    pub name: Arc<str>,
    /// A hash of `body`.
    pub version: Arc<str>,
    /// The encoded message, without the `Any` around it.
    pub body: Bytes,
    /// Given when the change takes something away that clients may still have: a withdrawal never waits for a gate.
    pub interim: Option<Arc<Interim>>,
}

/// What may be sent at once while the gate holds a resource.
///
/// It is sent to a client that has some version of the resource, as soon as every cluster that it names is in use there:
/// warm, or changed in place and still serving as before, or named already by what the gate let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interim {
    /// The resource itself: it names nothing that the versions which clients may have do not name.
    Whole,
    /// Other bytes in its stead.
    Instead {
        /// The bytes, with a version of their own.
        body: Body,
        /// The clusters that they name.
        clusters: BTreeSet<Arc<str>>,
    },
}

impl Resource {
    /// A resource that waits as a whole.
    pub fn new(name: impl Into<Arc<str>>, version: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        Self { name: name.into(), version: version.into(), body: body.into(), interim: None }
    }

    /// The resource's own bytes with their version.
    pub fn main(&self) -> Body {
        Body { version: self.version.clone(), bytes: self.body.clone() }
    }
}

/// The route configuration that a virtual host belongs to: Envoy cuts its name at the last `/`.
pub fn table_of(virtual_host: &str) -> Option<&str> {
    virtual_host.rsplit_once('/').map(|(table, _)| table)
}

/// One value per resource type.
#[derive(Clone, Debug, Default)]
pub(crate) struct PerType<T>([T; 6]);

impl<T> Index<ResourceType> for PerType<T> {
    type Output = T;
    fn index(&self, kind: ResourceType) -> &T {
        &self.0[kind.rank()]
    }
}

impl<T> IndexMut<ResourceType> for PerType<T> {
    fn index_mut(&mut self, kind: ResourceType) -> &mut T {
        &mut self.0[kind.rank()]
    }
}
