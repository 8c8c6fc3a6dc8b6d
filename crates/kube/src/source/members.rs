//! Which of the objects of a watch count: those of some namespaces, or those of some names.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_model::NamespacedName;
use tokio::sync::watch;

/// A set that changes; `None` until it is known.
pub(super) type Names = watch::Receiver<Option<Arc<BTreeSet<Arc<str>>>>>;
/// Who says so.
pub(super) type NamesSender = watch::Sender<Option<Arc<BTreeSet<Arc<str>>>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Namespace,
    Name,
}

/// A set of namespaces or of names that changes.
#[derive(Clone, Debug)]
pub(super) struct Members {
    by: By,
    names: Names,
    /// The set as it was looked at last.
    current: Arc<BTreeSet<Arc<str>>>,
}

impl Members {
    pub(super) fn of_namespaces(names: Names) -> Self {
        Self { by: By::Namespace, names, current: Arc::default() }
    }

    pub(super) fn of_names(names: Names) -> Self {
        Self { by: By::Name, names, current: Arc::default() }
    }

    pub(super) fn by_name(&self) -> bool {
        self.by == By::Name
    }

    pub(super) fn contain(&self, key: &NamespacedName) -> bool {
        self.current.contains(match self.by {
            By::Namespace => &key.namespace,
            By::Name => &key.name,
        })
    }

    /// The names that somebody wants to hear of even when they do not exist.
    pub(super) fn asked_for(&self) -> BTreeSet<Arc<str>> {
        if self.by_name() { (*self.current).clone() } else { BTreeSet::new() }
    }

    /// Waits until the set is known.
    pub(super) async fn ready(&mut self) {
        if self.names.wait_for(Option::is_some).await.is_err() {
            // Whoever knows it is gone, and we shall be too.
            std::future::pending::<()>().await;
        }
    }

    /// Takes the newest set; says whether it has somebody new.
    pub(super) fn refresh(&mut self) -> bool {
        let new = self.names.borrow_and_update().clone().unwrap_or_default();
        let grown = !new.is_subset(&self.current);
        self.current = new;
        grown
    }

    /// Waits for the set to change; for ever where there is none.
    pub(super) async fn changed(members: Option<&mut Self>) {
        let changed = match members {
            Some(members) => members.names.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            std::future::pending::<()>().await;
        }
    }
}
