//! Filters of listeners, as they are put before hosts.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_model::{FleetKey, ListenerKey, NamespacedName};

use super::backends::certificates;
use super::{SecretUser, World};
use crate::gateways::GatewayState;
use crate::http::guards::{guard, refusing};
use crate::policies::{Place, Target, TargetKind};
use crate::uses::User;

impl World {
    /// `gateways` are those that changed.
    pub(super) fn settle_guards(&mut self, mut gateways: BTreeSet<NamespacedName>) {
        let Self { config, graph, facts, stages, .. } = self;
        stages.guards.settle(graph, |reads, key| guard((facts, config), &stages.gateways, reads, key));
        for listener in stages.guards.take_changed() {
            self.use_backends_of(&listener);
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

    fn use_backends_of(&mut self, listener: &ListenerKey) {
        let Self { graph, stages, clusters_used, secrets_used, outcomes_of_users, .. } = self;
        let guard = stages.guards.peek(listener);
        let user = User::Listener(listener.clone());
        let fleet = FleetKey(listener.gateway.clone());
        let clusters = guard.iter().flat_map(|guard| &guard.clusters);
        let named = clusters.map(|cluster| (fleet.clone(), cluster.clone())).collect();
        secrets_used.set(&SecretUser::Backends(user.clone()), certificates(&named));
        clusters_used.set(&user, named);
        let target = Target { kind: TargetKind::Gateway, object: listener.gateway.clone() };
        let place = Place { target, section: None };
        let told = guard
            .iter()
            .flat_map(|guard| &guard.told)
            .map(|(policy, outcome)| (policy.clone(), (place.clone(), user.clone()), outcome.clone()));
        outcomes_of_users.set(graph, user.clone(), told.collect());
    }
}
