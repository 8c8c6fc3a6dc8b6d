//! What we wait for and what we lack, in words for readiness pages and the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::error::{Cause, Error};
use crate::source::API_SERVER;

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

    /// Notes a trouble that many meet, each in slightly other words: the first one's stay.
    pub fn report_once(&self, subject: &str, text: impl Into<String>) {
        if !self.seen.borrow().contains_key(subject) {
            self.report(subject, text);
        }
    }

    /// Notes why something failed: an API server that is away is everybody's trouble and stands there once, in the words of
    /// who met it first.
    pub(crate) fn failed(&self, subject: &str, error: &Error) {
        match &error.cause {
            Cause::Unreachable(_) => self.report_once(API_SERVER, error.cause.to_string()),
            _ => self.report(subject, error.to_string()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;

    #[test]
    fn trouble_stands_while_it_lasts_and_the_last_words_count() {
        let health = Health::default();
        let seen = health.watch();
        health.report("a", "first");
        health.report("a", "second");
        health.report_once("a", "third");
        assert_eq!(**seen.borrow(), Problems::from([("a".to_owned(), "second".to_owned())]));
        health.clear("a");
        assert!(seen.borrow().is_empty());
    }

    #[test]
    fn api_server_that_is_away_is_told_once_whatever_the_words() {
        let health = Health::default();
        let away = |words: &str| {
            let operation = Operation {
                verb: "list",
                resource: "x".into(),
                namespace: String::new(),
                name: String::new(),
            };
            Error::new(operation, Cause::Unreachable(words.to_owned()))
        };
        health.failed("a", &away("refused"));
        let mut seen = health.watch();
        health.failed("b", &away("too late"));
        assert!(!seen.has_changed().expect("open"));
        assert!(seen.borrow_and_update()[API_SERVER].contains("refused"));
    }

    #[test]
    fn same_trouble_again_wakes_nobody() {
        let health = Health::default();
        let mut seen = health.watch();
        health.report("a", "text");
        seen.mark_unchanged();
        health.report("a", "text");
        health.clear("b");
        assert!(!seen.has_changed().expect("open"));
    }
}
