//! Ordered groups of contributions.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use crate::graph::{Dep, Graph, Reads, SourceId};
use crate::small_map::SmallMap;

/// One entry that changed in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<G, O, V> {
    /// The group.
    pub group: G,
    /// The entry's place in it.
    pub order: O,
    /// What was there.
    pub old: Option<V>,
    /// What is there now.
    pub new: Option<V>,
}

/// Contributions `(group, order, value)` of many sources, kept as one ordered map per group.
///
/// `order` must tell contributions of different sources apart (put the source's identity last): of two equal ones the
/// first that goes would take the other with it. An update costs the source's own contributions times the logarithm of the group.
#[derive(Debug)]
pub struct Index<S, G, O, V> {
    source: SourceId,
    /// What each source contributes now, sorted; exact mirror of `groups`.
    by_source: FxHashMap<S, Box<[(G, O)]>>,
    groups: FxHashMap<G, SmallMap<O, V>>,
    changes: Vec<Change<G, O, V>>,
    logs_changes: bool,
}

impl<S, G, O, V> Index<S, G, O, V>
where
    S: Eq + Hash,
    G: Clone + Eq + Hash + Ord,
    O: Clone + Ord,
    V: Clone + PartialEq,
{
    /// Makes an empty index.
    pub fn new(graph: &mut Graph, name: &'static str) -> Self {
        Self {
            source: graph.add_source(name),
            by_source: FxHashMap::default(),
            groups: FxHashMap::default(),
            changes: Vec::new(),
            logs_changes: false,
        }
    }

    /// As [`Index::new`], and keeps a log of changes for [`Index::take_changes`].
    pub fn with_log(graph: &mut Graph, name: &'static str) -> Self {
        Self { logs_changes: true, ..Self::new(graph, name) }
    }

    /// Replaces the contributions of a source.
    pub fn set(&mut self, graph: &mut Graph, source: S, mut entries: Vec<(G, O, V)>) {
        entries.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        let keys: Box<[(G, O)]> = entries.iter().map(|(g, o, _)| (g.clone(), o.clone())).collect();
        let old = if keys.is_empty() {
            self.by_source.remove(&source)
        } else {
            self.by_source.insert(source, keys.clone())
        };
        let old = old.unwrap_or_default();
        debug_assert!(self.has_no_other(&old, &keys), "two sources contribute the same entry");
        for (group, order) in old {
            if keys.binary_search_by(|k| (&k.0, &k.1).cmp(&(&group, &order))).is_err() {
                self.put(graph, group, order, None);
            }
        }
        for (group, order, value) in entries {
            self.put(graph, group, order, Some(value));
        }
    }

    /// Whether what comes new to a source is nobody's yet.
    fn has_no_other(&self, old: &[(G, O)], new: &[(G, O)]) -> bool {
        let mut others = new.iter().filter(|key| old.binary_search(key).is_err());
        others.all(|(group, order)| self.groups.get(group).is_none_or(|group| group.get(order).is_none()))
    }

    /// The key of a group as it is held here, where there is one: shared keys take no memory of their own.
    pub fn same_group(&self, group: G) -> G {
        self.groups.get_key_value(&group).map_or(group, |(held, _)| held.clone())
    }

    fn put(&mut self, graph: &mut Graph, group: G, order: O, new: Option<V>) {
        let entries = self.groups.entry(group.clone()).or_default();
        let old = match &new {
            Some(value) if entries.get(&order) == Some(value) => return,
            Some(value) => entries.insert(order.clone(), value.clone()),
            None => entries.remove(&order),
        };
        if entries.is_empty() {
            self.groups.remove(&group);
        }
        graph.touch(Dep::new(self.source, &group));
        if self.logs_changes {
            self.changes.push(Change { group, order, old, new });
        }
    }

    /// Reads a whole group; `None` when nobody contributes to it.
    pub fn get(&self, reads: &mut Reads, group: &G) -> Option<&SmallMap<O, V>> {
        reads.record(self.source, group);
        self.groups.get(group)
    }

    /// Looks without recording: for owners and tests, never for stage functions.
    pub fn peek(&self, group: &G) -> Option<&SmallMap<O, V>> {
        self.groups.get(group)
    }

    /// All groups in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&G, &SmallMap<O, V>)> {
        self.groups.iter()
    }

    /// The log since the last call (only with [`Index::with_log`]).
    pub fn take_changes(&mut self) -> Vec<Change<G, O, V>> {
        std::mem::take(&mut self.changes)
    }
}
