//! Envoy listeners and their certificates, as they are handed out.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_model::{FleetKey, ResourceType, RouteKey};

use super::{SecretUser, World, unique};
use crate::backends::may_use;
use crate::names;
use crate::output::{Outputs, Resource, SecretKey, Watch, WatchKey};
use crate::ports::{self, Emitted, PortState, edges, port};

impl World {
    pub(super) fn settle_ports(&mut self, outputs: &mut Outputs) {
        let Self { config, graph, stages, streams, .. } = self;
        let (certificates, pairs) = (&stages.certificates, &stages.pairs);
        let authorities = &stages.authorities;
        let traced = &stages.traced;
        let sources = ports::Sources { config, certificates, pairs, authorities, streams, traced };
        stages.ports.settle(graph, |reads, key| port(sources, &stages.gateways, reads, key));
        self.emit_ports(outputs);
        self.emit_secrets(outputs);
    }

    fn emit_ports(&mut self, outputs: &mut Outputs) {
        for key in unique(self.stages.ports.take_changed()) {
            let out = outputs.fleets.entry(key.fleet.clone()).or_default();
            let new = self.stages.ports.peek(&key).and_then(PortState::serving).cloned();
            let secrets = new.iter().flat_map(|port| &port.secrets);
            let uses = secrets.map(|secret| (key.fleet.clone(), secret.clone())).collect();
            self.secrets_used.set(&SecretUser::Port(key.clone()), uses);
            match new {
                Some(port) => {
                    out.watches.push((WatchKey::Port(key.clone()), Some(port.watch.clone())));
                    if let Some(old) = self.emitted_ports.get_mut(&key) {
                        out.edges.extend(edges(Some(&old.port.layout), Some(&port.layout)));
                        let facts = &self.facts;
                        let allowed = |route: &RouteKey, cluster: &str| may_use(facts, route, cluster);
                        out.upserts.push(old.replace(&self.config, port, &allowed));
                    } else {
                        out.edges.extend(edges(None, Some(&port.layout)));
                        out.upserts.push((*port.listener).clone());
                        self.emitted_ports.insert(key, Emitted::first(port));
                    }
                }
                None => {
                    if let Some(old) = self.emitted_ports.remove(&key) {
                        out.edges.extend(edges(Some(&old.port.layout), None));
                        out.removals.push((ResourceType::Listener, old.port.listener.name.clone()));
                        let watch = WatchKey::Port(key);
                        out.watches.push((watch.clone(), None));
                        self.facts.held.set_absent(&mut self.graph, watch);
                    }
                }
            }
        }
    }

    fn emit_secrets(&mut self, outputs: &mut Outputs) {
        let rotated = self.stages.pairs.take_changed().into_iter().map(SecretKey::Pair);
        let renewed = self.stages.authorities.take_changed().into_iter();
        let renewed = renewed.map(|(gateway, port)| SecretKey::Clients(gateway, port));
        let mut dirty: BTreeSet<(FleetKey, SecretKey)> = BTreeSet::new();
        for secret in rotated.chain(renewed) {
            dirty.extend(self.secrets_used.fleets(&secret).map(|fleet| (fleet.clone(), secret.clone())));
        }
        dirty.extend(self.secrets_used.take_changed().into_iter().map(|(fleet, secret, _)| (fleet, secret)));
        for (fleet, secret) in dirty {
            let out = outputs.fleets.entry(fleet.clone()).or_default();
            let used = self.secrets_used.uses(&fleet, &secret);
            let key = WatchKey::Secret(fleet, secret.clone());
            if let Some(resource) = self.secret(&secret).filter(|_| used) {
                let needs = vec![(resource.kind, resource.name.clone(), resource.version.clone())];
                out.watches.push((key, Some(Watch { digest: resource.version.clone(), needs })));
                out.upserts.push((**resource).clone());
            } else {
                out.watches.push((key.clone(), None));
                self.facts.held.set_absent(&mut self.graph, key);
                out.removals.push((ResourceType::Secret, names::secret(&secret).0));
            }
        }
    }

    /// What proxies get under this key now.
    fn secret(&self, key: &SecretKey) -> Option<&Arc<Resource>> {
        match key {
            SecretKey::Pair(secret) => self.stages.pairs.peek(secret)?.usable(),
            SecretKey::Clients(gateway, port) => {
                self.stages.authorities.peek(&(gateway.clone(), *port))?.secret.as_ref()
            }
        }
    }
}
