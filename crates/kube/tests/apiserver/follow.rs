//! Follows a source as the graph does, and remembers what it said.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_api::{Object, ObjectRef};
use gatehouse_kube::Api;
use gatehouse_kube::health::Health;
use gatehouse_kube::source::{Source, SourceConfig, SourceEvent, SourceHandle};
use gatehouse_kube::status::StatusObserver;
use gatehouse_translate::{Change, PodSelection};
use tokio::sync::mpsc;

use super::support::PATIENCE;

/// What is known of an object that was heard of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fact {
    Present(Box<Object>),
    Absent,
    Unknown,
}

pub(super) struct Follow {
    pub(super) handle: SourceHandle,
    pub(super) health: Health,
    events: mpsc::Receiver<SourceEvent>,
    pub(super) facts: BTreeMap<ObjectRef, Fact>,
    /// Selections of pods that were answered.
    pub(super) selected: BTreeSet<PodSelection>,
    /// How often `Synced` came.
    pub(super) synced: u32,
    pub(super) removals: u32,
    /// The last question that was answered.
    pub(super) caught_up: u64,
    pub(super) trust_bundles: bool,
}

impl Follow {
    pub(super) fn start(api: Api, config: SourceConfig) -> Self {
        Self::observed(api, config, None)
    }

    pub(super) fn observed(api: Api, config: SourceConfig, observer: Option<StatusObserver>) -> Self {
        let health = Health::default();
        let (handle, events) = Source::start(api, config, observer, health.clone());
        Self {
            handle,
            health,
            events,
            facts: BTreeMap::new(),
            selected: BTreeSet::new(),
            synced: 0,
            removals: 0,
            caught_up: 0,
            trust_bundles: false,
        }
    }

    /// Reads on until the facts are as they should be.
    pub(super) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(self) {
                let event = self.events.recv().await.expect("the source runs");
                self.take(event);
            }
        });
        let came = waited.await.is_ok();
        assert!(came, "never: {what}; troubles: {:?}", self.health.watch().borrow());
    }

    pub(super) async fn synced(&mut self) {
        self.until("synced", |follow| follow.synced == 1).await;
    }

    fn take(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Synced => self.synced += 1,
            SourceEvent::CaughtUp(question) => self.caught_up = question,
            SourceEvent::Changes(changes) => {
                for change in changes {
                    match change {
                        Change::Upsert(object) => {
                            self.facts.insert(object.key(), Fact::Present(object));
                        }
                        Change::Remove(id) => {
                            self.removals += 1;
                            self.facts.insert(id, Fact::Absent);
                        }
                        Change::Selected(selection) => {
                            self.selected.insert(selection);
                        }
                        Change::Forget(id) => {
                            self.facts.insert(id, Fact::Unknown);
                        }
                        Change::TrustBundles(served) => self.trust_bundles = served,
                    }
                }
            }
        }
    }

    /// What is known of an object by its kind, namespace and name.
    pub(super) fn fact(&self, kind: &str, namespace: &str, name: &str) -> Option<&Fact> {
        self.facts
            .iter()
            .find(|(id, _)| {
                (id.kind.as_str(), id.namespace.as_str(), id.name.as_str()) == (kind, namespace, name)
            })
            .map(|(_, fact)| fact)
    }

    pub(super) fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<&Object> {
        match self.fact(kind, namespace, name) {
            Some(Fact::Present(object)) => Some(object),
            _ => None,
        }
    }

    /// The hostname of a route of ours.
    pub(super) fn hostname(&self, namespace: &str, name: &str) -> Option<&str> {
        match self.object("HTTPRoute", namespace, name)? {
            Object::HTTPRoute(route) => route.spec.hostnames.first().map(String::as_str),
            _ => None,
        }
    }
}
