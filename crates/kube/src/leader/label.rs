//! Keeps the leader's label on our pod and off all others.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Leadership, OwnPod};
use crate::api::{Api, ResourceType, Target};
use crate::backoff::Backoff;
use crate::error::{Cause, Error};
use crate::health::Health;

const PODS: ResourceType = ResourceType { group: "", version: "v1", plural: "pods" };
const SUBJECT: &str = "label of the leader's pod";
/// How often it is made sure of, should somebody have edited our pod.
const AGAIN: Duration = Duration::from_secs(30);

pub(super) struct Keeper {
    api: Api,
    namespace: String,
    pod: OwnPod,
    health: Health,
}

#[derive(Deserialize)]
struct Pods {
    items: Vec<Value>,
}

impl Keeper {
    pub(super) fn new(api: Api, namespace: String, pod: OwnPod, health: Health) -> Self {
        Self { api, namespace, pod, health }
    }

    /// Follows leadership until the candidate ends; then takes the label away.
    pub(super) async fn run(self, mut leadership: watch::Receiver<Leadership>) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let leads = leadership.borrow_and_update().is_leader();
            let wait = match self.apply(leads).await {
                Ok(()) => {
                    self.health.clear(SUBJECT);
                    backoff.reset();
                    AGAIN
                }
                Err(error) => {
                    self.health.failed(SUBJECT, &error);
                    backoff.next()
                }
            };
            tokio::select! {
                changed = leadership.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(wait) => {}
            }
        }
        if let Err(error) = self.apply(false).await {
            tracing::warn!(%error, "our pod keeps the leader's label");
        }
    }

    async fn apply(&self, leads: bool) -> Result<(), Error> {
        self.label(&self.pod.name, leads).await?;
        if leads {
            for name in self.others().await? {
                // A leader that was cut off could not take it away itself.
                match self.label(&name, false).await {
                    Err(Error { cause: Cause::NotFound, .. }) => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    async fn label(&self, pod: &str, leads: bool) -> Result<(), Error> {
        let value = leads.then_some("true");
        let patch = json!({ "metadata": { "labels": { self.pod.label.as_str(): value } } });
        self.api.patch::<Value>(&Target::one(PODS, &self.namespace, pod), &patch).await.map(|_| ())
    }

    /// Other pods that carry the label.
    async fn others(&self) -> Result<Vec<String>, Error> {
        let target = Target::all(PODS, &self.namespace);
        let text = self.api.list(&target, &[("labelSelector", &format!("{}=true", self.pod.label))]).await?;
        let pods: Pods = serde_json::from_str(&text)
            .map_err(|e| Error::new(target.operation("list"), Cause::Other(e.to_string())))?;
        let names = pods.items.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
        Ok(names.filter(|name| *name != self.pod.name).map(str::to_owned).collect())
    }
}
