//! Identities of Envoy's resources, and who names whom among them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// The types of Envoy resources, in the order in which a proxy should see them: what others name goes first.
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
    RouteConfiguration,
    /// `envoy.config.route.v3.VirtualHost`, named `<route configuration>/<identity>`, pushed for the tables a proxy has.
    VirtualHost,
}

impl ResourceType {
    /// All types, by rank.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::Endpoint,
        Self::Secret,
        Self::Listener,
        Self::RouteConfiguration,
        Self::VirtualHost,
    ];

    /// The types whose resources name clusters, so that they wait until those are warm.
    pub const NAMING: [Self; 3] = [Self::Listener, Self::RouteConfiguration, Self::VirtualHost];

    /// The `type_url` of requests, responses and the `Any` around each resource.
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

    /// The type of a `type_url`, if it is one of ours.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// Position in a batch.
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
            Self::RouteConfiguration => "route",
            Self::VirtualHost => "virtual_host",
        }
    }
}

/// A type and a name: what identifies a resource inside one fleet.
pub type Target = (ResourceType, Arc<str>);

/// A change of how often a resource names a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The listener, route configuration or virtual host.
    pub from: Target,
    /// The cluster that it names.
    pub cluster: Arc<str>,
    /// How many more (or fewer) of its parts name the cluster.
    pub delta: i32,
    /// The longest time a request that took this edge may still need the cluster.
    pub linger: Duration,
}

/// Bytes of one version of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// A hash of the bytes; equal bytes have equal versions on every replica.
    pub version: Arc<str>,
    /// The encoded message, without the `Any` around it.
    pub bytes: Bytes,
}

/// What may be sent at once while a resource waits for clusters that it names; given when its change takes something away.
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
