//! One list and watch, for ever: what is there, trimmed, as changes.
//!
//! ```text
//! list (paged) -> changes, then Remove for what vanished -> watch from that version -> changes
//!      ^------- 410: the version is no longer kept; another definition <---'
//! ```
//!
//! Invariants: an API server that is away changes nothing (a failed list removes nothing, a failed watch goes on from the
//! last version); what vanished counts only after a complete list; `known` holds exactly what was handed out; a question
//! is answered when all that was true at its time was handed on.

mod intake;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use gatehouse_model::NamespacedName;
use gatehouse_translate::Change;
use kube::core::WatchEvent;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use super::members::{Members, NamesSender};
use super::page::Page;
use super::pods::Chosen;
use super::progress::{Aim, Progress, Questions, SHORT, SHORT_WATCHES};
use super::selection::{Selection, Sink};
use crate::api::Api;
use crate::backoff::Backoff;
use crate::error::{Cause, Error};
use crate::kinds::Need;
use intake::version_of;

/// The API server sends a bookmark about every minute: a stream that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(90);
/// A watch that lived for this long was a good one.
const LIVED: Duration = Duration::from_secs(5);
/// Between lists, if one that did not comes to an end before its time.
const PAUSE: Duration = Duration::from_secs(1);
/// So many refused watches in a row, and the version that they go on from is not believed any more.
const RELIST_AFTER: u32 = 10;
/// Events that are handed on as one batch at most.
const BATCH: usize = 256;

/// A list and watch of one selection.
#[derive(Debug)]
pub(super) struct Watcher {
    api: Api,
    selection: Selection,
    page_size: u32,
    sink: Sink,
    /// Bounds how many list at once.
    gate: Option<Arc<Semaphore>>,
    questions: Questions,
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
    /// Somebody asks whether we are current.
    Asked,
    /// More objects belong to us than before: list again.
    Relist,
    /// The API server closed it before its time. A definition that is exchanged ends the watches of its objects: they are
    /// read by another schema now, which may show fields that the old one hid, and no event tells of that. So list again.
    Cut,
}

