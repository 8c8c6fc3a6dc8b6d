//! A small incremental engine: tables of facts, indexes, stages of pure functions with recorded reads.
//!
//! ```text
//!   Table (facts) --reads--> Stage --reads--> Stage --contributions--> Index (ordered groups)
//!        |                     |
//!        +--- touch(key) ------+--> Graph: who read this key? -> dirty keys of later stages
//! ```
//!
//! - A [`Table`] holds facts by key; a key is unknown, absent or present.
//! - A [`Stage`] memoises a pure function per key. While the function runs, [`Reads`] records what it
//!   looked at. Only keys whose reads changed run again, and an equal result stops the wave (early cut-off).
//! - An [`Index`] keeps contributions of many sources in ordered groups: secondary indexes and sorted
//!   concatenations alike. An update costs what it changes. A [`Tally`] keeps only their counts.
//! - [`Graph`] knows who read what, by 48-bit hashes of the keys: a collision costs a needless
//!   recomputation, never a missed one.
//!
//! The owner calls stages in a fixed order, each after everything that it reads; there are no cycles, no
//! locks, no threads and no I/O here.
//!
//! ```
//! use gatehouse_engine::{Graph, Missing, Stage, Table};
//!
//! let mut graph = Graph::default();
//! let mut names: Table<u32, String> = Table::new(&mut graph, "names", Missing::Absent);
//! let mut lengths: Stage<u32, usize> = Stage::new(&mut graph, "lengths");
//!
//! names.set(&mut graph, 1, "one".into());
//! lengths.mark(&mut graph, 1);
//! lengths.settle(&mut graph, |reads, id| names.get(reads, id).map(String::len));
//! assert_eq!(lengths.peek(&1), Some(&3));
//!
//! names.set(&mut graph, 1, "two".into());
//! lengths.settle(&mut graph, |reads, id| names.get(reads, id).map(String::len));
//! assert_eq!(lengths.take_changed(), vec![1]); // from the first settle only: the length stayed 3
//! assert_eq!(graph.counters("lengths").computed, 2);
//! ```

mod graph;
mod index;
mod small_map;
mod stage;
mod table;
mod tally;

pub use graph::{Counters, Graph, Panicked, Reads};
pub use index::{Change, Index};
pub use small_map::SmallMap;
pub use stage::Stage;
pub use table::{Fact, Missing, Table};
pub use tally::Tally;

#[cfg(test)]
mod tests;
