//! What Envoy asked for, has and is being sent, of one type.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::Shelf;
use crate::wire::Request;

/// The name that stands for everything of a type.
pub(super) const EVERYTHING: &str = "*";

/// What is known about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// This version.
    Version(Arc<str>),
    /// There is no such resource.
    Absent,
}

/// One type on Envoy's stream.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) url: String,
    pub(super) wildcard: bool,
    /// Names that Envoy subscribes to one by one.
    pub(super) explicit: BTreeSet<Arc<str>>,
    /// What Envoy acknowledged on this stream, or brought along.
    pub(super) held: HashMap<Arc<str>, Held>,
    /// Names that were asked for and are in no answer yet.
    pub(super) waiting: BTreeSet<Arc<str>>,
    /// Envoy has acknowledged an answer, or brought one along.
    pub(super) answered: bool,
    /// Responses that Envoy did not answer, oldest first.
    pub(super) flights: Vec<Flight>,
    /// It was asked for on the present stream to the controller.
    pub(super) attached: bool,
    /// Names whose bytes from the shelf Envoy refused on this stream.
    pub(super) refused: BTreeSet<Arc<str>>,
}

/// A response that waits for its acknowledgement.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) nonce: String,
    pub(super) source: Source,
    pub(super) items: Vec<Item>,
    pub(super) removed: Vec<Arc<str>>,
}

/// Who gave a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Shelf,
    Controller { epoch: u64, nonce: String },
}

/// A resource in a response.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: Arc<str>,
    pub(super) version: Arc<str>,
    /// The encoded `Resource`.
    pub(super) body: Bytes,
}

impl Flight {
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.items.iter().map(|item| &item.name).chain(&self.removed)
    }
}

impl Kind {
    /// The first request of a type on a stream says what Envoy wants and has.
    pub(super) fn first(request: &Request) -> Self {
        let named = &request.subscribe;
        let brought = &request.initial_resource_versions;
        let explicit: BTreeSet<Arc<str>> =
            named.iter().filter(|name| *name != EVERYTHING).map(|name| name.as_str().into()).collect();
        let unknown = explicit.iter().filter(|name| !brought.contains_key(&***name));
        let held = brought
            .iter()
            .map(|(name, version)| (Arc::from(name.as_str()), Held::Version(Arc::from(version.as_str()))));
        Self {
            url: request.type_url.clone(),
            wildcard: named.is_empty() || named.iter().any(|name| name == EVERYTHING),
            waiting: unknown.cloned().collect(),
            held: held.collect(),
            explicit,
            answered: !brought.is_empty(),
            flights: Vec::new(),
            attached: false,
            refused: BTreeSet::new(),
        }
    }

    /// A later request changes what Envoy wants.
    pub(super) fn merge(&mut self, request: &Request, store: &mut dyn Shelf) {
        for name in &request.unsubscribe {
            if name == EVERYTHING {
                self.wildcard = false;
                continue;
            }
            self.explicit.remove(&**name);
            self.waiting.remove(&**name);
            if !self.wildcard {
                self.held.remove(&**name);
                store.remove(&self.url, name);
            }
        }
        for name in &request.subscribe {
            if name == EVERYTHING {
                self.wildcard = true;
                continue;
            }
            let name: Arc<str> = name.as_str().into();
            self.explicit.insert(name.clone());
            self.waiting.insert(name);
        }
    }

    /// Envoy has what a response says.
    pub(super) fn accept(&mut self, flight: Flight, store: &mut dyn Shelf) {
        self.answered = true;
        if self.wildcard && !store.complete(&self.url) {
            store.set_complete(&self.url);
        }
        for Item { name, version, body } in flight.items {
            if self.wildcard || self.explicit.contains(&name) {
                self.hold(name, Held::Version(version), &body, store);
            }
        }
        for name in flight.removed {
            if !self.wildcard && self.explicit.contains(&name) {
                self.hold(name, Held::Absent, &Bytes::new(), store);
            } else {
                self.held.remove(&name);
                store.remove(&self.url, &name);
            }
        }
    }

    fn hold(&mut self, name: Arc<str>, held: Held, body: &Bytes, store: &mut dyn Shelf) {
        if store.held(&self.url, &name).as_ref() != Some(&held) {
            store.put(&self.url, &name, &held, body);
        }
        self.held.insert(name, held);
    }

    /// Envoy wants everything, and nothing is on its way.
    pub(super) fn unanswered(&self) -> bool {
        self.wildcard && !self.answered && self.flights.is_empty()
    }

    /// The request that makes a controller go on where Envoy is; nothing while Envoy wants nothing.
    pub(super) fn introduction(&self, store: &dyn Shelf) -> Option<Request> {
        let mut subscribe: Vec<String> = self.explicit.iter().map(ToString::to_string).collect();
        match (self.wildcard, subscribe.is_empty()) {
            (true, false) => subscribe.insert(0, EVERYTHING.to_owned()),
            (false, true) => return None,
            _ => {}
        }
        Some(Request {
            type_url: self.url.clone(),
            subscribe,
            initial_resource_versions: self.presentable(store),
            ..Request::default()
        })
    }

    /// Versions that Envoy has and whose bytes are on the shelf: what is not there has to be sent again.
    fn presentable(&self, store: &dyn Shelf) -> BTreeMap<String, String> {
        let versions = self.held.iter().filter_map(|(name, held)| match held {
            Held::Version(version) if store.held(&self.url, name).as_ref() == Some(held) => {
                Some((name.to_string(), version.to_string()))
            }
            Held::Version(_) | Held::Absent => None,
        });
        versions.collect()
    }
}
