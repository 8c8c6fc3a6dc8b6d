//! Classes, Gateways and what belongs to their listeners.

use std::collections::BTreeSet;

use gatehouse_model::{FleetKey, NamespacedName};

use super::{Changed, World, renew, unique};
use crate::authorities::of_clients;
use crate::certificates::{certificates, key_pair, shown};
use crate::config::Hosting;
use crate::gateways::{self, GatewayState, class, gateway};
use crate::output::Outputs;
use crate::overlaps::overlaps;
use crate::ports;
use crate::uses::User;

impl World {
    pub(super) fn settle_gateways(&mut self, changed: &Changed, outputs: &mut Outputs) {
        let Self { config, graph, facts, stages, last_settings, .. } = self;
        for key in &changed.classes {
            stages.classes.mark(graph, key.clone());
        }
        stages.classes.settle(graph, |reads, key| class(facts, config, reads, key));
        for key in &changed.gateways {
            stages.gateways.mark(graph, key.clone());
        }
        let sources = gateways::Sources { facts, classes: &stages.classes, config, last_settings };
        stages.gateways.settle(graph, |reads, key| gateway(sources, reads, key));
        for key in &changed.secrets {
            // What is unknown stays as it was for those who need it; without them it would stay for ever.
            if facts.secrets.peek(key).is_none() && !facts.secrets.is_wanted(key) {
                stages.pairs.forget(graph, key);
            } else {
                stages.pairs.mark(graph, key.clone());
            }
        }
        stages.pairs.settle(graph, |reads, key| key_pair(facts, reads, key));
        let gateways = unique(stages.gateways.take_changed());
        stages.classes.take_changed();
        for key in &gateways {
            self.mark_gateway(key, outputs);
        }
        let Self { graph, facts, stages, .. } = self;
        stages
            .certificates
            .settle(graph, |reads, key| certificates(facts, &stages.gateways, &stages.pairs, reads, key));
        stages.certificates.take_changed();
        stages
            .overlaps
            .settle(graph, |reads, key| overlaps(&stages.gateways, &stages.certificates, reads, key));
        stages.overlaps.take_changed();
        stages.authorities.settle(graph, |reads, key| of_clients(facts, &stages.gateways, reads, key));
        stages.shown.settle(graph, |reads, key| shown(facts, &stages.gateways, &stages.pairs, reads, key));
        for key in unique(self.stages.shown.take_changed()) {
            self.show(FleetKey(key));
        }
        self.settle_telemetry(&gateways);
        self.settle_guards(gateways);
    }

    /// Follows a Gateway's listeners and ports as they come and go.
    fn mark_gateway(&mut self, key: &NamespacedName, outputs: &mut Outputs) {
        let view = self.stages.gateways.peek(key).and_then(GatewayState::view).cloned();
        let listeners: BTreeSet<_> =
            view.iter().flat_map(|v| v.listeners.iter().map(|l| l.key.clone())).collect();
        let port_keys: BTreeSet<_> = view.iter().flat_map(|v| ports::keys(v)).collect();
        for listener in renew(&mut self.listeners_of, key, listeners) {
            self.stages.certificates.mark(&mut self.graph, listener);
        }
        self.stages.overlaps.mark(&mut self.graph, key.clone());
        let filtered = view.iter().flat_map(|v| v.listeners.iter().filter(|l| !l.filters.is_empty()));
        let filtered = filtered.map(|listener| listener.key.clone()).collect();
        for listener in renew(&mut self.filtered_of, key, filtered) {
            self.stages.guards.mark(&mut self.graph, listener);
        }
        let checked = view.iter().flat_map(|v| v.checked_ports().map(|port| (key.clone(), port))).collect();
        for port in renew(&mut self.checked_ports_of, key, checked) {
            self.stages.authorities.mark(&mut self.graph, port);
        }
        let shows = view.iter().filter(|view| view.shows.is_some()).map(|_| key.clone()).collect();
        for gateway in renew(&mut self.showing, key, shows) {
            self.stages.shown.mark(&mut self.graph, gateway);
        }
        for port in renew(&mut self.ports_of, key, port_keys) {
            self.stages.ports.mark(&mut self.graph, port);
        }
        self.keep_settings(key, view.as_deref());
        self.points.set(&mut self.graph, key, view.as_deref());
        let told = view.as_ref().map(|view| view.told.clone()).unwrap_or_default();
        self.tell(User::Listeners(key.clone()), told);
        self.hosts.set_gateway(&mut self.graph, key, view.as_deref());
        let fleet = FleetKey(key.clone());
        if let Some(view) = view {
            outputs.fleets.entry(fleet.clone()).or_default();
            self.fleets.insert(fleet.clone());
            if self.config.hosting == Hosting::Pods && self.plans.get(&fleet) != Some(&view.plan) {
                self.plans.insert(fleet.clone(), view.plan.clone());
                outputs.plans.push((fleet, view.plan.clone()));
            }
        } else if self.fleets.remove(&fleet) {
            self.plans.remove(&fleet);
            self.facts.pods.set_absent(&mut self.graph, fleet.clone());
            outputs.removed_fleets.push(fleet);
        }
    }
}
