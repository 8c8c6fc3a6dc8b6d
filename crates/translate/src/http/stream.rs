//! TLSRoute, TCPRoute and UDPRoute: one rule that shares connections or sessions out.

use std::sync::Arc;

use gatehouse_api::types::{BackendRef, L4RouteSpec};
use gatehouse_engine::Reads;
use gatehouse_model::backend::ClusterName;
use gatehouse_model::l4::{Forward, Share};
use gatehouse_model::{RouteKind, Transport};

use super::{Decrypted, Lowered, Lowering};
use crate::backends::{ClusterKey, transport_to};

impl Lowering<'_> {
    /// The specification allows one rule.
    pub(super) fn stream(mut self, reads: &mut Reads, spec: &L4RouteSpec) -> Lowered {
        let references = spec.rules.first().map(|rule| rule.backend_refs.as_slice()).unwrap_or_default();
        let forward = self.forward(reads, references);
        if self.key.kind != RouteKind::Tls {
            return self.with(Vec::new(), Some(forward));
        }
        let passed_on = self.unresolved.take();
        self.protects = true;
        let decrypted = self.forward(reads, references);
        let unresolved = std::mem::replace(&mut self.unresolved, passed_on);
        let differs = decrypted != forward || unresolved != self.unresolved;
        let decrypted = differs.then(|| Decrypted { forward: Arc::new(decrypted), unresolved });
        Lowered { decrypted, ..self.with(Vec::new(), Some(forward)) }
    }

    fn forward(&mut self, reads: &mut Reads, references: &[BackendRef]) -> Forward {
        let shares = references.iter().filter_map(|reference| self.share(reads, reference)).collect();
        let mut forward = Forward { route: Some(self.key.clone()), shares };
        // Datagrams are dropped without one.
        if forward.rejects_some() && transport_to(self.key.kind) == Transport::Tcp {
            self.clusters.insert(ClusterKey::nowhere());
            for share in &mut forward.shares {
                share.cluster.get_or_insert_with(ClusterName::nowhere);
            }
        }
        forward
    }

    /// `None` for what has no weight; its reference must resolve all the same.
    fn share(&mut self, reads: &mut Reads, reference: &BackendRef) -> Option<Share> {
        let cluster = self.cluster(reads, &reference.object).ok();
        let weight = reference.weight.unwrap_or(1);
        (weight > 0).then_some(Share { cluster, weight })
    }
}
