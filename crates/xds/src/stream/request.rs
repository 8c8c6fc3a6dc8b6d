//! Requests: what the client subscribes to, and what it brings along.

use std::collections::BTreeSet;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use gatehouse_model::{ResourceType, Target};

use super::Stream;
use super::sub::Pending;
use crate::resource::table_of;
use crate::table::Table;

/// The name that stands for all resources of a type.
const EVERYTHING: &str = "*";

impl Stream {
    pub(super) fn request(&mut self, request: &DeltaDiscoveryRequest, table: &Table) {
        let Some(kind) = ResourceType::from_type_url(&request.type_url) else {
            tracing::debug!(type_url = request.type_url, "request for a type that is not served");
            return;
        };
        if !request.response_nonce.is_empty() {
            self.reply(kind, request, table);
        }
        if self.subs[kind].asked {
            for name in &request.resource_names_unsubscribe {
                self.unsubscribe(kind, name, table);
            }
            for name in &request.resource_names_subscribe {
                self.subscribe(kind, name, table);
            }
        } else {
            self.first_request(kind, request, table);
        }
    }

    fn first_request(&mut self, kind: ResourceType, request: &DeltaDiscoveryRequest, table: &Table) {
        let named = &request.resource_names_subscribe;
        let brought = &request.initial_resource_versions;
        // A proxy that reconnects while a cluster warms asks for clusters last: it may need what it seems to have.
        let warming = matches!(kind, ResourceType::Endpoint | ResourceType::Secret)
            && !self.subs[ResourceType::Cluster].asked
            && !brought.is_empty();
        let sub = &mut self.subs[kind];
        sub.asked = true;
        sub.wildcard = kind.wildcard() && (named.is_empty() || named.iter().any(|name| name == EVERYTHING));
        // An empty answer about virtual hosts would open listeners that have no routes yet.
        sub.first = sub.wildcard && brought.is_empty() && kind != ResourceType::VirtualHost;
        let mut has = BTreeSet::new();
        for (name, version) in brought {
            let label = table.label(kind, name, version);
            has.insert(label.name.clone());
            sub.name(&label.name.clone()).hold(label);
        }
        for name in named.iter().filter(|name| *name != EVERYTHING) {
            let name = shared_name(kind, name, table);
            self.subs[kind].name(&name).subscribed = true;
            // Its cluster may have been sent before this request came.
            let needed =
                kind == ResourceType::Endpoint && self.may_warm(&name) && table.entry(kind, &name).is_some();
            if warming || needed || !has.contains(&name) {
                let stamp = table.seq();
                self.queue(kind, &name, Pending { stamp, answer: true, force: true, ..Pending::default() });
            }
        }
        self.compare(kind, has, table);
        self.find_zombies(kind, table);
        if kind == ResourceType::Listener {
            self.check_all_warm();
        }
    }

    /// Queues the differences between what the client brought and the table. The client may have been behind for any
    /// time, so these are the oldest obligations.
    fn compare(&mut self, kind: ResourceType, brought: BTreeSet<Arc<str>>, table: &Table) {
        for name in &brought {
            if kind == ResourceType::RouteConfiguration && self.subs[kind].subscribed(name) {
                self.tables.insert(name.clone());
                self.queue_virtual_hosts(name, false, table);
            }
            match kind {
                ResourceType::Cluster if !self.differs(kind, name, table) => {
                    self.cluster_presented(name, table);
                }
                ResourceType::Endpoint => self.endpoints_presented(name),
                _ => {}
            }
            self.held_changed(kind, name, table);
        }
        let mut names = brought;
        if kind == ResourceType::VirtualHost {
            let tables = self.tables.iter().flat_map(|name| table.virtual_hosts(name));
            names.extend(tables.cloned());
        } else if self.subs[kind].wildcard {
            names.extend(table.names(kind).cloned());
        }
        for name in names {
            if kind == ResourceType::Cluster {
                self.cluster_changed(&name, table);
            } else if self.differs(kind, &name, table) {
                // What is held back until others are settled must not look older than they are.
                let stamp = if kind.names_clusters() { 0 } else { table.seq() };
                self.queue(kind, &name, Pending { stamp, ..Pending::default() });
            }
        }
    }

