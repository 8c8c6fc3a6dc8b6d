//! The descriptors of Envoy's messages, and the resource types that we serve.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

static SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(SET).expect("the build wrote a set that holds every file it depends on")
});

/// All messages reachable from what we encode.
pub(crate) fn pool() -> &'static DescriptorPool {
    &POOL
}

/// Prefix of `Any.type_url` before the full name of the message.
pub(crate) const TYPE_URL_PREFIX: &str = "type.googleapis.com/";

/// The xDS resource types that Gatehouse serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    /// `envoy.config.cluster.v3.Cluster` (CDS)
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS)
    Endpoints,
    /// `envoy.config.listener.v3.Listener` (LDS)
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration` (RDS)
    RouteConfiguration,
    /// `envoy.config.route.v3.VirtualHost` (VHDS)
    VirtualHost,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret` (SDS)
    Secret,
}

impl ResourceType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Listener,
        Self::RouteConfiguration,
        Self::VirtualHost,
        Self::Secret,
    ];

    /// Type URL as it stands in discovery requests.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    pub(crate) fn descriptor(self) -> MessageDescriptor {
        let name = self.type_url().trim_start_matches(TYPE_URL_PREFIX);
        pool().get_message_by_name(name).expect("the build keeps every resource type")
    }
}
