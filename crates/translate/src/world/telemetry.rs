//! What Gateways tell of their requests.

use std::collections::BTreeSet;

use gatehouse_model::{FleetKey, NamespacedName};

use super::backends::certificates;
use super::{SecretUser, World};
use crate::policies::telemetry::traced;
use crate::policies::{Place, Target, TargetKind};
use crate::uses::User;

impl World {
    /// `gateways` are those that changed.
    pub(super) fn settle_telemetry(&mut self, gateways: &BTreeSet<NamespacedName>) {
        let Self { config, graph, facts, stages, clusters_used, secrets_used, outcomes_of_users, .. } = self;
        for key in gateways {
            stages.traced.mark(graph, key.clone());
        }
        stages.traced.settle(graph, |reads, key| traced((facts, config), &stages.gateways, reads, key));
        for key in stages.traced.take_changed() {
            let traced = stages.traced.peek(&key);
            let user = User::Gateway(key.clone());
            let fleet = FleetKey(key.clone());
            let clusters = traced.iter().flat_map(|traced| &traced.clusters);
            let named = clusters.map(|cluster| (fleet.clone(), cluster.clone())).collect();
            secrets_used.set(&SecretUser::Backends(user.clone()), certificates(&named));
            clusters_used.set(&user, named);
            let place = Place { target: Target { kind: TargetKind::Gateway, object: key }, section: None };
            let told = traced.iter().flat_map(|traced| &traced.told);
            let told = told
                .map(|(policy, outcome)| (policy.clone(), (place.clone(), user.clone()), outcome.clone()));
            outcomes_of_users.set(graph, user.clone(), told.collect());
        }
    }
}
