//! Who read what, and what must run again.

use std::hash::{BuildHasher, Hash};

use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

/// Something that can be read: a table, index or stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SourceId(u16);

/// One key of a source, by hash: the source in the upper 16 bits, a [`KeyHash`] below. There are several for each
/// memo, so their size counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Dep(u64);

/// The upper 48 bits of a key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    pub(crate) fn of<K: Hash + ?Sized>(key: &K) -> Self {
        Self(full_hash(key) >> u16::BITS)
    }
}

impl Dep {
    const KEY_BITS: u32 = u64::BITS - u16::BITS;

    pub(crate) fn new<K: Hash + ?Sized>(source: SourceId, key: &K) -> Self {
        Self::of_hash(source, KeyHash::of(key))
    }

    fn of_hash(source: SourceId, key: KeyHash) -> Self {
        Self(u64::from(source.0) << Self::KEY_BITS | key.0)
    }

    fn key(self) -> KeyHash {
        KeyHash(self.0 & (u64::MAX >> u16::BITS))
    }

    /// The place of its source in [`Graph::sources`].
    fn source(self) -> usize {
        usize::from((self.0 >> Self::KEY_BITS) as u16)
    }
}

/// One memo slot of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeRef {
    pub(crate) stage: SourceId,
    pub(crate) slot: u32,
}

/// Most keys have one reader; a class or a hot listener has thousands.
#[derive(Debug)]
enum Readers {
    One(NodeRef),
    Many(Box<FxHashSet<NodeRef>>),
}

/// How much a stage did since the graph was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Function runs.
    pub computed: u64,
    /// Runs whose result differed from the memo.
    pub changed: u64,
    /// Runs that met an unknown fact and kept their last value.
    pub held: u64,
}

/// A stage function panicked; the key kept its last value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// The stage.
    pub stage: &'static str,
    /// The key in debug form.
    pub key: String,
    /// The panic's message.
    pub message: String,
}

#[derive(Debug, Default)]
struct Source {
    name: &'static str,
    counters: Counters,
    /// Slots of this stage that must run again.
    dirty: FxHashSet<u32>,
    /// Whether gained and lost readers are logged (tables whose facts are fetched on demand).
    tracks_wants: bool,
    /// Keys whose first reader came or whose last one left, since the last drain.
    want_log: FxHashSet<KeyHash>,
}

/// The bookkeeping that all tables, indexes and stages of one world share.
#[derive(Debug, Default)]
pub struct Graph {
    sources: Vec<Source>,
    /// Readers of each key; kept exact by [`Graph::replace_reads`].
    readers: FxHashMap<Dep, Readers>,
    panics: Vec<Panicked>,
    /// Room for the reads of the next run.
    spare: Vec<Dep>,
}

impl Graph {
    pub(crate) fn add_source(&mut self, name: &'static str) -> SourceId {
        let id = u16::try_from(self.sources.len()).expect("a world has a few dozen sources");
        self.sources.push(Source { name, ..Source::default() });
        SourceId(id)
    }

    /// What the stage of this name did so far; zero for an unknown name.
    pub fn counters(&self, stage: &str) -> Counters {
        self.sources.iter().find(|s| s.name == stage).map(|s| s.counters).unwrap_or_default()
    }

