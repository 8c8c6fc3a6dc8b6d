//! What a listener names, and what it may be while clusters that it names are not ready.
//!
//! As with virtual hosts (`vhosts/meanwhile.rs`), what a change takes away goes at once, and what gains a cluster waits.
//! The unit is the filter chain: it stays as it was meanwhile, or rejects its connections where it must not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_model::listener::{EnvoyListener, FilterChain, Handler, ListenerSettings};
use gatehouse_model::{Body, Edge, Interim, ResourceType, RouteKey};

use super::{Port, encode};
use crate::config::Config;
use crate::output::Resource;

/// Whether a route may still use a cluster.
pub(crate) type Allowed<'a> = &'a dyn Fn(&RouteKey, &str) -> bool;

/// A port that was handed out.
#[derive(Debug)]
pub(crate) struct Emitted {
    pub(crate) port: Arc<Port>,
    /// What proxies may have until the port's clusters are ready.
    meanwhile: Arc<EnvoyListener>,
}

impl Emitted {
    /// A port that proxies know nothing of.
    pub(crate) fn first(port: Arc<Port>) -> Self {
        Self { meanwhile: port.layout.clone(), port }
    }

    /// A proxy holds what was handed out last.
    pub(crate) fn held(&mut self) {
        self.meanwhile = self.port.layout.clone();
    }

    /// The port is another one now. Returns the listener as it is to be handed out.
    pub(crate) fn replace(&mut self, config: &Config, new: Arc<Port>, allowed: Allowed<'_>) -> Resource {
        let mut resource = (*new.listener).clone();
        let chains = Chains::of(&new.layout);
        let waiting = chains.waiting(&self.meanwhile);
        let stand_ins = chains.meanwhile(&self.meanwhile, &waiting, allowed);
        let changed = self.port.layout.chains.iter().filter(|old| !new.layout.chains.contains(old));
        let mut had = self.meanwhile.chains.iter().chain(changed);
        let settings = self.settings_meanwhile(&new);
        if had.any(|old| !stand_ins.contains(old)) {
            resource.interim = Some(Arc::new(if waiting.is_empty() && settings == new.layout.settings {
                self.meanwhile = new.layout.clone();
                Interim::Whole
            } else {
                let layout = EnvoyListener { chains: stand_ins, settings, ..(*new.layout).clone() };
                let bytes = encode(config, &layout);
                let body = Body { version: gatehouse_envoy::version(&bytes), bytes };
                let clusters = names(&layout).into_keys().cloned().collect();
                self.meanwhile = Arc::new(layout);
                Interim::Instead { body, clusters }
            }));
        }
        self.port = new;
        resource
    }
}

impl Emitted {
    /// Those of before, while the collector of spans is awaited.
    fn settings_meanwhile(&self, new: &Port) -> Arc<ListenerSettings> {
        let known = names(&self.meanwhile);
        let collector = new.layout.settings.tracing.as_ref().map(|tracing| &tracing.cluster.0);
        let waits = collector.is_some_and(|collector| !known.contains_key(collector));
        if waits { self.meanwhile.settings.clone() } else { new.layout.settings.clone() }
    }
}

/// The chains of a listener by name.
struct Chains<'a>(BTreeMap<&'a str, &'a FilterChain>);

impl<'a> Chains<'a> {
    fn of(listener: &'a EnvoyListener) -> Self {
        Self(listener.chains.iter().map(|chain| (&*chain.name, chain)).collect())
    }

    /// Those that name a cluster which was not named before.
    fn waiting(&self, before: &EnvoyListener) -> BTreeSet<&'a str> {
        let known = names(before);
        let gains = |chain: &&&FilterChain| chain.handler.clusters().any(|c| !known.contains_key(&c.0));
        self.0.values().filter(gains).map(|chain| &*chain.name).collect()
    }

    /// All chains with what stands in for those that wait: what was there before, if it still may be. A chain that is
    /// gone stays for the chain of its route that covers its server name and waits.
    fn meanwhile(
        &self,
        before: &EnvoyListener,
        waiting: &BTreeSet<&str>,
        allowed: Allowed<'_>,
    ) -> Vec<FilterChain> {
        let before = Chains::of(before);
        let mut all = Vec::new();
        for (name, chain) in &self.0 {
            if !waiting.contains(name) {
                all.push((*chain).clone());
            } else if let Some(old) = before.0.get(name) {
                all.push(if may_stay(old, allowed) { (*old).clone() } else { rejecting(old) });
            }
        }
        let gone = before.0.values().filter(|old| !self.0.contains_key(&*old.name));
        let moved = gone.filter(|old| self.follows(old, waiting) && may_stay(old, allowed));
        all.extend(moved.map(|old| (*old).clone()));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Whether a chain that waits is for the connections of one that is gone.
    fn follows(&self, old: &FilterChain, waiting: &BTreeSet<&str>) -> bool {
        let mut waiting = waiting.iter().filter_map(|name| self.0.get(name));
        waiting.any(|new| {
            route_of(new).is_some()
                && route_of(new) == route_of(old)
                && new.server_name.covers(&old.server_name)
        })
    }
}

fn route_of(chain: &FilterChain) -> Option<&RouteKey> {
    match &chain.handler {
        Handler::Http(_) => None,
        Handler::Stream(forward) => forward.route.as_ref(),
    }
}

fn may_stay(chain: &FilterChain, allowed: Allowed<'_>) -> bool {
    let route = route_of(chain);
    chain.handler.clusters().all(|cluster| route.is_some_and(|route| allowed(route, &cluster.0)))
}

fn rejecting(chain: &FilterChain) -> FilterChain {
    FilterChain { tls: None, handler: Handler::Stream(Arc::default()), ..chain.clone() }
}

/// The clusters that a listener names, with how often it does.
fn names(listener: &EnvoyListener) -> BTreeMap<&Arc<str>, i32> {
    let mut names = BTreeMap::new();
    let collector = listener.settings.tracing.as_ref().map(|tracing| &tracing.cluster);
    for cluster in listener.chains.iter().flat_map(|chain| chain.handler.clusters()).chain(collector) {
        *names.entry(&cluster.0).or_default() += 1;
    }
    names
}

/// How a listener's naming of clusters changes. Connections may last: a cluster that is named no more stays for long.
pub(crate) fn edges(old: Option<&EnvoyListener>, new: Option<&EnvoyListener>) -> Vec<Edge> {
    let Some(listener) = old.or(new) else { return Vec::new() };
    let mut deltas = new.map(names).unwrap_or_default();
    for (cluster, count) in old.map(names).unwrap_or_default() {
        *deltas.entry(cluster).or_default() -= count;
    }
    let edge = |(cluster, delta): (&Arc<str>, i32)| Edge {
        from: (ResourceType::Listener, listener.name.clone()),
        cluster: cluster.clone(),
        delta,
        linger: gatehouse_envoy::encode::UNLIMITED,
    };
    deltas.into_iter().filter(|(_, delta)| *delta != 0).map(edge).collect()
}
