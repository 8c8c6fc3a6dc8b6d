//! What comes back from the proxies.

use std::sync::Arc;

use gatehouse_model::FleetKey;

use super::World;
use crate::facts::{Held, Trouble};
use crate::gateways::GatewayState;
use crate::output::{ClusterNews, WatchKey, WatchState};

impl World {
    /// Takes what the proxies say of a watch.
    pub fn proxy_says(&mut self, watch: WatchKey, digest: &Arc<str>, state: WatchState) {
        let known = self.facts.held.peek(&watch).cloned();
        let mut held = known.unwrap_or(Held { digest: None, generation: 0, refused: None });
        match state {
            WatchState::Held => {
                self.port_held(&watch, digest);
                held.refused = None;
                held.digest = Some(digest.clone());
                held.generation = self.generation_of(watch.fleet());
            }
            WatchState::Refused(message) => held.refused = Some((digest.clone(), message)),
        }
        self.facts.held.set(&mut self.graph, watch, held);
    }

    fn port_held(&mut self, watch: &WatchKey, digest: &Arc<str>) {
        let WatchKey::Port(key) = watch else { return };
        if let Some(emitted) = self.emitted_ports.get_mut(key)
            && emitted.port.watch.digest == *digest
        {
            emitted.held();
        }
    }

    fn generation_of(&self, fleet: &FleetKey) -> i64 {
        let view = self.stages.gateways.peek(&fleet.0).and_then(GatewayState::view);
        view.map_or(0, |view| view.generation)
    }

    /// A proxy acknowledged this version of a virtual host.
    pub fn host_acknowledged(&mut self, fleet: &FleetKey, name: &str, version: &str) {
        self.hosts.acknowledged(fleet, name, version);
    }

    /// A proxy refused this version of a virtual host: what changed in it is set aside and let in again in parts until
    /// the bad fragments are known. Each settle asks a question, which the next answer to the host's version answers.
    /// Returns whether there is something to set aside.
    pub fn host_refused(&mut self, fleet: &FleetKey, name: &str, version: &str, message: &Arc<str>) -> bool {
        self.hosts.refused(fleet, name, version, message)
    }

    /// A proxy of the fleet has news of a cluster. Returns whether that is new.
    pub fn cluster_says(&mut self, fleet: &FleetKey, cluster: &Arc<str>, news: ClusterNews) -> bool {
        if !self.fleets.contains(fleet) {
            return false;
        }
        let key = (fleet.clone(), cluster.clone());
        let mut trouble = self.facts.troubles.peek(&key).cloned().unwrap_or_default();
        match news {
            ClusterNews::Waits(waits) => trouble.waits = waits,
            ClusterNews::Refused(message) => trouble.refused[0] = message,
            ClusterNews::EndpointsRefused(message) => trouble.refused[1] = message,
        }
        if trouble == Trouble::default() {
            self.facts.troubles.set_absent(&mut self.graph, key)
        } else {
            self.facts.troubles.set(&mut self.graph, key, trouble)
        }
    }

    /// Proxies that are gone have no trouble. Troubles are few.
    pub(super) fn forget_troubles(&mut self, fleet: &FleetKey) {
        let of_fleet = self.facts.troubles.iter().filter(|((owner, _), _)| owner == fleet);
        let gone: Vec<_> = of_fleet.map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.facts.troubles.set_absent(&mut self.graph, key);
        }
    }
}
