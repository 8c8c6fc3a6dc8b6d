//! Whether this process is ready, and if not, what it waits for.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

/// A flag shared by all that must be ready: ready when nothing is waited for any more.
///
/// ```
/// let ready = gatehouse_admin::Readiness::waiting_for(["files", "xds"]);
/// ready.done("files");
/// assert_eq!(ready.waits(), ["xds"]);
/// ready.done("xds");
/// assert!(ready.is_ready());
/// ready.wait_for("shutdown");
/// assert!(!ready.is_ready());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    /// Names of what is waited for, each as a reader of `/readyz` understands it.
    waits: Arc<RwLock<BTreeSet<String>>>,
}

impl Readiness {
    /// Not ready until each of `reasons` is [`done`](Self::done); ready at once when there are none.
    pub fn waiting_for<S: Into<String>>(reasons: impl IntoIterator<Item = S>) -> Self {
        let waits = reasons.into_iter().map(Into::into).collect();
        Self { waits: Arc::new(RwLock::new(waits)) }
    }

    /// Is not ready for `reason`, until that is done.
    pub fn wait_for(&self, reason: impl Into<String>) {
        self.waits.write().unwrap_or_else(PoisonError::into_inner).insert(reason.into());
    }

    /// No longer waits for `reason`.
    pub fn done(&self, reason: &str) {
        self.waits.write().unwrap_or_else(PoisonError::into_inner).remove(reason);
    }

    /// What is waited for, sorted.
    pub fn waits(&self) -> Vec<String> {
        self.waits.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Whether nothing is waited for.
    pub fn is_ready(&self) -> bool {
        self.waits.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
