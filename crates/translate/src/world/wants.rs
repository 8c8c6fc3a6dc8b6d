//! What the world wants to know of others, and whether it knows enough.

use std::sync::Arc;

use gatehouse_model::{FleetKey, NamespacedName, PortKey};

use super::World;
use crate::facts::PodSelection;

impl World {
    /// Secrets that became wanted (`true`) or are wanted no more since the last call.
    pub fn take_secret_wants(&mut self) -> Vec<(NamespacedName, bool)> {
        self.facts.secrets.take_want_changes(&mut self.graph)
    }

    /// The same of ConfigMaps.
    pub fn take_config_map_wants(&mut self) -> Vec<(NamespacedName, bool)> {
        self.facts.config_maps.take_want_changes(&mut self.graph)
    }

    /// The same of pods. Whoever tells them says [`Selected`](crate::Change::Selected) then.
    pub fn take_pod_wants(&mut self) -> Vec<(PodSelection, bool)> {
        let changes = self.facts.selections.take_want_changes(&mut self.graph);
        for (selection, _) in changes.iter().filter(|(_, wanted)| !wanted) {
            self.facts.selections.forget(&mut self.graph, selection);
        }
        changes
    }

    /// Ports that became wanted (`true`) or are wanted no more since the last call: [`World::port_asked`] takes the answers.
    /// With [`OnDemand`](crate::PortSource::OnDemand) a Gateway changes only when all its ports are answered.
    pub fn take_port_wants(&mut self) -> Vec<(PortKey, bool)> {
        let changes = self.facts.unavailable.take_want_changes(&mut self.graph);
        for (port, _) in changes.iter().filter(|(_, wanted)| !wanted) {
            self.facts.unavailable.forget(&mut self.graph, port);
        }
        changes
    }

    /// Says why proxies cannot have a port of the host, if so; may change at any time.
    pub fn port_asked(&mut self, port: PortKey, unavailable: Option<Arc<str>>) {
        match unavailable {
            Some(why) => drop(self.facts.unavailable.set(&mut self.graph, port, why)),
            None => drop(self.facts.unavailable.set_absent(&mut self.graph, port)),
        }
    }

    /// Whether everything is known that the fleet's resources depend on. As long as it is not, they lack what is unknown
    /// or show what was known of it before. A proxy may have more: whoever starts beside one that runs puts off the
    /// first commit until then (see [`absorb`](crate::FleetChange::absorb)), or until it has waited long enough for those
    /// who fetch.
    pub fn is_settled(&self, fleet: &FleetKey) -> bool {
        // Only Secrets, ConfigMaps, pods and ports can be unknown, and only these stages read them.
        let concerns = |route| {
            let bound = self.stages.bindings.peek(route);
            bound.is_some_and(|bound| bound.listeners().any(|listener| listener.site.fleet == *fleet))
        };
        !self.stages.lowered.holding().any(concerns)
            && !self.stages.certificates.holding().any(|listener| listener.gateway == fleet.0)
            && !self.stages.guards.holding().any(|listener| listener.gateway == fleet.0)
            && !self.stages.traced.holding().any(|gateway| *gateway == fleet.0)
            && !self.stages.authorities.holding().any(|(gateway, _)| *gateway == fleet.0)
            && !self.stages.shown.holding().any(|gateway| *gateway == fleet.0)
            && !self.stages.gateways.holding().any(|gateway| *gateway == fleet.0)
    }
}
