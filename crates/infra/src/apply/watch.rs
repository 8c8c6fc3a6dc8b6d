//! Watches: one task per kind and namespace that lists, follows, and starts over when it must.

use std::time::Duration;

use futures_util::{StreamExt, pin_mut};
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::mpsc;

use super::client::{Client, Failure};
use super::live::{Id, Live, Watched};

/// What a watch saw.
pub(super) enum Seen {
    /// Everything that there is of one watch.
    Listed { watched: Watched, namespace: Option<String>, objects: Vec<(Id, Live)> },
    /// New or changed.
    Put(Id, Live),
    /// Gone, with its uid.
    Gone(Id, String),
    /// The watch cannot be had, in words.
    Failed(Failure),
}

/// An edit made right after the API server's return is to be seen within seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub(super) struct Watch {
    pub(super) client: Client,
    pub(super) watched: Watched,
    pub(super) namespace: Option<String>,
    pub(super) selector: String,
    pub(super) seen: mpsc::Sender<Seen>,
}

impl Watch {
    /// Ends when nobody listens any more.
    pub(super) async fn run(self) {
        let mut wait = Duration::from_millis(100);
        loop {
            let Err(failure) = self.follow(&mut wait).await else { return };
            if failure.code != Some(410) && self.seen.send(Seen::Failed(failure)).await.is_err() {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Lists and follows until something fails; `Ok` when nobody listens.
    async fn follow(&self, wait: &mut Duration) -> Result<(), Failure> {
        let namespace = self.namespace.as_deref();
        let (items, mut version) = self.client.list(self.watched, namespace, &self.selector).await?;
        *wait = Duration::from_millis(100);
        let objects = items.into_iter().map(|item| self.read(item)).collect();
        let listed = Seen::Listed { watched: self.watched, namespace: self.namespace.clone(), objects };
        if self.seen.send(listed).await.is_err() {
            return Ok(());
        }
        loop {
            let events = self.client.watch(self.watched, namespace, &self.selector, &version).await?;
            pin_mut!(events);
            while let Some(event) = events.next().await {
                let seen = match event? {
                    WatchEvent::Bookmark(bookmark) => {
                        version = bookmark.metadata.resource_version;
                        continue;
                    }
                    WatchEvent::Error(status) => return Err(Failure::status(&status)),
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        note(&mut version, &object);
                        let (id, live) = self.read(object);
                        Seen::Put(id, live)
                    }
                    WatchEvent::Deleted(object) => {
                        note(&mut version, &object);
                        let (id, live) = self.read(object);
                        Seen::Gone(id, live.uid)
                    }
                };
                if self.seen.send(seen).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    fn read(&self, object: Value) -> (Id, Live) {
        let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
        let id = Id { watched: self.watched, namespace: text("namespace"), name: text("name") };
        (id, Live::new(self.watched, object))
    }
}

fn note(version: &mut String, object: &Value) {
    if let Some(seen) = object["metadata"]["resourceVersion"].as_str() {
        seen.clone_into(version);
    }
}
