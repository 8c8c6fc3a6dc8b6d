//! What a stream knows about one resource type: subscription, versions, queue, responses in flight.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::resource::Label;

/// The state of one resource type on one stream.
// These are independent facts, not a state in disguise.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Default)]
pub(super) struct Sub {
    /// The client has sent a request for this type.
    pub(super) asked: bool,
    /// The client wants every resource of this type.
    pub(super) wildcard: bool,
    /// A fresh client still waits for its first, complete answer.
    pub(super) first: bool,
    /// Names that the client subscribed to, has, or was sent.
    pub(super) names: Names,
    pub(super) queue: Queue,
    /// Responses that are not answered, oldest first.
    pub(super) flights: VecDeque<Flight>,
    /// Groups to be sent again after a refusal, one response each.
    pub(super) retry: Vec<Vec<Arc<str>>>,
    /// Names that were refused alone while others were not answered.
    pub(super) provisional: Vec<Arc<str>>,
    /// What is refused alone now is bad.
    pub(super) last_round: bool,
    /// Names with bytes that this client refused.
    pub(super) refused: BTreeMap<Arc<str>, Refusal>,
}

/// What a stream knows about one name; kept small, there is one for each name and client.
#[derive(Debug)]
pub(super) struct Name {
    /// The name, and the version that was acknowledged or presented last.
    label: Arc<Label>,
    pub(super) subscribed: bool,
    /// A response with this name was refused: the client has the held version, the refused one, or none.
    pub(super) uncertain: bool,
    /// Responses with this name that are in flight.
    pub(super) flying: u16,
}

impl Name {
    fn new(name: &Arc<str>) -> Self {
        let label = Arc::new(Label { name: name.clone(), version: None });
        Self { label, subscribed: false, uncertain: false, flying: 0 }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.label.name
    }

    /// The version that was acknowledged or presented last.
    pub(super) fn held(&self) -> Option<&Arc<str>> {
        self.label.version.as_ref()
    }

    pub(super) fn hold(&mut self, label: Arc<Label>) {
        self.label = label;
    }

    pub(super) fn hold_nothing(&mut self) {
        if self.held().is_some() {
            self.label = Arc::new(Label { name: self.name().clone(), version: None });
        }
    }

    /// The client may have a resource of this name.
    pub(super) fn known(&self) -> bool {
        self.held().is_some() || self.uncertain || self.flying > 0
    }

    /// The client has exactly this version.
    pub(super) fn holds(&self, version: &str) -> bool {
        !self.uncertain && self.flying == 0 && self.held().is_some_and(|held| **held == *version)
    }

    fn idle(&self) -> bool {
        !self.subscribed && !self.known()
    }
}

/// What a stream knows about names. A map from names would have each name twice as a wide pointer: this has one thin
/// pointer to what all streams share.
#[derive(Debug, Default)]
pub(super) struct Names(HashTable<Name>);

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<&Name> {
        self.0.find(hash(name), |known| **known.name() == *name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Name> {
        self.0.find_mut(hash(name), |known| **known.name() == *name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Name> {
        self.0.iter()
    }

    fn or_new(&mut self, name: &Arc<str>) -> &mut Name {
        let same = |known: &Name| known.name() == name;
        let entry = self.0.entry(hash(name), same, |known| hash(known.name()));
        entry.or_insert_with(|| Name::new(name)).into_mut()
    }

    /// Forgets a name about which there is nothing to know.
    fn tidy(&mut self, name: &str) {
        if let Ok(known) = self.0.find_entry(hash(name), |known| **known.name() == *name)
            && known.get().idle()
        {
            known.remove();
        }
    }
}

fn hash(name: &str) -> u64 {
    FxBuildHasher.hash_one(name)
}

impl Sub {
    pub(super) fn name(&mut self, name: &Arc<str>) -> &mut Name {
        self.names.or_new(name)
    }

    pub(super) fn known(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(Name::known)
    }

    pub(super) fn subscribed(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|name| name.subscribed)
    }

    pub(super) fn tidy(&mut self, name: &str) {
        self.names.tidy(name);
    }
}

/// A response that waits for its acknowledgement.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) sent: Instant,
    pub(super) items: Vec<Item>,
    /// It is one of the groups that a refused response was split into.
    pub(super) retried: bool,
}

/// One name in a response.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: Arc<str>,
    /// The version sent, or nothing for a removal.
    pub(super) version: Option<Arc<str>>,
    /// The obligation that its acknowledgement ends; interim bytes end none.
    pub(super) stamp: Option<u64>,
    pub(super) seen: Option<Instant>,
}

/// Bytes that the client refused when they were sent alone.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) version: Arc<str>,
    /// Since when the client is behind on this name.
    pub(super) stamp: u64,
}

/// Something to be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    /// Log position at which the client fell behind on this name.
    pub(super) stamp: u64,
    /// To be sent even if the client has it.
    pub(super) force: bool,
    /// The client asked for it by name: always answered, at once.
    pub(super) answer: bool,
    /// Since when it waits for clusters to be warm.
    pub(super) held: Option<Instant>,
    /// It waited long enough.
    pub(super) expired: bool,
    pub(super) seen: Option<Instant>,
}

/// Names to be sent. A name that is in neither set waits for its gate.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) pending: BTreeMap<Arc<str>, Pending>,
    /// Pushes, which wait until nothing of the type is in flight.
    pub(super) ready: BTreeSet<Arc<str>>,
    /// Answers, which wait for nothing.
    pub(super) answers: BTreeSet<Arc<str>>,
}

impl Queue {
    /// Adds a name or merges with what is queued, whose stamp it returns.
    pub(super) fn add(&mut self, name: &Arc<str>, new: Pending) -> Option<u64> {
        let answer = new.answer;
        let before = self.pending.get(name).map(|old| old.stamp);
        if let Some(old) = self.pending.get_mut(name) {
            old.stamp = old.stamp.min(new.stamp);
            old.force |= new.force;
            old.answer |= new.answer;
            old.seen = old.seen.or(new.seen);
        } else {
            self.pending.insert(name.clone(), new);
        }
        if answer {
            self.ready.remove(name);
            self.answers.insert(name.clone());
        } else if !self.answers.contains(name) {
            self.ready.insert(name.clone());
        }
        before
    }

    /// Lets a name that waits be looked at again.
    pub(super) fn wake(&mut self, name: &Arc<str>) {
        if let Some(pending) = self.pending.get(name) {
            let set = if pending.answer { &mut self.answers } else { &mut self.ready };
            set.insert(name.clone());
        }
    }

    /// Keeps a name queued without looking at it until it is woken.
    pub(super) fn park(&mut self, name: &str) {
        self.ready.remove(name);
        self.answers.remove(name);
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Pending> {
        self.park(name);
        self.pending.remove(name)
    }

    /// True when nothing waits for a gate.
    pub(super) fn all_ready(&self) -> bool {
        self.pending.len() == self.ready.len() + self.answers.len()
    }
}
