//! What we wait for and what we lack, in words for readiness pages and the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// What is wrong now, by subject; empty when all is well.
pub type Problems = BTreeMap<String, String>;

/// A board that parts write their troubles on. Cheap to clone; all clones share one board.
#[derive(Clone, Debug)]
pub struct Health {
    problems: Arc<Mutex<Problems>>,
    seen: watch::Sender<Arc<Problems>>,
}

impl Default for Health {
    fn default() -> Self {
        Self { problems: Arc::default(), seen: watch::Sender::new(Arc::default()) }
    }
}

impl Health {
    /// Follows the board.
    pub fn watch(&self) -> watch::Receiver<Arc<Problems>> {
        self.seen.subscribe()
    }

    /// Notes a trouble; a text that is new goes to the log, once.
    pub fn report(&self, subject: &str, text: impl Into<String>) {
        let text = text.into();
        self.edit(|problems| {
            if problems.get(subject) == Some(&text) {
                return false;
            }
            tracing::warn!(subject, "{text}");
            problems.insert(subject.to_owned(), text);
            true
        });
    }

    /// Ends a trouble.
    pub fn clear(&self, subject: &str) {
        self.edit(|problems| {
            let was = problems.remove(subject).is_some();
            if was {
                tracing::info!(subject, "recovered");
            }
            was
        });
    }

    fn edit(&self, change: impl FnOnce(&mut Problems) -> bool) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if change(&mut problems) {
            self.seen.send_replace(Arc::new(problems.clone()));
        }
    }
}
