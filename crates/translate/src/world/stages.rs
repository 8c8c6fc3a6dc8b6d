//! The stages of the world, in the order in which they settle.

use std::sync::Arc;

use gatehouse_engine::{Graph, Stage};
use gatehouse_model::{ListenerKey, NamespacedName, PortKey, RouteKey};

use super::statuses::StatusText;
use crate::attach::Bindings;
use crate::authorities::{GatewayPort, OfClients};
use crate::backends::{Assignment, ClusterKey};
use crate::certificates::{Certificates, KeyPair, Shown};
use crate::fragments::{Fragments, FragmentsKey};
use crate::gateways::{ClassState, GatewayState};
use crate::http::Lowered;
use crate::http::guards::Guard;
use crate::output::Resource;
use crate::overlaps::Overlaps;
use crate::policies::PolicyKey;
use crate::policies::telemetry::Traced;
use crate::ports::PortState;

#[derive(Debug)]
pub(super) struct Stages {
    pub(super) classes: Stage<Arc<str>, ClassState>,
    pub(super) gateways: Stage<NamespacedName, GatewayState>,
    pub(super) pairs: Stage<NamespacedName, KeyPair>,
    /// The authorities of the clients of ports where they are checked.
    pub(super) authorities: Stage<GatewayPort, Arc<OfClients>>,
    /// What Gateways show to backends, where they show something.
    pub(super) shown: Stage<NamespacedName, Shown>,
    pub(super) certificates: Stage<ListenerKey, Arc<Certificates>>,
    pub(super) overlaps: Stage<NamespacedName, Arc<Overlaps>>,
    pub(super) guards: Stage<ListenerKey, Arc<Guard>>,
    pub(super) traced: Stage<NamespacedName, Arc<Traced>>,
    pub(super) ports: Stage<PortKey, PortState>,
    pub(super) bindings: Stage<RouteKey, Arc<Bindings>>,
    pub(super) lowered: Stage<RouteKey, Arc<Lowered>>,
    pub(super) fragments: Stage<FragmentsKey, Arc<Fragments>>,
    pub(super) clusters: Stage<ClusterKey, Arc<Resource>>,
    /// The same for fleets that show a certificate over TLS.
    pub(super) certified_clusters: Stage<(ClusterKey, NamespacedName), Arc<Resource>>,
    pub(super) endpoints: Stage<ClusterKey, Assignment>,
    /// The same for fleets that send requests to Services' own addresses.
    pub(super) service_addresses: Stage<ClusterKey, Assignment>,
    pub(super) class_status: Stage<Arc<str>, StatusText>,
    pub(super) gateway_status: Stage<NamespacedName, StatusText>,
    pub(super) set_status: Stage<NamespacedName, StatusText>,
    pub(super) route_status: Stage<RouteKey, StatusText>,
    pub(super) backend_status: Stage<NamespacedName, StatusText>,
    pub(super) policy_status: Stage<PolicyKey, StatusText>,
}

impl Stages {
    pub(super) fn new(graph: &mut Graph) -> Self {
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
