//! Answers from the shelf, while no controller gives any.
//!
//! Envoy asks in the order that makes before it breaks; only virtual hosts are pushed, as it asks for them once and needs
//! those of each table that it gets. What is not on the shelf is not invented: Envoy waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use gatehouse_model::ResourceType;
use gatehouse_xds::table_of;

use super::kind::{Flight, Held, Item, Source};
use super::{Phase, Relay, Shelf};
use crate::wire::Response;

/// Said instead of a revision.
const STORED: &str = "last acknowledged";

impl Relay {
    /// When the shelf answers for a controller that does not; nothing if it does answer, or there is nothing to answer.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        if !self.envoy || self.link.spoke {
            return None;
        }
        let since = self.demand?.max(self.link.since);
        Some(since + self.timing.silence)
    }

    pub(super) fn serve_locally(&mut self, store: &dyn Shelf) {
        if !self.envoy || !(self.link.phase == Phase::Lost || self.link.silent) {
            return;
        }
        for at in 0..self.kinds.len() {
            let kind = &self.kinds[at];
            if kind.url == ResourceType::VirtualHost.type_url() {
                continue;
            }
            if kind.unanswered() && store.complete(&kind.url) {
                let names = self.servable(at, store.names(&kind.url), store);
                self.serve(at, names, store);
            } else if !kind.waiting.is_empty() {
                let names = self.servable(at, kind.waiting.iter().cloned().collect(), store);
                if !names.is_empty() {
                    self.serve(at, names, store);
                }
            }
        }
        if std::mem::take(&mut self.hosts_due) {
            self.serve_hosts(store);
        }
    }

    /// Names of which the shelf knows something that Envoy did not refuse.
    fn servable(&self, at: usize, mut names: Vec<Arc<str>>, store: &dyn Shelf) -> Vec<Arc<str>> {
        let kind = &self.kinds[at];
        names.retain(|name| !kind.refused.contains(name) && store.held(&kind.url, name).is_some());
        names
    }

    /// The virtual hosts of tables that Envoy has: others it would drop, and believe to have.
    fn serve_hosts(&mut self, store: &dyn Shelf) {
        let find = |kind: ResourceType| self.kinds.iter().position(|known| known.url == kind.type_url());
        let (Some(at), Some(routes)) =
            (find(ResourceType::VirtualHost), find(ResourceType::RouteConfiguration))
        else {
            return;
        };
        let (hosts, tables) = (&self.kinds[at], &self.kinds[routes].held);
        let flying: HashSet<&Arc<str>> = hosts.flights.iter().flat_map(Flight::names).collect();
        let mut names = store.names(&hosts.url);
        names.retain(|name| {
            let table = table_of(name).and_then(|table| tables.get(table));
            let lacking = !hosts.held.contains_key(name) && !flying.contains(name);
            lacking && matches!(table, Some(Held::Version(_)))
        });
        let names = self.servable(at, names, store);
        if !names.is_empty() {
            self.serve(at, names, store);
        }
    }

    fn serve(&mut self, at: usize, names: Vec<Arc<str>>, store: &dyn Shelf) {
        let url = self.kinds[at].url.clone();
        let (mut items, mut removed) = (Vec::new(), Vec::new());
        for name in names {
            match store.held(&url, &name) {
                Some(Held::Version(version)) => {
                    items.extend(store.body(&url, &name).map(|body| Item { name, version, body }));
                }
                Some(Held::Absent) => removed.push(name),
                None => {}
            }
        }
        self.serve_items(at, items, removed);
    }

    fn serve_items(&mut self, at: usize, items: Vec<Item>, removed: Vec<Arc<str>>) {
        self.served += 1;
        self.out.from_shelf += 1;
        let response = Response {
            system_version_info: STORED.to_owned(),
            resources: items.iter().map(|item| item.body.clone()).collect(),
            type_url: self.kinds[at].url.clone(),
            nonce: String::new(),
            removed_resources: removed.iter().map(ToString::to_string).collect(),
        };
        let nonce = format!("store.{}", self.served);
        self.send(at, Flight { nonce, source: Source::Shelf, items, removed }, response);
    }

    /// Envoy refused a whole response for one bad resource: halves of it are tried until that stands alone.
    pub(super) fn split(&mut self, at: usize, flight: Flight) {
        let Flight { mut items, removed, .. } = flight;
        if items.len() <= 1 {
            self.kinds[at].refused.extend(items.into_iter().map(|item| item.name));
            if !removed.is_empty() {
                self.serve_items(at, Vec::new(), removed);
            }
            return;
        }
        let rest = items.split_off(items.len() / 2);
        self.serve_items(at, items, removed);
        self.serve_items(at, rest, Vec::new());
    }
}
