//! Where connections and datagrams go that are not looked into (TLSRoute, TCPRoute, UDPRoute).

use serde::Serialize;

use crate::backend::ClusterName;
use crate::key::RouteKey;

/// One backend's share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Where to; what has no backend is rejected. Beside shares that have one, connections without go to
    /// [`ClusterName::nowhere`].
    pub cluster: Option<ClusterName>,
    /// Relative to the sum of all weights; not zero.
    pub weight: u32,
}

/// How the connections (or the sessions, which are the datagrams of one client's address and port) are shared out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forward {
    /// The route that says so; none where no route does.
    pub route: Option<RouteKey>,
    /// Empty = all are rejected.
    pub shares: Vec<Share>,
}

impl Forward {
    /// The clusters that are named, once for each share.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterName> {
        self.shares.iter().filter_map(|share| share.cluster.as_ref())
    }

    /// Whether nothing is forwarded at all.
    pub fn rejects_all(&self) -> bool {
        self.clusters().next().is_none()
    }

    /// Whether only a part is forwarded.
    pub fn rejects_some(&self) -> bool {
        !self.rejects_all() && self.shares.iter().any(|share| share.cluster.is_none())
    }
}
