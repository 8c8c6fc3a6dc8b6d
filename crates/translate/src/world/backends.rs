//! Clusters and endpoints of the fleets that use them.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_model::backend::BackendKind;
use gatehouse_model::{FleetKey, NamespacedName, ResourceType};

use super::{SecretUser, World, renew};
use crate::backends::{
    Assignment, ClusterKey, cluster, cluster_with_certificate, endpoints, service_address,
};
use crate::names;
use crate::output::{Outputs, Resource, SecretKey};
use crate::policies::{Outcome, Place, PolicyKey, Told};
use crate::uses::User;

/// What of a cluster a fleet must be told anew.
type Dirty = BTreeSet<(FleetKey, ClusterKey, ResourceType)>;

/// The Secrets that backends name for what they are shown.
pub(super) fn certificates(uses: &BTreeSet<(FleetKey, ClusterKey)>) -> BTreeSet<(FleetKey, SecretKey)> {
    let shows = |(fleet, key): &(FleetKey, ClusterKey)| {
        key.shows().map(|secret| (fleet.clone(), SecretKey::Pair(secret.clone())))
    };
    uses.iter().filter_map(shows).collect()
}

impl World {
    /// Somebody uses these clusters, and tells this of policies and of backends that are told like them.
    pub(super) fn use_backends(
        &mut self,
        user: User,
        clusters: BTreeSet<(FleetKey, ClusterKey)>,
        told: Told,
    ) {
        let certificates = certificates(&clusters);
        self.secrets_used.set(&SecretUser::Backends(user.clone()), certificates);
        self.clusters_used.set(&user, clusters);
        self.tell(user, told);
    }

    /// Somebody tells this of policies.
    pub(super) fn tell(&mut self, user: User, told: Told) {
        let told = told.into_iter().map(|(policy, place, outcome)| (policy, (place, user.clone()), outcome));
        let told = told.collect();
        self.outcomes.set(&mut self.graph, user, told);
    }

    /// The same of what a Gateway itself uses.
    pub(super) fn gateway_uses(
        &mut self,
        gateway: &NamespacedName,
        user: User,
        clusters: &[ClusterKey],
        told: &[(PolicyKey, Arc<Outcome>)],
    ) {
        let fleet = FleetKey(gateway.clone());
        let clusters = clusters.iter().map(|cluster| (fleet.clone(), cluster.clone())).collect();
        let place = Place::gateway(gateway);
        let told = told.iter().map(|(policy, outcome)| (policy.clone(), place.clone(), outcome.clone()));
        self.use_backends(user, clusters, told.collect());
    }

    pub(super) fn settle_backends(&mut self, outputs: &mut Outputs) {
        let mut dirty = self.follow_uses();
        let Self { config, graph, facts, stages, .. } = self;
        stages.clusters.settle(graph, |reads, key| Some(cluster((facts, config), reads, key)));
        let pairs = &stages.pairs;
        stages
            .certified_clusters
            .settle(graph, |reads, key| Some(cluster_with_certificate((facts, config), pairs, reads, key)));
        stages.endpoints.settle(graph, |reads, key| endpoints(facts, reads, key));
        stages.service_addresses.settle(graph, |reads, key| service_address(facts, reads, key));
        let edited = stages.clusters.take_changed().into_iter().map(|key| (key, None));
        let certified = stages.certified_clusters.take_changed().into_iter();
        let edited: BTreeSet<_> = edited.chain(certified.map(|(key, secret)| (key, Some(secret)))).collect();
        let moved: BTreeSet<_> = stages.endpoints.take_changed().into_iter().collect();
        let addressed: BTreeSet<_> = stages.service_addresses.take_changed().into_iter().collect();
        for (key, secret) in &edited {
            let fleets = self.clusters_used.fleets(key);
            let fleets = fleets.filter(|fleet| self.shown_to(fleet, key) == secret.as_ref());
            dirty.extend(fleets.map(|fleet| (fleet.clone(), key.clone(), ResourceType::Cluster)));
        }
        for (keys, to_services) in [(&moved, false), (&addressed, true)] {
            for key in keys {
                let fleets = self.clusters_used.fleets(key);
                let fleets = fleets.filter(|fleet| self.to_services(fleet) == to_services);
                dirty.extend(fleets.map(|fleet| (fleet.clone(), key.clone(), ResourceType::Endpoint)));
            }
        }
        self.emit_backends(dirty, outputs);
    }

