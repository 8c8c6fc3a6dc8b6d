//! Counts of sources by group.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::hash::Hash;

use rustc_hash::FxHashMap;

use crate::graph::{Dep, Graph, Reads, SourceId};

/// How many sources stand in each group: an [`crate::Index`] of which only the sizes are read.
#[derive(Debug)]
pub struct Tally<S, G> {
    source: SourceId,
    /// The groups of each source, sorted; `counts` is their sum.
    by_source: FxHashMap<S, Box<[G]>>,
    counts: FxHashMap<G, usize>,
}

impl<S: Eq + Hash, G: Clone + Eq + Hash + Ord> Tally<S, G> {
    /// Makes an empty tally.
    pub fn new(graph: &mut Graph, name: &'static str) -> Self {
        let source = graph.add_source(name);
        Self { source, by_source: FxHashMap::default(), counts: FxHashMap::default() }
    }

    /// Replaces the groups that a source stands in. Cost: the source's own groups.
    pub fn set(&mut self, graph: &mut Graph, source: S, groups: BTreeSet<G>) {
        let groups: Box<[G]> = groups.into_iter().collect();
        let old = if groups.is_empty() {
            self.by_source.remove(&source)
        } else {
            self.by_source.insert(source, groups.clone())
        };
        let old = old.unwrap_or_default();
        for group in groups.iter().filter(|group| old.binary_search(group).is_err()) {
            *self.counts.entry(group.clone()).or_default() += 1;
            graph.touch(Dep::new(self.source, group));
        }
        for group in old.iter().filter(|group| groups.binary_search(group).is_err()) {
            if let Some(count) = self.counts.get_mut(group) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(group);
                }
            }
            graph.touch(Dep::new(self.source, group));
        }
    }

    /// Reads the count of a group.
    pub fn count<Q: Eq + Hash + ?Sized>(&self, reads: &mut Reads, group: &Q) -> usize
    where
        G: Borrow<Q>,
    {
        reads.record(self.source, group);
        self.counts.get(group).copied().unwrap_or_default()
    }
}
