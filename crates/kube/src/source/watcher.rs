//! One list and watch, for ever: what is there, trimmed, as changes.
//!
//! ```text
//! list (paged) -> changes, then Remove for what vanished -> watch from that version -> changes
//!      ^------------------------ 410: the version is no longer kept <------'
//! ```
//!
//! Invariants: an API server that is away changes nothing (a failed list removes nothing, a failed watch goes on from the
//! last version); what vanished counts only after a complete list; `known` holds exactly what was handed out.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use gatehouse_model::NamespacedName;
use gatehouse_translate::Change;
use kube::core::WatchEvent;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::SourceEvent;
use super::members::{Members, NamesSender};
use super::page::{Head, Page};
use crate::api::{Api, Target};
use crate::backoff::Backoff;
use crate::error::{Cause, Error};
use crate::health::Health;
use crate::kinds::{Kind, Need};
use crate::status::StatusObserver;

/// The API server sends a bookmark about every minute: a stream that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(90);
/// A watch that lived for this long was a good one.
const LIVED: Duration = Duration::from_secs(5);
/// So many refused watches in a row, and the version that they go on from is not believed any more.
const RELIST_AFTER: u32 = 10;
/// Events that are handed on as one batch at most.
const BATCH: usize = 256;

/// What to watch.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) kind: &'static Kind,
    pub(super) version: &'static str,
    /// Empty for all.
    pub(super) namespace: Arc<str>,
    /// A field selector on the name, which access rules by name permit.
    pub(super) name: Option<Arc<str>>,
    /// A label selector.
    pub(super) labels: Option<Arc<str>>,
    /// Who of them counts.
    pub(super) members: Option<Members>,
}

impl Selection {
    pub(super) fn whole(kind: &'static Kind, version: &'static str, namespace: Arc<str>) -> Self {
        Self { kind, version, namespace, name: None, labels: None, members: None }
    }

    fn target(&self) -> Target<'_> {
        let namespace = if self.kind.namespaced { &*self.namespace } else { "" };
        Target::all(self.kind.resource(self.version), namespace)
    }

    /// The selectors as a query.
    fn query(&self) -> Vec<(&'static str, String)> {
        let name = self.name.iter().map(|name| ("fieldSelector", format!("metadata.name={name}")));
        let labels = self.labels.iter().map(|labels| ("labelSelector", labels.to_string()));
        name.chain(labels).collect()
    }
}

/// Where it all goes. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    pub(super) changes: mpsc::Sender<SourceEvent>,
    pub(super) observer: Option<StatusObserver>,
    pub(super) health: Health,
}

/// Where a watcher stands, for those who wait for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The first list is not complete.
    Listing,
    /// It is, or it never will be for want of rights to something optional.
    Listed,
}

/// A list and watch of one selection.
#[derive(Debug)]
pub(super) struct Watcher {
    api: Api,
    selection: Selection,
    page_size: u32,
    sink: Sink,
    /// Bounds how many list at once.
    gate: Option<Arc<Semaphore>>,
    progress: watch::Sender<Progress>,
    /// Names of the objects, for those whose scope they are.
    names: Option<NamesSender>,
    /// Whether it was said that what is asked for cannot be read.
    forgotten: bool,
    /// What was handed out and not removed.
    known: BTreeSet<NamespacedName>,
    /// Subject of our troubles.
    subject: String,
}

impl Drop for Watcher {
    /// However a watcher ends, its troubles end with it.
    fn drop(&mut self) {
        self.sink.health.clear(&self.subject);
    }
}

/// How a watch ended without an error.
enum End {
    /// The API server closed it, as it does after a while.
    Closed,
    /// More objects belong to us than before: list again.
    Relist,
}

impl Watcher {
    pub(super) fn new(api: Api, selection: Selection, page_size: u32, sink: Sink) -> Self {
        let target = selection.target();
        let mut operation = target.operation("watch");
        selection.name.as_deref().unwrap_or_default().clone_into(&mut operation.name);
        let subject = operation.to_string();
        Self {
            api,
            selection,
            page_size,
            sink,
            gate: None,
            progress: watch::Sender::new(Progress::Listing),
            names: None,
            forgotten: false,
            known: BTreeSet::new(),
            subject,
        }
    }

