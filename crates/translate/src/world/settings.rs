//! What Gateways' parameters mean, as they last could be followed.

use gatehouse_model::{FleetKey, NamespacedName};

use super::World;
use crate::gateways::GatewayView;
use crate::parameters::Settings;

impl World {
    /// Remembers a Gateway's settings; while its parameters cannot be followed they are those remembered.
    pub(super) fn keep_settings(&mut self, key: &NamespacedName, view: Option<&GatewayView>) {
        let old = match view.filter(|view| view.settings != Settings::default()) {
            Some(view) => self.last_settings.insert(key.clone(), view.settings.clone()),
            None => self.last_settings.remove(key),
        };
        let to_services = |settings: Option<&Settings>| settings.is_some_and(|settings| settings.to_services);
        if to_services(old.as_ref()) != to_services(view.map(|view| &view.settings)) {
            self.rerouted.push(FleetKey(key.clone()));
        }
    }

    /// Whether a fleet sends requests to Services' own addresses.
    pub(super) fn to_services(&self, fleet: &FleetKey) -> bool {
        self.last_settings.get(&fleet.0).is_some_and(|settings| settings.to_services)
    }
}
