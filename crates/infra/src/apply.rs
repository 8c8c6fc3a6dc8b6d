//! Keeps a cluster as the plans want it.
//!
//! ```text
//! WantedChange --> Applier ----- one job per fleet at a time: apply what differs, then prune ----> API server
//!                    |  ^                                                                             |
//!     InfraEvent <---'  '---------- watches of our objects and of the proxies' pods <-----------------'
//! ```
//!
//! One task owns all state; jobs get copies and return outcomes. Everything is level-triggered: a job compares what is
//! wanted with what is live, so a lost event, a restart or somebody's edit ends in the same job. An object is applied when
//! its content was not applied yet or when the fields that we set read differently than after our last apply.

mod client;
mod drift;
mod job;
mod live;
mod state;
mod supervisor;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_model::FleetKey;
use gatehouse_translate::{FleetAddress, FleetPlan, FleetState, Routability};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::settings::Settings;

/// What is wanted from now on.
#[derive(Clone, Debug, Default)]
pub struct WantedChange {
    /// New or changed plans; `None` ends a fleet.
    pub fleets: BTreeMap<FleetKey, Option<Arc<FleetPlan>>>,
    /// Fleets that are wanted without a plan that could be followed: what stands stays as it is.
    pub kept: BTreeSet<FleetKey>,
    /// Every fleet that is wanted was named by now: objects of others are left over from a time when nobody watched, and
    /// go. Stays true.
    pub complete: bool,
    /// Other settings, such as a rotated authority.
    pub settings: Option<Arc<Settings>>,
}

/// Something about a fleet changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfraEvent {
    /// The fleet.
    pub fleet: FleetKey,
    /// What is known of it now.
    pub state: InfraState,
}

/// Which kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressKind {
    /// `IPAddress`
    Ip,
    /// `Hostname`
    Hostname,
    /// `IPAddress`, of the Service itself: reached from inside the cluster only.
    ClusterIp,
}

/// What is known of a fleet's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InfraState {
    /// Where clients reach it.
    pub addresses: Vec<(AddressKind, String)>,
    /// ServiceAccounts, by namespace and name, that its pods run as; sorted.
    pub accounts: Vec<(String, String)>,
    /// Pods that are ready.
    pub ready_replicas: u32,
    /// Pods that there should be.
    pub wanted_replicas: u32,
    /// What keeps it from being as wanted, in words for the user; sorted.
    pub problems: Vec<String>,
    /// Why its parameters cannot be followed: until they can be, what stands stays as it is. Sorted.
    pub refused: Vec<String>,
    /// What of its parameters has no effect, while everything else works; sorted.
    pub warnings: Vec<String>,
    /// Objects that have the names of ours but are not ours; they stay as they are. Sorted.
    pub foreign: Vec<String>,
}

impl InfraState {
    /// What statuses need of it. Ready is what is ready now; who forgives a proxy that was a moment ago does so on top.
    pub fn fleet_state(&self) -> FleetState {
        let address = |(kind, value): &(AddressKind, String)| FleetAddress {
            kind: match kind {
                AddressKind::Ip | AddressKind::ClusterIp => "IPAddress".into(),
                AddressKind::Hostname => "Hostname".into(),
            },
            value: Some(value.as_str().into()),
            routability: match kind {
                AddressKind::Ip | AddressKind::Hostname => Routability::Default,
                AddressKind::ClusterIp => Routability::Cluster,
            },
        };
        let mut addresses: Vec<FleetAddress> = self.addresses.iter().map(address).collect();
        addresses.sort();
        let joined = |words: Vec<&str>| (!words.is_empty()).then(|| words.join("; ").into());
        let problems = self.foreign.iter().chain(&self.refused).chain(&self.problems);
        FleetState {
            addresses,
            ready: self.ready_replicas > 0,
            problem: joined(problems.map(String::as_str).collect()),
            refused: joined(self.refused.iter().map(String::as_str).collect()),
            unheeded: self.warnings.iter().map(|warning| warning.as_str().into()).collect(),
        }
    }
}

/// How an applier works.
#[derive(Clone, Debug)]
pub struct ApplierConfig {
    /// Settings to start with; the controller's name cannot change later.
    pub settings: Arc<Settings>,
    /// Namespaces that are watched; `None` is the whole cluster.
    pub namespaces: Option<Vec<String>>,
    /// Fleets that are worked on at the same time.
    pub parallel: usize,
}

impl ApplierConfig {
    /// The whole cluster, four fleets at a time.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, namespaces: None, parallel: 4 }
    }
}

/// A running applier. Only one replica of the controller may have one: start it with leadership, stop it without. Dropped,
/// it is stopped.
#[derive(Debug)]
pub struct Applier {
    task: JoinHandle<()>,
}

impl Applier {
    /// Starts to work; ends by itself when either channel is closed. An event is sent only when a fleet's state differs from
    /// the last one that was sent.
    pub fn start(
        client: kube::Client,
        config: ApplierConfig,
        wanted: mpsc::Receiver<WantedChange>,
        events: mpsc::UnboundedSender<InfraEvent>,
    ) -> Self {
        let supervisor = supervisor::Supervisor::new(client::Client::new(client), config, events);
        Self { task: tokio::spawn(supervisor.run(wanted)) }
    }

    /// Stops; when this returns, no request of it is under way any more.
    pub async fn stop(mut self) {
        self.task.abort();
        // An error says that it was aborted, which is what was asked for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.task.abort();
    }
}
