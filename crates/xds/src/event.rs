//! What the server tells its owner.

use std::fmt;
use std::sync::Arc;

use gatehouse_model::Target;

/// A fleet: the proxies that share one table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FleetId(Arc<str>);

impl FleetId {
    /// The fleet of that name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// News about the proxies of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The fleet.
    pub fleet: FleetId,
    /// What happened.
    pub what: What,
}

/// What a proxy did with a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It refused these bytes.
    Refused {
        /// The resource.
        target: Target,
        /// The version that was refused.
        version: Arc<str>,
        /// The proxy's words.
        message: String,
    },
    /// It holds a later version, or the resource is gone.
    Cleared {
        /// The resource.
        target: Target,
    },
    /// It was sent a resource that names clusters which are not warm.
    GateExpired {
        /// The resource.
        target: Target,
        /// The clusters that were not warm.
        clusters: Vec<Arc<str>>,
    },
    /// A cluster that [`Notice::GateExpired`] named is warm now, or gone.
    Warmed {
        /// The cluster.
        cluster: Arc<str>,
    },
}

/// What happened in a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A resource fared like this. A refusal is said once per version and message, however many proxies refuse it, once
    /// more when a commit goes back to a version that a proxy refused last, and is cleared when no connected one does any more; a cluster is warmed when no connected proxy waits for it any more.
    Resource(Notice),
    /// The number of proxies that hold all needs of a watch became zero or more than zero, or a refusal of one of its
    /// needs came or went. A watch whose needs change starts at zero, without an event when it was at zero.
    Held {
        /// The watch.
        watch: u64,
        /// Proxies that hold all its needs.
        holders: usize,
        /// Why a proxy refuses one of its needs.
        refused: Option<String>,
    },
    /// A proxy came or went.
    Streams {
        /// Proxies that are connected now.
        connected: usize,
    },
}
