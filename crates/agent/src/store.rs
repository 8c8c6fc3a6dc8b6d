//! The last-acknowledged set on disk: a log of records, with an index in memory.
//!
//! ```text
//! put, remove --> one record appended --> index: type, name -> version, place in the log
//!                        '--> rewritten without what is superseded, when that is most of it
//! ```
//!
//! One change writes one record, whatever else there is. A process may die at any moment: each record carries a
//! checksum, and what follows the first bad one is cut off. Nothing is synchronised to a device, for there is none: the
//! directory is in memory, as secrets are in it, and ends with its pod.

mod log;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use self::log::{Log, Op, Place, Record};
use crate::relay::{Held, Shelf};

/// A log smaller than this is not worth rewriting.
const SMALL: u64 = 1 << 20;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in it cannot be used.
    #[error("open the store in {}: {source}", dir.display())]
    Open {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("open the store in {}: another process uses it", .0.display())]
    InUse(PathBuf),
}

/// The store.
#[derive(Debug)]
pub(crate) struct Store {
    log: Log,
    kinds: HashMap<String, Entries>,
    complete: BTreeSet<String>,
    /// Bytes of the records that count.
    live: u64,
    /// Times that the system refused to write, and everything was forgotten.
    pub(crate) failures: u64,
}

type Entries = HashMap<Arc<str>, Entry>;

#[derive(Debug)]
struct Entry {
    held: Held,
    place: Place,
}

impl Store {
    /// Opens the store in a directory, which is made if it is absent.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let (log, records) = Log::open(dir)?;
        let mut store = Self { log, kinds: HashMap::new(), complete: BTreeSet::new(), live: 0, failures: 0 };
        for (record, place) in records {
            store.index(record, place);
        }
        Ok(store)
    }

    /// How many resources are in it.
    pub(crate) fn len(&self) -> usize {
        self.kinds.values().map(HashMap::len).sum()
    }

    /// How large it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.log.end()
    }

    fn index(&mut self, record: Record, place: Place) {
        match record.op() {
            Op::Put | Op::Absent => {
                let held = match record.op() {
                    Op::Put => Held::Version(record.version.into()),
                    _ => Held::Absent,
                };
                self.live += place.len();
                let entries = self.kinds.entry(record.kind).or_default();
                let before = entries.insert(record.name.into(), Entry { held, place });
                self.live -= before.map_or(0, |entry| entry.place.len());
            }
            Op::Remove => {
                let before = self.kinds.get_mut(&record.kind).and_then(|of| of.remove(&*record.name));
                self.live -= before.map_or(0, |entry| entry.place.len());
            }
            Op::Complete => drop(self.complete.insert(record.kind)),
        }
    }

    /// Writes a record down. What cannot be written would be outdated later, so everything is forgotten then: the next
    /// stream to a controller brings it again.
    fn write(&mut self, record: Record) {
        match self.log.append(&record) {
            Ok(place) => self.index(record, place),
            Err(error) => return self.fail(&error),
        }
        if self.log.end() > SMALL
            && self.log.end() > 2 * self.live
            && let Err(error) = self.compact()
        {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.failures += 1;
        tracing::error!(
            "write the last-acknowledged configuration down: {error}; it is incomplete until the next stream"
        );
        self.kinds.clear();
        self.complete.clear();
        self.live = 0;
        if let Err(error) = self.log.clear() {
            tracing::error!("empty the store: {error}");
        }
    }

    fn compact(&mut self) -> io::Result<()> {
        let mut next = self.log.successor()?;
        for kind in &self.complete {
            next.append(&Record::complete(kind))?;
        }
        let mut places: Vec<&mut Place> =
            self.kinds.values_mut().flat_map(|of| of.values_mut().map(|entry| &mut entry.place)).collect();
        places.sort_unstable_by_key(|place| place.at());
        for place in places {
            *place = next.copy(&self.log, *place)?;
        }
        self.log.replace(next)
    }
}

impl Shelf for Store {
    fn held(&self, kind: &str, name: &str) -> Option<Held> {
        Some(self.kinds.get(kind)?.get(name)?.held.clone())
    }

    fn body(&self, kind: &str, name: &str) -> Option<Bytes> {
        let place = self.kinds.get(kind)?.get(name)?.place;
        match self.log.read(place) {
            Ok(record) => Some(record.body),
            Err(error) => {
                tracing::error!(name, "read the last-acknowledged configuration: {error}");
                None
            }
        }
    }

    fn names(&self, kind: &str) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.kinds.get(kind).into_iter().flat_map(HashMap::keys).cloned().collect();
        names.sort_unstable();
        names
    }

    fn kinds(&self) -> Vec<String> {
        let mut kinds: Vec<_> = self.kinds.keys().cloned().collect();
        kinds.sort_unstable();
        kinds
    }

    fn put(&mut self, kind: &str, name: &Arc<str>, held: &Held, body: &Bytes) {
        self.write(match held {
            Held::Version(version) => Record::put(kind, name, version, body.clone()),
            Held::Absent => Record::absent(kind, name),
        });
    }

    fn remove(&mut self, kind: &str, name: &str) {
        if self.held(kind, name).is_some() {
            self.write(Record::remove(kind, name));
        }
    }

    fn complete(&self, kind: &str) -> bool {
        self.complete.contains(kind)
    }

    fn set_complete(&mut self, kind: &str) {
        if !self.complete(kind) {
            self.write(Record::complete(kind));
        }
    }
}

#[cfg(test)]
mod tests;