    /// Starts and ends the stages of clusters as fleets begin and cease to use them.
    fn follow_uses(&mut self) -> Dirty {
        let mut dirty = Dirty::new();
        for (fleet, key, _) in self.clusters_used.take_changed() {
            let Self { graph, stages, clusters_used, .. } = self;
            if clusters_used.is_used(&key) {
                stages.clusters.mark(graph, key.clone());
                stages.endpoints.mark(graph, key.clone());
            } else {
                stages.clusters.forget(graph, &key);
                stages.endpoints.forget(graph, &key);
            }
            self.follow_address(&key);
            self.follow_certificates(&key);
            dirty.insert((fleet.clone(), key.clone(), ResourceType::Cluster));
            dirty.insert((fleet, key, ResourceType::Endpoint));
        }
        for fleet in std::mem::take(&mut self.rerouted) {
            let keys: Vec<_> = self.clusters_used.of_fleet(&fleet).cloned().collect();
            for key in keys {
                self.follow_address(&key);
                dirty.insert((fleet.clone(), key, ResourceType::Endpoint));
            }
        }
        for fleet in std::mem::take(&mut self.recertified) {
            let keys = self.clusters_used.of_fleet(&fleet).filter(|key| key.tls.is_some());
            for key in keys.cloned().collect::<Vec<_>>() {
                self.follow_certificates(&key);
                dirty.insert((fleet.clone(), key, ResourceType::Cluster));
            }
        }
        dirty
    }

    /// A Gateway shows another certificate, or none any more.
    pub(super) fn show(&mut self, fleet: FleetKey) {
        let shown = self.stages.shown.peek(&fleet.0).and_then(|shown| shown.as_ref().ok());
        let uses = shown.map(|secret| (fleet.clone(), SecretKey::Pair(secret.clone())));
        self.secrets_used.set(&SecretUser::Clusters(fleet.clone()), uses.into_iter().collect());
        self.recertified.push(fleet);
    }

    /// The certificate that a fleet shows to a backend. An XBackend says itself what it is shown.
    fn shown_to(&self, fleet: &FleetKey, key: &ClusterKey) -> Option<&NamespacedName> {
        key.tls.as_ref().filter(|_| key.kind != BackendKind::XBackend)?;
        self.stages.shown.peek(&fleet.0)?.as_ref().ok()
    }

    /// A cluster with a certificate is worked out once for all fleets that show it.
    fn follow_certificates(&mut self, key: &ClusterKey) {
        if key.tls.is_none() {
            return;
        }
        let shown = self.clusters_used.fleets(key).filter_map(|fleet| self.shown_to(fleet, key));
        let wanted: BTreeSet<_> = shown.map(|secret| (key.clone(), secret.clone())).collect();
        for certified in renew(&mut self.certified_of, key, wanted.clone()) {
            let Self { graph, stages, .. } = self;
            if wanted.contains(&certified) {
                stages.certified_clusters.mark(graph, certified);
            } else {
                stages.certified_clusters.forget(graph, &certified);
            }
        }
    }

    fn cluster_for(&self, fleet: &FleetKey, key: &ClusterKey) -> Option<&Arc<Resource>> {
        match self.shown_to(fleet, key) {
            Some(secret) => self.stages.certified_clusters.peek(&(key.clone(), secret.clone())),
            None => self.stages.clusters.peek(key),
        }
    }

    /// The address of a Service is worked out for those fleets only that send requests there.
    fn follow_address(&mut self, key: &ClusterKey) {
        let wanted = self.clusters_used.fleets(key).any(|fleet| self.to_services(fleet));
        let Self { graph, stages, .. } = self;
        if wanted {
            stages.service_addresses.mark(graph, key.clone());
        } else {
            stages.service_addresses.forget(graph, key);
        }
    }

    fn emit_backends(&self, dirty: Dirty, outputs: &mut Outputs) {
        for (fleet, key, kind) in dirty {
            let resource = match kind {
                ResourceType::Cluster => self.cluster_for(&fleet, &key),
                _ if self.to_services(&fleet) => {
                    self.stages.service_addresses.peek(&key).and_then(Assignment::listed)
                }
                _ => self.stages.endpoints.peek(&key).and_then(Assignment::listed),
            };
            let used = self.clusters_used.uses(&fleet, &key);
            let out = outputs.fleets.entry(fleet).or_default();
            match resource.filter(|_| used) {
                Some(resource) => out.upserts.push((**resource).clone()),
                None => out.removals.push((kind, names::cluster(&key).0)),
            }
        }
    }
}
