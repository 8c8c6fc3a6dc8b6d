//! TLSRoute, TCPRoute and UDPRoute: one rule that shares connections or sessions out.

use gatehouse_api::types::{BackendRef, L4RouteSpec};
use gatehouse_engine::Reads;
use gatehouse_model::Transport;
use gatehouse_model::backend::ClusterName;
use gatehouse_model::l4::{Forward, Share};

use super::{Lowered, Lowering};
use crate::backends::{ClusterKey, transport_to};

impl Lowering<'_> {
    /// The specification allows one rule.
    pub(super) fn stream(mut self, reads: &mut Reads, spec: &L4RouteSpec) -> Lowered {
        let references = spec.rules.first().map(|rule| rule.backend_refs.as_slice()).unwrap_or_default();
        let shares = references.iter().filter_map(|reference| self.share(reads, reference)).collect();
        let mut forward = Forward { route: Some(self.key.clone()), shares };
        // Datagrams are dropped without one.
        if forward.rejects_some() && transport_to(self.key.kind) == Transport::Tcp {
            self.clusters.insert(ClusterKey::nowhere());
            for share in &mut forward.shares {
                share.cluster.get_or_insert_with(ClusterName::nowhere);
            }
        }
        self.with(Vec::new(), Some(forward))
    }

    /// `None` for what has no weight; its reference must resolve all the same.
    fn share(&mut self, reads: &mut Reads, reference: &BackendRef) -> Option<Share> {
        let cluster = self.cluster(reads, &reference.object).ok();
        let weight = reference.weight.unwrap_or(1);
        (weight > 0).then_some(Share { cluster, weight })
    }
}
