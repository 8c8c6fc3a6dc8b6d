//! What the operator chose.

use std::collections::BTreeMap;
use std::sync::Arc;

/// How Secrets become known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// All of them are given: one that is not does not exist.
    Complete,
    /// They arrive one by one as they are wanted: one that has not is unknown.
    OnDemand,
}

/// Where the proxies of Gateways run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosting {
    /// All on this host, so two of them cannot own the same address and port.
    Host {
        /// Address reported for a Gateway that names none.
        address: Arc<str>,
    },
    /// Each Gateway's in pods of its own, made by its [`FleetPlan`](crate::FleetPlan); where they are reached comes back
    /// as a [`FleetState`](crate::FleetState).
    Pods,
}

impl Default for Hosting {
    fn default() -> Self {
        Self::Host { address: "127.0.0.1".into() }
    }
}

/// How it becomes known which ports of the host the proxies cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortSource {
    /// They can have all.
    Free,
    /// Each is asked about when it is wanted ([`World::take_port_wants`](crate::World::take_port_wants)): nothing is
    /// served on one that was not answered.
    OnDemand,
}

/// Settings that translation depends on. Fixed for the life of a world.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Config {
    /// GatewayClasses with one of these `spec.controllerName`s are ours; the first is written in statuses.
    pub controller_names: Vec<Arc<str>>,
    /// Where the proxies run.
    pub hosting: Hosting,
    /// Ports that are really bound, by the port that a listener names.
    pub port_map: BTreeMap<u16, u16>,
    /// No proxy will ever answer (offline use): report what a proxy would hold as held.
    pub assume_programmed: bool,
    /// How Secrets become known.
    pub secrets: SecretSource,
    /// Listeners that bind every address bind IPv6 ones too.
    pub ipv6: bool,
    /// How it becomes known which ports the proxies cannot have.
    pub ports: PortSource,
    /// The pods of all Gateways are made in one namespace, which is not theirs: the EnvoyProxy of a single Gateway must not
    /// reach what is kept there.
    pub shared_namespace: bool,
    /// Services of type `ExternalName` may be backends.
    pub external_names: bool,
    /// There can be ClusterTrustBundles, as far as is known yet.
    pub trust_bundles: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            controller_names: vec!["gatehouse.dev/gatewayclass-controller".into()],
            hosting: Hosting::default(),
            port_map: BTreeMap::new(),
            assume_programmed: false,
            secrets: SecretSource::Complete,
            ipv6: false,
            ports: PortSource::Free,
            shared_namespace: false,
            external_names: true,
            trust_bundles: true,
        }
    }
}

impl Config {
    /// Whether a class with this controller name is ours.
    pub(crate) fn is_ours(&self, controller_name: &str) -> bool {
        self.controller_names.iter().any(|name| **name == *controller_name)
    }

    /// The port that is really bound for a listener's port.
    pub(crate) fn bound_port(&self, port: u16) -> u16 {
        self.port_map.get(&port).copied().unwrap_or(port)
    }
}
