//! Filters of listeners, as they are put before hosts.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_model::NamespacedName;

use super::World;
use crate::gateways::GatewayState;
use crate::http::guards::{guard, refusing};
use crate::uses::User;

impl World {
    /// `gateways` are those that changed.
    pub(super) fn settle_guards(&mut self, mut gateways: BTreeSet<NamespacedName>) {
        let Self { config, graph, facts, stages, .. } = self;
        stages.guards.settle(graph, |reads, key| guard((facts, config), &stages.gateways, reads, key));
        for listener in stages.guards.take_changed() {
            let guard = self.stages.guards.peek(&listener).cloned();
            let (clusters, told) =
                guard.as_ref().map(|guard| (&*guard.clusters, &*guard.told)).unwrap_or_default();
            self.gateway_uses(&listener.gateway, User::Listener(listener.clone()), clusters, told);
            gateways.insert(listener.gateway);
        }
        let Self { stages, hosts, .. } = self;
        for key in &gateways {
            let view = stages.gateways.peek(key).and_then(GatewayState::view);
            let guards = &stages.guards;
            hosts.set_guards(key, view.map(|view| &**view), |listener| {
                let known = guards.peek(&listener.key).map(|guard| guard.fragment.clone());
                // As long as it is not known what its filters refer to, nothing passes them by.
                let filtered = listener.usable() && !listener.filters.is_empty();
                known.or_else(|| filtered.then(|| Arc::new(refusing(&listener.key))))
            });
        }
    }
}
