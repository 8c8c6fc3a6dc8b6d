//! What Gateways tell of their requests.

use std::collections::BTreeSet;

use gatehouse_model::NamespacedName;

use super::World;
use crate::policies::telemetry::traced;
use crate::uses::User;

impl World {
    /// `gateways` are those that changed.
    pub(super) fn settle_telemetry(&mut self, gateways: &BTreeSet<NamespacedName>) {
        let Self { config, graph, facts, stages, .. } = self;
        for key in gateways {
            stages.traced.mark(graph, key.clone());
        }
        stages.traced.settle(graph, |reads, key| traced((facts, config), &stages.gateways, reads, key));
        for key in stages.traced.take_changed() {
            let traced = self.stages.traced.peek(&key).cloned();
            let (clusters, told) =
                traced.as_ref().map(|traced| (&*traced.clusters, &*traced.told)).unwrap_or_default();
            self.gateway_uses(&key, User::Gateway(key.clone()), clusters, told);
        }
    }
}