    /// Name and counters of all stages that ever ran, in the order of their creation.
    pub fn all_counters(&self) -> impl Iterator<Item = (&'static str, Counters)> + '_ {
        self.sources.iter().filter(|s| s.counters.computed > 0).map(|s| (s.name, s.counters))
    }

    /// Panics caught since the last call.
    pub fn take_panics(&mut self) -> Vec<Panicked> {
        std::mem::take(&mut self.panics)
    }

    /// Marks every reader of a key as dirty. Cost: the number of readers.
    pub(crate) fn touch(&mut self, dep: Dep) {
        match self.readers.get(&dep) {
            None => {}
            Some(Readers::One(node)) => {
                self.sources[usize::from(node.stage.0)].dirty.insert(node.slot);
            }
            Some(Readers::Many(nodes)) => {
                for node in &**nodes {
                    self.sources[usize::from(node.stage.0)].dirty.insert(node.slot);
                }
            }
        }
    }

    /// Marks every reader of every key of a source. Cost: the whole graph; only for a source's first completion.
    pub(crate) fn touch_all(&mut self, source: SourceId) {
        let deps: Vec<Dep> =
            self.readers.keys().filter(|dep| dep.source() == usize::from(source.0)).copied().collect();
        for dep in deps {
            self.touch(dep);
        }
    }

    pub(crate) fn mark(&mut self, node: NodeRef) {
        self.sources[usize::from(node.stage.0)].dirty.insert(node.slot);
    }

    /// Dirty slots of a stage in ascending order, so that runs are repeatable.
    pub(crate) fn take_dirty(&mut self, stage: SourceId) -> Vec<u32> {
        let dirty = &mut self.sources[usize::from(stage.0)].dirty;
        if dirty.is_empty() {
            return Vec::new();
        }
        let mut slots: Vec<u32> = dirty.drain().collect();
        slots.sort_unstable();
        slots
    }

    pub(crate) fn counters_mut(&mut self, stage: SourceId) -> &mut Counters {
        &mut self.sources[usize::from(stage.0)].counters
    }

    pub(crate) fn record_panic(&mut self, stage: SourceId, key: String, message: String) {
        let stage = self.sources[usize::from(stage.0)].name;
        self.panics.push(Panicked { stage, key, message });
    }

    /// Swaps the reads of a node. `old` and `new` are sorted; only their difference costs.
    pub(crate) fn replace_reads(&mut self, node: NodeRef, old: &[Dep], new: &[Dep]) {
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            match (old.get(i), new.get(j)) {
                (Some(a), Some(b)) if a == b => {
                    i += 1;
                    j += 1;
                }
                (Some(a), b) if b.is_none_or(|b| a < b) => {
                    self.remove_reader(*a, node);
                    i += 1;
                }
                (_, Some(b)) => {
                    self.add_reader(*b, node);
                    j += 1;
                }
                (_, None) => break,
            }
        }
    }

    fn add_reader(&mut self, dep: Dep, node: NodeRef) {
        use std::collections::hash_map::Entry;
        match self.readers.entry(dep) {
            Entry::Vacant(entry) => {
                entry.insert(Readers::One(node));
                self.log_want(dep);
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Readers::One(first) => {
                    let both = [*first, node].into_iter().collect();
                    entry.insert(Readers::Many(Box::new(both)));
                }
                Readers::Many(nodes) => {
                    nodes.insert(node);
                }
            },
        }
    }

    fn remove_reader(&mut self, dep: Dep, node: NodeRef) {
        let last = match self.readers.get_mut(&dep) {
            None => false,
            Some(Readers::One(_)) => true,
            Some(Readers::Many(nodes)) => {
                nodes.remove(&node);
                nodes.is_empty()
            }
        };
        if last {
            self.readers.remove(&dep);
            self.log_want(dep);
        }
    }

    fn log_want(&mut self, dep: Dep) {
        let source = &mut self.sources[dep.source()];
        if source.tracks_wants {
            source.want_log.insert(dep.key());
        }
    }

    /// A recorder for one run; [`Graph::give_back`] it.
    pub(crate) fn recorder(&mut self) -> Reads {
        Reads { deps: std::mem::take(&mut self.spare), unknown: false }
    }

    pub(crate) fn give_back(&mut self, reads: Reads) {
        self.spare = reads.deps;
        self.spare.clear();
    }

    pub(crate) fn track_wants(&mut self, source: SourceId) {
        self.sources[usize::from(source.0)].tracks_wants = true;
    }

    /// Keys that gained their first or lost their last reader: (hash, has readers now).
    pub(crate) fn take_want_log(&mut self, source: SourceId) -> Vec<(KeyHash, bool)> {
        let log = std::mem::take(&mut self.sources[usize::from(source.0)].want_log);
        let has_readers = |key| self.readers.contains_key(&Dep::of_hash(source, key));
        log.into_iter().map(|key| (key, has_readers(key))).collect()
    }
}

/// The recorder that a stage function gets: every look at a table, index or stage goes through it.
#[derive(Debug, Default)]
pub struct Reads {
    deps: Vec<Dep>,
    unknown: bool,
}

impl Reads {
    pub(crate) fn record<K: Hash + ?Sized>(&mut self, source: SourceId, key: &K) {
        self.deps.push(Dep::new(source, key));
    }

    /// Says that the outcome depends on a fact that is not known yet: the stage will keep its last value.
    pub fn hold(&mut self) {
        self.unknown = true;
    }

    /// The reads in order, each once, and whether one of them met an unknown fact.
    pub(crate) fn finish(&mut self) -> (&[Dep], bool) {
        self.deps.sort_unstable();
        self.deps.dedup();
        (&self.deps, self.unknown)
    }
}

pub(crate) fn full_hash<K: Hash + ?Sized>(key: &K) -> u64 {
    FxBuildHasher.hash_one(key)
}
