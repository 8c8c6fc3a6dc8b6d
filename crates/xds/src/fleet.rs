//! A fleet's table and clients, shared between its committer and its streams.
//!
//! The table stands behind a read-write lock rather than being published as an immutable snapshot: a snapshot would be
//! a copy of the maps (or a slower persistent map) for every commit, while a stream looks at the table only for the
//! time it takes to queue what changed, takes handles of shared bytes, and encodes them after it let go. The standard
//! lock prefers a waiting writer, so a committer waits at most for the streams that are inside now, which are no more
//! than there are worker threads. Locks are taken in the order table, clients.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use gatehouse_model::Target;
use tokio::sync::watch;

use crate::clients::{Clients, StreamId};
use crate::event::{FleetId, What};
use crate::stream::{Input, Output, Stream};
use crate::table::{Commit, Table, WatchChange};

/// One fleet.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) id: FleetId,
    table: RwLock<Table>,
    clients: Mutex<Clients>,
    revision: watch::Sender<State>,
    /// What clients that went away may have without saying so, by node identifier; taken by their next stream.
    doubts: Mutex<BTreeMap<String, BTreeSet<Target>>>,
}

/// Clients that went away with doubts and are remembered.
const MAX_DOUBTERS: usize = 1024;

/// What streams wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The table's revision; zero: there is no complete snapshot yet, nothing may be served.
    pub(crate) revision: u64,
    /// The fleet is no more.
    pub(crate) removed: bool,
}

impl Fleet {
    pub(crate) fn new(id: FleetId) -> Self {
        let (revision, _) = watch::channel(State { revision: 0, removed: false });
        Self { id, table: RwLock::default(), clients: Mutex::default(), revision, doubts: Mutex::default() }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.revision.subscribe()
    }

    pub(crate) fn ready(&self) -> bool {
        self.revision.borrow().revision > 0
    }

    pub(crate) fn commit(&self, commit: Commit, now: Instant) -> (u64, Vec<What>) {
        let watches = commit.watches.iter().map(WatchChange::id).collect();
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let mut news = self.clients().refusals_again(&commit.upserts, &table);
        let revision = table.apply(commit, now);
        news.extend(self.clients().committed(watches, &table));
        drop(table);
        self.revision.send_modify(|state| state.revision = revision);
        (revision, news)
    }

    pub(crate) fn remove(&self) {
        self.revision.send_modify(|state| state.removed = true);
    }

    /// Ends when the fleet is removed.
    pub(crate) async fn removed(self: Arc<Self>) {
        // The sender lives in this fleet, so the channel cannot close.
        let _ = self.subscribe().wait_for(|state| state.removed).await;
    }

    pub(crate) fn handle(
        &self,
        id: StreamId,
        stream: &mut Stream,
        input: &Input<'_>,
        now: Instant,
    ) -> (Output, Vec<What>) {
        let table = self.table();
        let mut output = stream.handle(input, &table, now);
        let notices = std::mem::take(&mut output.notices);
        let holdings = std::mem::take(&mut output.holdings);
        if notices.is_empty() && holdings.is_empty() {
            return (output, Vec::new());
        }
        let mut clients = self.clients();
        let mut news = clients.noticed(id, notices, &table);
        news.extend(clients.holds(id, holdings, &table));
        (output, news)
    }

    pub(crate) fn connect(&self, id: StreamId) -> Vec<What> {
        self.clients().connect(id)
    }

    pub(crate) fn disconnect(&self, id: StreamId) -> Vec<What> {
        let table = self.table();
        self.clients().disconnect(id, &table)
    }

    pub(crate) fn keep_doubts(&self, node: &str, doubts: BTreeSet<Target>) {
        let mut all = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        if !doubts.is_empty() && all.len() < MAX_DOUBTERS {
            all.insert(node.to_owned(), doubts);
        }
    }

    pub(crate) fn take_doubts(&self, node: &str) -> BTreeSet<Target> {
        let mut all = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(node).unwrap_or_default()
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
