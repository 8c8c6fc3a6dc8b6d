//! What one watcher watches, and where it goes.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::SourceEvent;
use super::members::Members;
use super::pods::Chosen;
use super::progress::Questions;
use crate::api::Target;
use crate::health::Health;
use crate::kinds::Kind;
use crate::status::StatusObserver;

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
    /// Who says what the label selector is.
    pub(super) chosen: Option<Chosen>,
}

impl Selection {
    pub(super) fn whole(kind: &'static Kind, version: &'static str, namespace: Arc<str>) -> Self {
        Self { kind, version, namespace, name: None, labels: None, members: None, chosen: None }
    }

    pub(super) fn target(&self) -> Target<'_> {
        let namespace = if self.kind.namespaced { &*self.namespace } else { "" };
        let all = Target::all(self.kind.resource(self.version), namespace);
        Target { metadata_only: self.kind.metadata_only, ..all }
    }

    /// The selectors as a query.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
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
    /// Whether all is current, asked again and again.
    pub(super) questions: Questions,
}
