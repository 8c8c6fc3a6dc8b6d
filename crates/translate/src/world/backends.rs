//! Clusters and endpoints of the fleets that use them.

use std::collections::BTreeSet;

use gatehouse_model::{FleetKey, ResourceType};

use super::World;
use crate::backends::{Assignment, ClusterKey, cluster, endpoints, service_address};
use crate::names;
use crate::output::Outputs;

/// What of a cluster a fleet must be told anew.
type Dirty = BTreeSet<(FleetKey, ClusterKey, ResourceType)>;

impl World {
    pub(super) fn settle_backends(&mut self, outputs: &mut Outputs) {
        let mut dirty = self.follow_uses();
        let Self { config, graph, facts, stages, .. } = self;
        stages.clusters.settle(graph, |reads, key| cluster((facts, config), reads, key));
        stages.endpoints.settle(graph, |reads, key| endpoints(facts, reads, key));
        stages.service_addresses.settle(graph, |reads, key| service_address(facts, reads, key));
        let edited: BTreeSet<_> = stages.clusters.take_changed().into_iter().collect();
        let moved: BTreeSet<_> = stages.endpoints.take_changed().into_iter().collect();
        let addressed: BTreeSet<_> = stages.service_addresses.take_changed().into_iter().collect();
        for key in &edited {
            let fleets = self.clusters_used.fleets(key);
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
        dirty
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
                ResourceType::Cluster => self.stages.clusters.peek(&key),
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
