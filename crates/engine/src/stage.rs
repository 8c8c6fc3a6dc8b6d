//! Memoised pure functions.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hashbrown::HashTable;

use crate::graph::{Dep, Graph, NodeRef, Reads, SourceId, full_hash};

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: Option<V>,
    deps: Box<[Dep]>,
}

/// A memo of a pure function per key.
///
/// A key exists from its first [`Stage::mark`] until the function returns `None` for it. It runs again when
/// something that it read changed, or when it is marked. `None` therefore means "the object is gone"; a
/// value that merely lacks a part belongs into `V`.
#[derive(Debug)]
pub struct Stage<K, V> {
    source: SourceId,
    /// Places in `nodes` by the key that stands there.
    slots: HashTable<u32>,
    nodes: Vec<Option<Node<K, V>>>,
    free: Vec<u32>,
    changed: Vec<K>,
    /// Slots whose last run met an unknown fact.
    holding: BTreeSet<u32>,
}

impl<K: Clone + Eq + Hash + Debug, V: PartialEq> Stage<K, V> {
    /// Makes an empty stage.
    pub fn new(graph: &mut Graph, name: &'static str) -> Self {
        Self {
            source: graph.add_source(name),
            slots: HashTable::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            changed: Vec::new(),
            holding: BTreeSet::new(),
        }
    }

    /// Schedules a key, new or known, for the next settle.
    pub fn mark(&mut self, graph: &mut Graph, key: K) {
        let slot = self.slot_of(key);
        graph.mark(NodeRef { stage: self.source, slot });
    }

    fn find(&self, key: &K) -> Option<u32> {
        let is_key = |slot: &u32| self.nodes[*slot as usize].as_ref().is_some_and(|node| node.key == *key);
        self.slots.find(full_hash(key), is_key).copied()
    }

    fn slot_of(&mut self, key: K) -> u32 {
        if let Some(slot) = self.find(&key) {
            return slot;
        }
        let hash = full_hash(&key);
        let node = Some(Node { key, value: None, deps: Box::default() });
        let slot = if let Some(slot) = self.free.pop() {
            self.nodes[slot as usize] = node;
            slot
        } else {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 keys fit in memory")
        };
        let Self { slots, nodes, .. } = self;
        // Places in the table are never empty: `drop_node` empties both.
        let hash_of = |slot: &u32| nodes[*slot as usize].as_ref().map_or(0, |node| full_hash(&node.key));
        slots.insert_unique(hash, slot, hash_of);
        slot
    }

    /// Forgets a key that nobody needs any more, with its reads.
    pub fn forget(&mut self, graph: &mut Graph, key: &K) {
        if let Some(slot) = self.find(key) {
            self.store(graph, slot, None);
        }
    }

    /// Runs all dirty keys. Cost: their function runs and the differences of their reads.
    pub fn settle(&mut self, graph: &mut Graph, mut function: impl FnMut(&mut Reads, &K) -> Option<V>) {
        for slot in graph.take_dirty(self.source) {
            self.run(graph, slot, &mut function);
        }
    }

    fn run(&mut self, graph: &mut Graph, slot: u32, function: &mut impl FnMut(&mut Reads, &K) -> Option<V>) {
        let Some(node) = self.nodes[slot as usize].as_mut() else { return };
        let mut reads = graph.recorder();
        let outcome = catch_unwind(AssertUnwindSafe(|| function(&mut reads, &node.key)));
        let (deps, unknown) = reads.finish();
        if *node.deps != *deps {
            graph.replace_reads(NodeRef { stage: self.source, slot }, &node.deps, deps);
            node.deps = deps.into();
        }
        graph.give_back(reads);
        graph.counters_mut(self.source).computed += 1;
        match outcome {
            Err(panic) => graph.record_panic(self.source, format!("{:?}", node.key), text_of(&*panic)),
            Ok(_) if unknown => {
                graph.counters_mut(self.source).held += 1;
                self.holding.insert(slot);
            }
            Ok(value) => {
                self.holding.remove(&slot);
                self.store(graph, slot, value);
            }
        }
    }

    fn store(&mut self, graph: &mut Graph, slot: u32, value: Option<V>) {
        let Some(node) = self.nodes[slot as usize].as_mut() else { return };
        let gone = value.is_none();
        if node.value != value {
            node.value = value;
            graph.counters_mut(self.source).changed += 1;
            graph.touch(Dep::new(self.source, &node.key));
            self.changed.push(node.key.clone());
        }
        if gone {
            self.drop_node(graph, slot);
        }
    }

    fn drop_node(&mut self, graph: &mut Graph, slot: u32) {
        if let Some(node) = self.nodes[slot as usize].take() {
            graph.replace_reads(NodeRef { stage: self.source, slot }, &node.deps, &[]);
            let place = self.slots.find_entry(full_hash(&node.key), |other| *other == slot);
            place.ok().map(hashbrown::hash_table::OccupiedEntry::remove);
            self.holding.remove(&slot);
            self.free.push(slot);
        }
    }

    /// Reads the value of a key.
    pub fn get(&self, reads: &mut Reads, key: &K) -> Option<&V> {
        reads.record(self.source, key);
        self.peek(key)
    }

    /// Looks without recording: for owners and tests, never for stage functions.
    pub fn peek(&self, key: &K) -> Option<&V> {
        let slot = self.find(key)?;
        self.nodes[slot as usize].as_ref()?.value.as_ref()
    }

    /// All values in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.nodes.iter().flatten().filter_map(|node| Some((&node.key, node.value.as_ref()?)))
    }

    /// Keys whose last run met an unknown fact: what they have is what they had before, or nothing.
    pub fn holding(&self) -> impl Iterator<Item = &K> {
        let nodes = self.holding.iter().filter_map(|slot| self.nodes[*slot as usize].as_ref());
        nodes.map(|node| &node.key)
    }

    /// Keys whose value changed since the last call, in order of change; a key may stand there twice.
    pub fn take_changed(&mut self) -> Vec<K> {
        std::mem::take(&mut self.changed)
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}