impl Watcher {
    pub(super) fn new(api: Api, selection: Selection, page_size: u32, sink: Sink) -> Self {
        let target = selection.target();
        let mut operation = target.operation("watch");
        selection.name.as_deref().unwrap_or_default().clone_into(&mut operation.name);
        let (subject, questions) = (operation.to_string(), sink.questions.clone());
        Self {
            api,
            selection,
            page_size,
            sink,
            gate: None,
            questions,
            progress: watch::Sender::default(),
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
            self.rest().await;
            let asked = *self.questions.borrow_and_update();
            match self.list().await {
                Ok(version) => {
                    self.well();
                    self.listed();
                    self.answered(asked);
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
        let (mut refused, mut unanswered) = (0, 0);
        loop {
            let opened = Instant::now();
            match self.watch(&mut version).await {
                Ok(End::Asked) => continue,
                Ok(End::Closed) if self.open_question().is_some() => {
                    unanswered += 1;
                    if unanswered >= SHORT_WATCHES {
                        return;
                    }
                }
                Ok(End::Closed) => unanswered = 0,
                Ok(End::Cut) => {
                    // Whoever ends every watch at once is not asked for everything all the time.
                    if opened.elapsed() < LIVED {
                        tokio::time::sleep(PAUSE).await;
                    }
                    return;
                }
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
        let _permit = permit(gate.as_deref()).await;
        if let Some(members) = &mut self.selection.members {
            members.refresh();
        }
        if let Some(chosen) = &mut self.selection.chosen {
            self.selection.labels = chosen.refresh();
        }
        let mut seen = BTreeSet::new();
        let mut token = String::new();
        let version = loop {
            let text = self.page(self.page_size, &token).await?;
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
        self.tell_selected().await;
        Ok(version)
    }

    /// Without a version, the API server answers with the newest there is.
    async fn page(&self, size: u32, token: &str) -> Result<String, Error> {
        let mut query = self.selection.query();
        query.push(("limit", size.to_string()));
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

    /// Follows the stream of events from `version` on, which it keeps current.
    async fn watch(&mut self, version: &mut String) -> Result<End, Error> {
        let mut aim = match self.open_question() {
            Some(question) => Some(self.aim(question).await?),
            None => None,
        };
        let seconds = if aim.is_some() { SHORT } else { self.lifetime() };
        let (opened, lifetime) = (Instant::now(), Duration::from_secs(seconds));
        let mut query = self.selection.query();
        query.push(("watch", "true".into()));
        query.push(("allowWatchBookmarks", "true".into()));
        query.push(("resourceVersion", version.clone()));
        query.push(("timeoutSeconds", seconds.to_string()));
        let query: Vec<_> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let stream = self.api.watch(&self.selection.target(), &query).await?;
        self.well();
        let mut batches = pin!(stream.ready_chunks(BATCH));
        let (mut members, mut questions) = (self.selection.members.clone(), self.questions.clone());
        let mut chosen = self.selection.chosen.clone();
        loop {
            if let Some(reached) = aim.take_if(|aim| aim.reached(version)) {
                self.answered(reached.question);
            }
            let batch = tokio::select! {
                batch = tokio::time::timeout(SILENCE, batches.next()) => batch,
                Ok(()) = questions.changed() => return Ok(End::Asked),
                () = Chosen::changed(chosen.as_mut()) => {
                    if self.chosen_changed().await {
                        return Ok(End::Relist);
                    }
                    continue;
                }
                () = Members::changed(members.as_mut()) => {
                    if self.members_changed().await {
                        return Ok(End::Relist);
                    }
                    continue;
                }
            };
            match batch {
                Ok(None) if opened.elapsed() < lifetime && self.selection.kind.need != Need::Builtin => {
                    return Ok(End::Cut);
                }
                Err(_) | Ok(None) => return Ok(End::Closed),
                Ok(Some(events)) => self.events(events, version).await?,
            }
        }
    }

    /// The question that waits for an answer.
    fn open_question(&mut self) -> Option<u64> {
        let asked = *self.questions.borrow_and_update();
        (asked > self.progress.borrow().current).then_some(asked)
    }

    /// Asks how new an answer has to be.
    async fn aim(&self, question: u64) -> Result<Aim, Error> {
        let _permit = permit(self.gate.as_deref()).await;
        let text = self.page(1, "").await?;
        let page = Page::parse(&text).map_err(|e| self.unreadable(&e))?;
        Ok(Aim::new(question, &page.version))
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

    fn listed(&self) {
        self.progress.send_modify(|progress| progress.listed = true);
    }

    fn answered(&self, question: u64) {
        self.progress.send_modify(|progress| progress.current = progress.current.max(question));
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
        if matches!(error.cause, Cause::Forbidden { .. } | Cause::NotServed) {
            // Nobody can know more of it.
            let asked = *self.questions.borrow();
            self.answered(asked);
        }
        if matches!(error.cause, Cause::Forbidden { .. }) {
            if !std::mem::replace(&mut self.forgotten, true) {
                // Unknown, not absent: what was built from the last value stays.
                let ids = self.asked_for();
                self.hand_on(ids.iter().map(|key| Change::Forget(self.id(key))).collect()).await;
            }
            self.tell_selected().await;
            // Only what we cannot do without may hold up all the rest.
            let scope = self.selection.kind.name == "Namespace" && self.selection.name.is_some();
            if self.selection.kind.need == Need::Optional || scope {
                self.listed();
            }
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

async fn permit(gate: Option<&Semaphore>) -> Option<SemaphorePermit<'_>> {
    match gate {
        Some(gate) => gate.acquire().await.ok(),
        None => None,
    }
}
