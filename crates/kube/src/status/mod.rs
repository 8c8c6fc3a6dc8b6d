//! Statuses of the users' objects: written by the leader, only where the live object says something else.
//!
//! ```text
//! graph ----------- StatusChange --------> desired --\
//! watchers -- digest of our part, live --> seen ------+-> differ? -> get, merge, put /status (if nothing changed between)
//! ```
//!
//! A new leader leaves the refusals that stand in statuses until the proxies have answered it.
//!
//! A replica that does not lead follows both sides and writes nothing; when it comes to lead, only what differs costs a
//! request.

mod budget;
mod ledger;
mod merge;
mod own;
mod standing;
mod writer;

use std::sync::Arc;

use gatehouse_model::NamespacedName;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

pub use merge::{merge, transition_time};
pub use own::{Digest, Shape};
pub use writer::{StatusWriter, WriteCounts, WriterConfig};

pub(crate) use budget::Budget;

use crate::kinds::Kind;
use ledger::{Key, Seen};
use writer::Message;

/// Tells the writer what the live objects say. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StatusObserver {
    messages: mpsc::UnboundedSender<Message>,
    controllers: Arc<[Arc<str>]>,
}

impl StatusObserver {
    pub(crate) fn saw(&self, kind: &'static Kind, key: &NamespacedName, version: &str, item: &RawValue) {
        #[derive(Default, Deserialize)]
        struct WithStatus {
            #[serde(default)]
            status: Value,
        }
        let status = serde_json::from_str::<WithStatus>(item.get()).unwrap_or_default().status;
        let digest = Digest::of(Shape::of_kind(kind.name), &status, &self.controllers);
        self.send(
            Key { kind: kind.name, object: key.clone() },
            Some(Seen { version: number(version), digest }),
        );
    }

    pub(crate) fn gone(&self, kind: &'static Kind, key: &NamespacedName) {
        self.send(Key { kind: kind.name, object: key.clone() }, None);
    }

    fn send(&self, key: Key, seen: Option<Seen>) {
        if self.messages.send(Message::Live(key, seen)).is_err() {
            tracing::trace!("the status writer has ended");
        }
    }
}

/// Versions of one resource are numbers that grow; something else sorts before all of them.
fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}
