//! Objects as they come in: read, trimmed, and handed on as changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_model::NamespacedName;
use gatehouse_translate::Change;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Watcher;
use crate::source::SourceEvent;
use crate::source::members::Members;
use crate::source::page::Head;

impl Watcher {
    /// The objects that are asked for by name.
    pub(super) fn asked_for(&self) -> Vec<NamespacedName> {
        let namespace = &self.selection.namespace;
        let members = self.selection.members.as_ref().map(Members::asked_for).unwrap_or_default();
        let names = self.selection.name.iter().chain(&members);
        names.map(|name| NamespacedName::new(namespace.clone(), name.clone())).collect()
    }

    /// Decodes an object and adds the change; `None` when it is not ours or cannot be read.
    pub(super) fn take(&self, item: &RawValue, changes: &mut Vec<Change>) -> Option<NamespacedName> {
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

    pub(super) fn deleted(&mut self, item: &RawValue, changes: &mut Vec<Change>) {
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
    pub(super) async fn members_changed(&mut self) -> bool {
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

    /// What is wanted of a namespace has changed: says whether that takes another list. Without one, whoever came is among
    /// those who are watched already.
    pub(super) async fn chosen_changed(&mut self) -> bool {
        let Some(chosen) = &mut self.selection.chosen else { return false };
        let labels = chosen.refresh();
        let other = labels != self.selection.labels || chosen.current().is_empty();
        if !other {
            self.tell_selected().await;
        }
        other
    }

    /// Says that the pods of all selections have been told, as far as they may be read.
    pub(super) async fn tell_selected(&self) {
        let selections = self.selection.chosen.iter().flat_map(|chosen| chosen.current().iter().cloned());
        self.hand_on(selections.map(Change::Selected).collect()).await;
    }

    /// As long as nobody wants anything, nothing is watched and nothing known.
    pub(super) async fn rest(&mut self) {
        let Some(chosen) = &mut self.selection.chosen else { return };
        self.selection.labels = chosen.refresh();
        if chosen.current().is_empty() {
            self.withdraw().await;
        }
        if let Some(chosen) = &mut self.selection.chosen {
            chosen.ready().await;
        }
    }

    pub(super) async fn withdraw(&mut self) {
        let known = std::mem::take(&mut self.known);
        self.remove(known).await;
    }

    pub(super) async fn remove(&self, gone: BTreeSet<NamespacedName>) {
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
    pub(super) async fn hand_on(&self, changes: Vec<Change>) {
        if !changes.is_empty() && self.sink.changes.send(SourceEvent::Changes(changes)).await.is_err() {
            tracing::debug!(subject = self.subject, "nobody listens any more");
        }
    }

    pub(super) fn publish(&self) {
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

    pub(super) fn id(&self, key: &NamespacedName) -> gatehouse_api::ObjectRef {
        gatehouse_api::ObjectRef {
            group: self.selection.kind.group.to_owned(),
            kind: self.selection.kind.name.to_owned(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        }
    }
}

/// The version of an object, or the old one where it says none.
pub(super) fn version_of(item: &RawValue, old: &str) -> String {
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