    /// What Envoy took from a response that it refused is not among the versions that it brings. It is known from the
    /// stream before, or because Envoy asks for the endpoints. If it is no more, Envoy must be told.
    fn find_zombies(&mut self, kind: ResourceType, table: &Table) {
        let doubts = std::mem::take(&mut self.doubts);
        let (here, later) = doubts.into_iter().partition(|(of, _)| *of == kind);
        self.doubts = later;
        let clusters = &self.subs[ResourceType::Cluster];
        let wanted =
            self.subs[ResourceType::Endpoint].names.iter().filter(|name| clusters.asked && name.subscribed);
        let wanted = wanted.map(|name| (ResourceType::Cluster, name.name().clone()));
        let mut zombies: BTreeSet<Target> = here;
        zombies.extend(wanted);
        zombies.retain(|(of, name)| !self.subs[*of].known(name));
        for (of, name) in zombies {
            self.subs[of].name(&name).uncertain = true;
            if table.contains(of, &name) {
                continue; // It is sent anyway.
            }
            if of == ResourceType::Cluster {
                self.begin_departure(&name, table.seq(), table);
            } else {
                self.queue(of, &name, Pending { stamp: table.seq(), ..Pending::default() });
            }
        }
    }

    fn differs(&self, kind: ResourceType, name: &str, table: &Table) -> bool {
        let known = self.subs[kind].names.get(name);
        match table.entry(kind, name) {
            Some(entry) => {
                self.wants(kind, name) && !known.is_some_and(|name| name.holds(&entry.resource.version))
            }
            None => known.is_some(),
        }
    }

    /// The client has a route configuration: its virtual hosts find a place now. Envoy does not ask for them again when
    /// it already asked once, and believes to have those that it got in an earlier life of the route configuration.
    pub(super) fn queue_virtual_hosts(&mut self, route: &str, force: bool, table: &Table) {
        let kind = ResourceType::VirtualHost;
        if !self.subs[kind].asked {
            return;
        }
        for name in table.virtual_hosts(route) {
            if force || self.differs(kind, name, table) {
                let stamp = if force { table.seq() } else { 0 };
                self.queue(kind, name, Pending { stamp, force, answer: true, ..Pending::default() });
            }
        }
    }

    fn subscribe(&mut self, kind: ResourceType, name: &str, table: &Table) {
        let stamp = table.seq();
        let pending = Pending { stamp, answer: true, force: true, ..Pending::default() };
        if name == EVERYTHING {
            self.subs[kind].wildcard = true;
            for name in table.names(kind) {
                if self.wants(kind, name) {
                    self.queue(kind, name, pending.clone());
                }
            }
            return;
        }
        let name = shared_name(kind, name, table);
        self.subs[kind].name(&name).subscribed = true;
        self.queue(kind, &name, pending);
    }

    /// The client dropped the resource, whatever version it had.
    fn unsubscribe(&mut self, kind: ResourceType, name: &str, table: &Table) {
        let sub = &mut self.subs[kind];
        if name == EVERYTHING {
            sub.wildcard = false;
            return;
        }
        let Some(state) = sub.names.get_mut(name) else { return };
        let name = state.name().clone();
        state.subscribed = false;
        if !sub.wildcard {
            state.hold_nothing();
            state.uncertain = false;
        }
        sub.tidy(&name);
        self.drop_queued(kind, &name);
        self.clear_refusal(kind, &name);
        self.held_changed(kind, &name, table);
        if kind == ResourceType::RouteConfiguration && self.tables.remove(&name) {
            self.withdraw_virtual_hosts(&name, table);
        }
    }

    /// Envoy dropped these with their route configuration, but would say that it has them when it reconnects.
    fn withdraw_virtual_hosts(&mut self, route: &str, table: &Table) {
        let kind = ResourceType::VirtualHost;
        let known =
            self.subs[kind].names.iter().filter(|name| name.known() && table_of(name.name()) == Some(route));
        let names: BTreeSet<Arc<str>> = known.map(|name| name.name().clone()).collect();
        for name in names {
            self.queue(kind, &name, Pending { stamp: table.seq(), ..Pending::default() });
        }
    }
}

/// The table's own handle of a name, where it has it: a thousand clients share it.
fn shared_name(kind: ResourceType, name: &str, table: &Table) -> Arc<str> {
    table.entry(kind, name).map_or_else(|| name.into(), |entry| entry.resource.name.clone())
}
