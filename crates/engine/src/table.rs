//! Facts by key.

use std::cell::RefCell;
use std::hash::Hash;

use rustc_hash::FxHashMap;

use crate::graph::{Dep, Graph, KeyHash, Reads, SourceId};

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact<V> {
    /// Not read yet.
    Unknown,
    /// Known not to exist.
    Absent,
    /// Exists.
    Present(V),
}

/// What a key without an entry means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nobody looked yet: readers hold.
    Unknown,
    /// The table is complete: the key does not exist.
    Absent,
}

/// Facts by key. Who sets equal facts wakes nobody.
#[derive(Debug)]
pub struct Table<K, V> {
    source: SourceId,
    /// Who reads here wants a key: those who merely read it do not keep it wanted.
    wants: SourceId,
    missing: Missing,
    /// `None` = known to be absent although the table is not complete.
    entries: FxHashMap<K, Option<V>>,
    changed: Vec<K>,
    /// Names behind the hashes of wanted keys; filled by [`Table::want`], emptied when nobody wants them.
    wanted: RefCell<FxHashMap<KeyHash, K>>,
}

impl<K: Clone + Eq + Hash, V: PartialEq> Table<K, V> {
    /// Makes an empty table.
    pub fn new(graph: &mut Graph, name: &'static str, missing: Missing) -> Self {
        let (source, wants) = (graph.add_source(name), graph.add_source(name));
        if missing == Missing::Unknown {
            graph.track_wants(wants);
        }
        Self {
            source,
            wants,
            missing,
            entries: FxHashMap::default(),
            changed: Vec::new(),
            wanted: RefCell::default(),
        }
    }

    /// Sets a fact; returns whether it differs from what was known.
    pub fn set(&mut self, graph: &mut Graph, key: K, value: V) -> bool {
        self.put(graph, key, Some(value))
    }

    /// Says that a key does not exist.
    pub fn set_absent(&mut self, graph: &mut Graph, key: K) -> bool {
        match self.missing {
            Missing::Absent => {
                let gone = self.entries.remove(&key).is_some();
                if gone {
                    self.wake(graph, key);
                }
                gone
            }
            Missing::Unknown => self.put(graph, key, None),
        }
    }

    /// Forgets what is known of a key: it is missing again.
    pub fn forget(&mut self, graph: &mut Graph, key: &K) -> bool {
        let known = self.entries.remove(key).is_some();
        if known {
            self.wake(graph, key.clone());
        }
        known
    }

    /// From now on a missing key is absent. Wakes all readers once.
    pub fn complete(&mut self, graph: &mut Graph) {
        if self.missing == Missing::Unknown {
            self.missing = Missing::Absent;
            self.entries.retain(|_, value| value.is_some());
            graph.touch_all(self.source);
        }
    }

    fn put(&mut self, graph: &mut Graph, key: K, value: Option<V>) -> bool {
        if self.entries.get(&key) == Some(&value) {
            return false;
        }
        self.entries.insert(key.clone(), value);
        self.wake(graph, key);
        true
    }

    fn wake(&mut self, graph: &mut Graph, key: K) {
        graph.touch(Dep::new(self.source, &key));
        self.changed.push(key);
    }

    /// Reads a fact. An unknown one makes the reading stage hold and reads as `None`.
    pub fn get(&self, reads: &mut Reads, key: &K) -> Option<&V> {
        match self.fact(reads, key) {
            Fact::Present(value) => Some(value),
            Fact::Absent => None,
            Fact::Unknown => {
                reads.hold();
                None
            }
        }
    }

    /// Reads a fact and tells unknown from absent without holding.
    pub fn fact(&self, reads: &mut Reads, key: &K) -> Fact<&V> {
        reads.record(self.source, key);
        match self.entries.get(key) {
            Some(Some(value)) => Fact::Present(value),
            None if self.missing == Missing::Unknown => Fact::Unknown,
            Some(None) | None => Fact::Absent,
        }
    }

    /// Reads a fact like [`Table::get`] and tells the fetchers that somebody needs it.
    pub fn want(&self, reads: &mut Reads, key: &K) -> Option<&V> {
        self.wanted.borrow_mut().entry(KeyHash::of(key)).or_insert_with(|| key.clone());
        reads.record(self.wants, key);
        self.get(reads, key)
    }

    /// Whether somebody needs a key, as of the last [`Table::take_want_changes`].
    pub fn is_wanted(&self, key: &K) -> bool {
        self.wanted.borrow().contains_key(&KeyHash::of(key))
    }

    /// Keys that became wanted (`true`) or are wanted no more (`false`) since the last call.
    pub fn take_want_changes(&mut self, graph: &mut Graph) -> Vec<(K, bool)> {
        let wanted = self.wanted.get_mut();
        let mut changes = Vec::new();
        for (hash, has_readers) in graph.take_want_log(self.wants) {
            let key = if has_readers { wanted.get(&hash).cloned() } else { wanted.remove(&hash) };
            changes.extend(key.map(|key| (key, has_readers)));
        }
        changes
    }

    /// Looks without recording: for owners and tests, never for stage functions.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).and_then(Option::as_ref)
    }

    /// Present facts in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)))
    }

    /// Keys that changed since the last call, in order of change; a key may stand there twice.
    pub fn take_changed(&mut self) -> Vec<K> {
        std::mem::take(&mut self.changed)
    }
}
