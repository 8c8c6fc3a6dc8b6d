//! Whether the pod may have requests: Envoy is live, got its whole configuration once, and does not drain.

use std::sync::Arc;
use std::time::Duration;

use gatehouse_envoy_admin::{AdminClient, Drain};
use tokio::sync::{mpsc, watch};

use crate::relay::Progress;
use crate::shuttle::Event;

/// How often an Envoy that has everything is asked whether it is live.
const POLL: Duration = Duration::from_millis(100);
/// A drain is asked for by one hook and waited for by another, which may be the first.
const SOON: Duration = Duration::from_secs(15);
/// A drain is to be followed by the end of Envoy. One that is not, asked for by somebody else, is taken back.
const REPENT: Duration = Duration::from_mins(1);

/// How far a drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draining {
    No,
    Begun,
    Done,
}

/// What probes ask; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    admin: AdminClient,
    drain: Drain,
    progress: watch::Receiver<Progress>,
    /// The Envoy that runs has had its whole configuration: what comes later may warm while it serves.
    complete: Arc<watch::Sender<bool>>,
    draining: Arc<watch::Sender<Draining>>,
}

impl Health {
    pub(crate) fn new(admin: AdminClient, drain: Drain, progress: watch::Receiver<Progress>) -> Self {
        let (complete, _) = watch::channel(false);
        let (draining, _) = watch::channel(Draining::No);
        Self { admin, drain, progress, complete: Arc::new(complete), draining: Arc::new(draining) }
    }

    /// Why the pod must have no new requests now; nothing if it may.
    pub(crate) async fn waits(&self) -> Option<String> {
        if *self.draining.borrow() != Draining::No {
            return Some("it drains".to_owned());
        }
        if !*self.complete.borrow() {
            let needs = self.progress.borrow().needs.join(", ");
            return Some(if needs.is_empty() {
                "envoy is not live yet".to_owned()
            } else {
                format!("waiting for {needs}")
            });
        }
        match self.admin.server_state().await {
            Ok(state) if state == "LIVE" => None,
            Ok(state) => Some(format!("envoy is {state}")),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Follows Envoy: notes when it has everything, and when it is another process.
    pub(crate) async fn follow(self, events: mpsc::Sender<Event>) {
        let mut progress = self.progress.clone();
        // Of which stream the completeness was said, and of which the start.
        let (mut settled, mut seen) = (0, 0);
        loop {
            let now = progress.borrow_and_update().clone();
            if now.fresh && now.stream != seen {
                seen = now.stream;
                self.complete.send_replace(false);
                // The one that drained is no more.
                self.draining
                    .send_if_modified(|draining| std::mem::replace(draining, Draining::No) != Draining::No);
            }
            if now.stream == 0 || now.stream == settled || !now.needs.is_empty() {
                if progress.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if self.is_live().await {
                settled = now.stream;
                self.complete.send_replace(true);
                tracing::info!("envoy holds its whole configuration");
                if events.send(Event::Settled).await.is_err() {
                    return;
                }
            } else {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    async fn is_live(&self) -> bool {
        let state = self.admin.server_state().await;
        // One that drains has started, too.
        state.is_ok_and(|state| matches!(state.as_str(), "LIVE" | "DRAINING"))
    }

    /// Begins to drain Envoy, unless it does so already.
    pub(crate) fn begin_drain(&self) {
        let first = self.draining.send_if_modified(|draining| {
            let first = *draining == Draining::No;
            if first {
                *draining = Draining::Begun;
            }
            first
        });
        if first {
            tracing::info!("draining");
            tokio::spawn(self.clone().run_drain());
        }
    }

    /// Returns when a drain is over; says whether there was one.
    pub(crate) async fn drained(&self) -> bool {
        let mut state = self.draining.subscribe();
        let begun = state.wait_for(|draining| *draining != Draining::No);
        if !matches!(tokio::time::timeout(SOON, begun).await, Ok(Ok(_))) {
            return false;
        }
        // Done, or taken back because another Envoy runs.
        drop(state.wait_for(|draining| *draining != Draining::Begun).await);
        true
    }

    async fn run_drain(self) {
        let mut state = self.draining.subscribe();
        let ended = |draining: &Draining| *draining == Draining::No;
        tokio::select! {
            () = self.drain.quiesce(&self.admin) => {}
            _ = state.wait_for(ended) => return,
        }
        tracing::info!("drained");
        self.draining.send_replace(Draining::Done);
        tokio::select! {
            () = tokio::time::sleep(REPENT) => {}
            _ = state.wait_for(ended) => return,
        }
        tracing::warn!("envoy runs on after its drain: it serves again");
        if let Err(error) = self.admin.post("/healthcheck/ok").await {
            tracing::warn!("{error}");
        }
        self.draining.send_replace(Draining::No);
    }
}
