//! Memoised pure functions.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustc_hash::FxHashMap;

use crate::graph::{Dep, Graph, NodeRef, Reads, SourceId, key_hash};

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: Option<V>,
    deps: Vec<Dep>,
}

/// A memo of a pure function per key.
///
/// A key exists from its first [`Stage::mark`] until the function returns `None` for it. It runs again when
/// something that it read changed, or when it is marked. `None` therefore means "the object is gone"; a
/// value that merely lacks a part belongs into `V`.
#[derive(Debug)]
pub struct Stage<K, V> {
    source: SourceId,
    slots: FxHashMap<K, u32>,
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
            slots: FxHashMap::default(),
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

    fn slot_of(&mut self, key: K) -> u32 {
        if let Some(slot) = self.slots.get(&key) {
            return *slot;
        }
        let node = Some(Node { key: key.clone(), value: None, deps: Vec::new() });
        let slot = if let Some(slot) = self.free.pop() {
            self.nodes[slot as usize] = node;
            slot
        } else {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 keys fit in memory")
        };
        self.slots.insert(key, slot);
        slot
    }

    /// Forgets a key that nobody needs any more, with its reads.
    pub fn forget(&mut self, graph: &mut Graph, key: &K) {
        if let Some(slot) = self.slots.get(key).copied() {
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
        let mut reads = Reads::default();
        let outcome = catch_unwind(AssertUnwindSafe(|| function(&mut reads, &node.key)));
        let (deps, unknown) = reads.finish();
        let this = NodeRef { stage: self.source, slot };
        graph.replace_reads(this, &node.deps, &deps);
        node.deps = deps;
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
            graph.touch(Dep { source: self.source, key: key_hash(&node.key) });
            self.changed.push(node.key.clone());
        }
        if gone {
            self.drop_node(graph, slot);
        }
    }

    fn drop_node(&mut self, graph: &mut Graph, slot: u32) {
        if let Some(node) = self.nodes[slot as usize].take() {
            graph.replace_reads(NodeRef { stage: self.source, slot }, &node.deps, &[]);
            self.slots.remove(&node.key);
            self.holding.remove(&slot);
            self.free.push(slot);
        }
    }

    /// Reads the value of a key.
    pub fn get(&self, reads: &mut Reads, key: &K) -> Option<&V> {
        reads.record(self.source, key_hash(key));
        self.peek(key)
    }

    /// Looks without recording: for owners and tests, never for stage functions.
    pub fn peek(&self, key: &K) -> Option<&V> {
        let slot = *self.slots.get(key)?;
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