    pub(super) fn gated(mut self, gate: Arc<Semaphore>) -> Self {
        self.gate = Some(gate);
        self
    }

    pub(super) fn publish_names(mut self, names: NamesSender) -> Self {
        self.names = Some(names);
        self
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Runs until nobody listens, or until `withdraw` says that the kind is gone: then all that is known is removed.
    pub(super) async fn run(mut self, mut withdraw: watch::Receiver<bool>) {
        let withdrawn = async {
            // A sender that is dropped withdraws nothing: we are being shut down.
            if withdraw.wait_for(|gone| *gone).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let changes = self.sink.changes.clone();
        tokio::select! {
            () = self.follow_for_ever() => {}
            () = changes.closed() => {}
            () = withdrawn => self.withdraw().await,
        }
    }

    async fn follow_for_ever(&mut self) {
        if let Some(members) = &mut self.selection.members {
            members.ready().await;
        }
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            match self.list().await {
                Ok(version) => {
                    self.well();
                    self.listed();
                    backoff.reset();
                    self.follow(version, &mut backoff).await;
                }
                Err(error) => {
                    self.failed(&error).await;
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    /// Watches from a version on until a new list is needed.
    async fn follow(&mut self, mut version: String, backoff: &mut Backoff) {
        let mut refused = 0;
        loop {
            let opened = Instant::now();
            match self.watch(&mut version).await {
                Ok(End::Closed) => {}
                Ok(End::Relist) | Err(Error { cause: Cause::Gone, .. }) => return,
                Err(error) => {
                    if !matches!(error.cause, Cause::Unreachable(_)) {
                        refused += 1;
                    }
                    self.failed(&error).await;
                    if refused >= RELIST_AFTER {
                        return;
                    }
                }
            }
            if opened.elapsed() > LIVED {
                backoff.reset();
                refused = 0;
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Lists everything, page by page; nothing is removed before the last one. Returns the version of the list.
    async fn list(&mut self) -> Result<String, Error> {
        let gate = self.gate.clone();
        let _permit = match &gate {
            Some(gate) => gate.acquire().await.ok(),
            None => None,
        };
        if let Some(members) = &mut self.selection.members {
            members.refresh();
        }
        let mut seen = BTreeSet::new();
        let mut token = String::new();
        let version = loop {
            let text = self.page(&token).await?;
            let page = Page::parse(&text).map_err(|e| self.unreadable(&e))?;
            let mut changes = Vec::with_capacity(page.items.len());
            for item in &page.items {
                if let Some(key) = self.take(item, &mut changes) {
                    seen.insert(key);
                }
            }
            let (next, version) = (page.next, page.version);
            self.known.extend(seen.iter().cloned());
            self.hand_on(changes).await;
            match next {
                Some(next) => token = next,
                None => break version,
            }
        };
        self.settle(seen).await;
        Ok(version)
    }

    async fn page(&self, token: &str) -> Result<String, Error> {
        let mut query = self.selection.query();
        query.push(("limit", self.page_size.to_string()));
        if !token.is_empty() {
            query.push(("continue", token.to_owned()));
        }
        let query: Vec<_> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        self.api.list(&self.selection.target(), &query).await
    }

    /// After a complete list: what is known and was not seen is gone, what was asked for by name and not seen is absent.
    async fn settle(&mut self, seen: BTreeSet<NamespacedName>) {
        let mut gone: BTreeSet<_> = self.known.difference(&seen).cloned().collect();
        gone.extend(self.asked_for().into_iter().filter(|key| !seen.contains(key)));
        self.known = seen;
        self.remove(gone).await;
        self.publish();
    }

    /// The objects that are asked for by name.
    fn asked_for(&self) -> Vec<NamespacedName> {
        let namespace = &self.selection.namespace;
        let members = self.selection.members.as_ref().map(Members::asked_for).unwrap_or_default();
        let names = self.selection.name.iter().chain(&members);
        names.map(|name| NamespacedName::new(namespace.clone(), name.clone())).collect()
    }

    /// Follows the stream of events from `version` on, which it keeps current.
    async fn watch(&mut self, version: &mut String) -> Result<End, Error> {
        let mut query = self.selection.query();
        query.push(("watch", "true".into()));
        query.push(("allowWatchBookmarks", "true".into()));
        query.push(("resourceVersion", version.clone()));
        query.push(("timeoutSeconds", self.lifetime().to_string()));
        let query: Vec<_> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let stream = self.api.watch(&self.selection.target(), &query).await?;
        self.well();
        let mut batches = pin!(stream.ready_chunks(BATCH));
        let mut members = self.selection.members.clone();
        loop {
            let batch = tokio::select! {
                batch = tokio::time::timeout(SILENCE, batches.next()) => batch,
                () = Members::changed(members.as_mut()) => {
                    if self.members_changed().await {
                        return Ok(End::Relist);
                    }
                    continue;
                }
            };
            match batch {
                Err(_) | Ok(None) => return Ok(End::Closed),
                Ok(Some(events)) => self.events(events, version).await?,
            }
        }
    }

    async fn events(
        &mut self,
        events: Vec<Result<WatchEvent<Box<RawValue>>, Error>>,
        version: &mut String,
    ) -> Result<(), Error> {
        let mut changes = Vec::with_capacity(events.len());
        let mut failure = None;
        for event in events {
            match event {
                Ok(WatchEvent::Added(item) | WatchEvent::Modified(item)) => {
                    *version = version_of(&item, version);
                    let key = self.take(&item, &mut changes);
                    self.known.extend(key);
                }
                Ok(WatchEvent::Deleted(item)) => {
                    *version = version_of(&item, version);
                    self.deleted(&item, &mut changes);
                }
                Ok(WatchEvent::Bookmark(bookmark)) => *version = bookmark.metadata.resource_version,
                Ok(WatchEvent::Error(status)) => {
                    failure = Some(self.api.watch_error(&self.selection.target(), &status));
                    break;
                }
                // One event that cannot be read must not end the others.
                Err(error) if matches!(error.cause, Cause::Other(_)) => {
                    self.sink.health.report(&self.subject, error.to_string());
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        self.hand_on(changes).await;
        self.publish();
        failure.map_or(Ok(()), Err)
    }

    /// Decodes an object and adds the change; `None` when it is not ours or cannot be read.
    fn take(&self, item: &RawValue, changes: &mut Vec<Change>) -> Option<NamespacedName> {
        let decoded = (self.selection.kind.decode)(item.get());
        let (object, version) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                let head = Head::of(item);
                let subject = format!("{} {}", self.selection.kind.name, head.key());
                self.sink.health.report(&subject, format!("it cannot be read and is left out: {error}"));
                // What was known of it stays: an object that we do not understand is not one that is gone.
                return self.known.get(&head.key()).cloned();
            }
        };
        let meta = object.meta();
        let key = self.key(meta.namespace(), &meta.name);
        if !self.counts(&key) {
            return None;
        }
        if let Some(observer) = self.sink.observer.as_ref().filter(|_| self.selection.kind.has_status) {
            observer.saw(self.selection.kind, &key, &version, item);
        }
        changes.push(Change::Upsert(Box::new(object)));
        Some(key)
    }

    fn deleted(&mut self, item: &RawValue, changes: &mut Vec<Change>) {
        let key = Head::of(item).key();
        if self.known.remove(&key) || self.selection.name.as_ref() == Some(&key.name) {
            self.forget_status(&key);
            changes.push(Change::Remove(self.id(&key)));
        }
    }

    /// A key that shares the namespace's text with its neighbours.
    fn key(&self, namespace: &str, name: &str) -> NamespacedName {
        let wanted = NamespacedName::new(namespace, "");
        let neighbour = self.known.range(wanted..).next().filter(|key| *key.namespace == *namespace);
        let namespace = neighbour.map_or_else(|| namespace.into(), |key| key.namespace.clone());
        NamespacedName::new(namespace, name)
    }

    fn counts(&self, key: &NamespacedName) -> bool {
        self.selection.members.as_ref().is_none_or(|members| members.contain(key))
    }

    /// Who counts has changed: those who left are removed; says whether there are new ones.
    async fn members_changed(&mut self) -> bool {
        let Some(members) = &mut self.selection.members else { return false };
        let grown = members.refresh();
        let left: BTreeSet<_> = self.known.iter().filter(|key| !self.counts(key)).cloned().collect();
        self.known.retain(|key| !left.contains(key));
        // Objects that nobody asks for any more are not gone: whoever stopped asking knows.
        if !self.selection.members.as_ref().is_some_and(Members::by_name) {
            self.remove(left).await;
        }
        grown
    }

    async fn withdraw(&mut self) {
        let known = std::mem::take(&mut self.known);
        self.remove(known).await;
    }

    async fn remove(&self, gone: BTreeSet<NamespacedName>) {
        for key in &gone {
            self.forget_status(key);
        }
        self.hand_on(gone.iter().map(|key| Change::Remove(self.id(key))).collect()).await;
    }

    fn forget_status(&self, key: &NamespacedName) {
        if let Some(observer) = self.sink.observer.as_ref().filter(|_| self.selection.kind.has_status) {
            observer.gone(self.selection.kind, key);
        }
    }

    /// Waits for room: who lists faster than the graph takes it is slowed down. A listener that is gone ends us in `run`.
    async fn hand_on(&self, changes: Vec<Change>) {
        if !changes.is_empty() && self.sink.changes.send(SourceEvent::Changes(changes)).await.is_err() {
            tracing::debug!(subject = self.subject, "nobody listens any more");
        }
    }

    fn publish(&self) {
        let Some(names) = &self.names else { return };
        let now: BTreeSet<Arc<str>> = self.known.iter().map(|key| key.name.clone()).collect();
        names.send_if_modified(|old| {
            let new = old.as_deref() != Some(&now);
            if new {
                *old = Some(Arc::new(now));
            }
            new
        });
    }

    fn listed(&self) {
        self.progress.send_replace(Progress::Listed);
    }

    fn well(&mut self) {
        self.forgotten = false;
        self.sink.health.clear(&self.subject);
        self.sink.health.clear(super::API_SERVER);
    }

    async fn failed(&mut self, error: &Error) {
        match &error.cause {
            Cause::Gone => return,
            cause => {
                self.sink.health.failed(&self.subject, error);
                if matches!(cause, Cause::Unreachable(_)) {
                    return;
                }
            }
        }
        if matches!(error.cause, Cause::Forbidden { .. }) {
            if !std::mem::replace(&mut self.forgotten, true) {
                // Unknown, not absent: what was built from the last value stays.
                let ids = self.asked_for();
                self.hand_on(ids.iter().map(|key| Change::Forget(self.id(key))).collect()).await;
            }
            // Only what we cannot do without may hold up all the rest.
            let scope = self.selection.kind.name == "Namespace" && self.selection.name.is_some();
            if self.selection.kind.need == Need::Optional || scope {
                self.listed();
            }
        }
    }

    fn id(&self, key: &NamespacedName) -> gatehouse_api::ObjectRef {
        gatehouse_api::ObjectRef {
            group: self.selection.kind.group.to_owned(),
            kind: self.selection.kind.name.to_owned(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        }
    }

    /// Seconds after which the API server ends a watch: different ones, so that not all come back at once.
    fn lifetime(&self) -> u64 {
        let spread =
            self.subject.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        240 + spread % 60
    }

    fn unreadable(&self, error: &serde_json::Error) -> Error {
        let operation = self.selection.target().operation("list");
        Error::new(operation, Cause::Other(format!("the list cannot be read: {error}")))
    }
}

/// The version of an object, or the old one where it says none.
fn version_of(item: &RawValue, old: &str) -> String {
    #[derive(Deserialize)]
    struct Versioned<'a> {
        #[serde(borrow)]
        metadata: Version<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version<'a> {
        resource_version: &'a str,
    }
    serde_json::from_str::<Versioned<'_>>(item.get())
        .map_or_else(|_| old.to_owned(), |item| item.metadata.resource_version.to_owned())
}
