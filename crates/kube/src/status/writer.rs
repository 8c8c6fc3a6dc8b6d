//! Carries out what the ledger says: read, merge, write, under a rate budget and only while we lead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gatehouse_model::NamespacedName;
use gatehouse_translate::StatusChange;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::budget::Budget;
use super::ledger::{Desired, Key, Ledger, Outcome, Seen};
use super::merge::merge;
use super::own::{Digest, Shape};
use super::standing::keep_refusals;
use super::{StatusObserver, number};
use crate::api::{Api, Target};
use crate::error::{Cause, Error};
use crate::health::Health;
use crate::kinds;
use crate::leader::Leadership;
use crate::source::API_SERVER;

/// Attempts at once after somebody else was faster; after that the object waits its turn.
const CONFLICTS: usize = 4;

/// How statuses are written.
#[derive(Clone, Debug)]
pub struct WriterConfig {
    /// Entries with these controller names are ours; the graph writes the first.
    pub controllers: Vec<Arc<str>>,
    /// Writes per second over time; each is a read and a write.
    pub per_second: u32,
    /// Writes that may be made at once after a quiet time.
    pub burst: u32,
    /// Writes under way at once.
    pub parallel: usize,
    /// Whether proxies have told what they refuse since we lead: until then the refusals that stand in the statuses of
    /// routes stay. `None`: all that is known is in the desired statuses.
    pub heard: Option<watch::Receiver<bool>>,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            controllers: vec!["gatehouse.dev/gatewayclass-controller".into()],
            per_second: 100,
            burst: 200,
            parallel: 16,
            heard: None,
        }
    }
}

/// What was written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Statuses written.
    pub written: u64,
    /// Looks at a live object that found nothing to write.
    pub unchanged: u64,
    /// Writes refused because the object had changed in between.
    pub conflicts: u64,
    /// Attempts that failed otherwise.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    unchanged: AtomicU64,
    conflicts: AtomicU64,
    failed: AtomicU64,
}

pub(super) enum Message {
    Desired(StatusChange),
    Live(Key, Option<Seen>),
}

/// Writes the statuses that the graph desires. Cheap to clone; ends when all clones and observers are dropped.
#[derive(Clone, Debug)]
pub struct StatusWriter {
    messages: mpsc::UnboundedSender<Message>,
    counters: Arc<Counters>,
}

impl StatusWriter {
    /// Starts on the current runtime. The observer goes to [`crate::source::Source::start`]: what the watches see spares
    /// the writer reads, and shows it when somebody else has changed our part.
    pub fn start(
        api: Api,
        config: &WriterConfig,
        leadership: watch::Receiver<Leadership>,
        health: Health,
    ) -> (Self, StatusObserver) {
        let (messages, inbox) = mpsc::unbounded_channel();
        let counters = Arc::new(Counters::default());
        let controllers: Arc<[Arc<str>]> = config.controllers.clone().into();
        let attempt = Attempt {
            api,
            controllers: controllers.clone(),
            leadership: leadership.clone(),
            heard: config.heard.clone().unwrap_or_else(|| watch::channel(true).1),
            health,
            counters: counters.clone(),
        };
        tokio::spawn(Actor::new(attempt, config).run(inbox, leadership));
        (Self { messages: messages.clone(), counters }, StatusObserver { messages, controllers })
    }

    /// Hands in a status; of several for one object the last one counts.
    pub fn write(&self, change: StatusChange) {
        if self.messages.send(Message::Desired(change)).is_err() {
            tracing::debug!("the status writer has ended");
        }
    }

    /// What was written so far.
    pub fn counts(&self) -> WriteCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriteCounts {
            written: read(&self.counters.written),
            unchanged: read(&self.counters.unchanged),
            conflicts: read(&self.counters.conflicts),
            failed: read(&self.counters.failed),
        }
    }
}

/// What a task of the actor ends with.
enum Ended {
    Attempt(Key, Desired, Outcome),
    Waited(Key),
}

/// Owns the ledger; nothing else sees it.
struct Actor {
    attempt: Attempt,
    ledger: Ledger,
    budget: Budget,
    started: Instant,
    parallel: usize,
    under_way: usize,
    tasks: JoinSet<Ended>,
}

impl Actor {
    fn new(attempt: Attempt, config: &WriterConfig) -> Self {
        Self {
            attempt,
            ledger: Ledger::default(),
            budget: Budget::new(config.per_second, config.burst),
            started: Instant::now(),
            parallel: config.parallel.max(1),
            under_way: 0,
            tasks: JoinSet::new(),
        }
    }

    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Message>,
        mut leadership: watch::Receiver<Leadership>,
    ) {
        self.ledger.lead(leadership.borrow_and_update().is_leader());
        let mut heard = self.attempt.heard.clone();
        loop {
            let wait = self.pump();
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                Ok(()) = leadership.changed() => {
                    let leads = leadership.borrow_and_update().is_leader();
                    self.ledger.lead(leads);
                }
                Ok(()) = heard.changed() => {
                    if *heard.borrow_and_update() {
                        self.ledger.heard();
                    }
                }
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Live(key, seen) => self.ledger.see(&key, seen),
            Message::Desired(change) => {
                let Some(kind) = kinds::with_status(&change.object.group, &change.object.kind) else {
                    tracing::warn!(object = %change.object, "its kind has no status that we write");
                    return;
                };
                let object =
                    NamespacedName::new(change.object.namespace.as_str(), change.object.name.as_str());
                let status = change.json();
                let shape = Shape::of_kind(kind.name);
                let digest = match &status {
                    Some(status) => Digest::of(shape, status, &self.attempt.controllers),
                    None => Digest::nothing(),
                };
                let desired = Desired { status: change.status, generation: change.generation, digest };
                self.ledger.desire(&Key { kind: kind.name, object }, desired);
            }
        }
    }

    /// Starts what may be started; returns how long to wait for the budget if that is what is missing.
    fn pump(&mut self) -> Option<Duration> {
        while self.under_way < self.parallel && self.ledger.has_next() {
            if let Err(wait) = self.budget.take(self.started.elapsed()) {
                return Some(wait);
            }
            let (key, desired) = self.ledger.next()?;
            self.under_way += 1;
            let attempt = self.attempt.clone();
            self.tasks.spawn(async move {
                let outcome = attempt.run(&key, &desired).await;
                Ended::Attempt(key, desired, outcome)
            });
        }
        None
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(Ended::Attempt(key, desired, outcome)) => {
                self.under_way -= 1;
                if let Some(wait) = self.ledger.done(&key, &desired, &outcome) {
                    self.tasks.spawn(async move {
                        tokio::time::sleep(wait).await;
                        Ended::Waited(key)
                    });
                }
                // It may have begun before proxies had answered, and ended after.
                if *self.attempt.heard.borrow() {
                    self.ledger.heard();
                }
            }
            Ok(Ended::Waited(key)) => self.ledger.retry(&key),
            Err(error) => {
                // Its object stays as it is until the next leader; all others go on.
                self.under_way = self.under_way.saturating_sub(1);
                tracing::error!(%error, "a status could not be written for a fault of ours");
            }
        }
    }
}

/// One write of one status.
#[derive(Clone)]
struct Attempt {
    api: Api,
    controllers: Arc<[Arc<str>]>,
    leadership: watch::Receiver<Leadership>,
    heard: watch::Receiver<bool>,
    health: Health,
    counters: Arc<Counters>,
}

impl Attempt {
    async fn run(&self, key: &Key, desired: &Desired) -> Outcome {
        let mut last = None;
        for _ in 0..CONFLICTS {
            match self.once(key, desired).await {
                Ok(outcome) => {
                    self.health.clear(&subject(key));
                    self.health.clear(&rights(key));
                    self.health.clear(API_SERVER);
                    return outcome;
                }
                Err(error) if matches!(error.cause, Cause::Conflict(_)) => {
                    self.counters.conflicts.fetch_add(1, Ordering::Relaxed);
                    last = Some(error);
                }
                Err(error) => return self.failed(key, &error),
            }
        }
        last.map_or(Outcome::Failed, |error| self.failed(key, &error))
    }

    async fn once(&self, key: &Key, desired: &Desired) -> Result<Outcome, Error> {
        let Some(kind) = kinds::WATCHED.iter().find(|kind| kind.name == key.kind) else {
            return Ok(Outcome::Gone);
        };
        let shape = Shape::of_kind(kind.name);
        let resource = kind.resource(kind.versions[0]);
        let target = Target::one(resource, &key.object.namespace, &key.object.name);
        let mut live: Value = self.api.get(&target).await?;
        if live["metadata"]["generation"].as_i64().unwrap_or_default() < desired.generation {
            // A new object of the same name: what we have to say is of the old one.
            return Ok(Outcome::Gone);
        }
        let mut wanted: Option<Value> =
            desired.status.as_deref().and_then(|status| serde_json::from_str(status).ok());
        let kept = shape == Shape::Route
            && !*self.heard.borrow()
            && wanted.as_mut().is_some_and(|wanted| {
                keep_refusals(&live["status"], wanted, &self.controllers, desired.generation)
            });
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let merged = merge(shape, &live["status"], wanted.as_ref(), &self.controllers, &now);
        if same(&merged, &live["status"]) {
            self.counters.unchanged.fetch_add(1, Ordering::Relaxed);
            let seen = self.seen(shape, &live);
            return Ok(if kept { Outcome::Kept(seen) } else { Outcome::Unchanged(seen) });
        }
        if !self.leadership.borrow().is_leader() {
            return Ok(Outcome::Failed);
        }
        // The version that was read is in it: the API server refuses it if somebody was faster.
        live["status"] = merged;
        let written: Value = self.api.update(&target.status(), &live).await?;
        self.counters.written.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Written(self.seen(shape, &written)))
    }

    fn seen(&self, shape: Shape, object: &Value) -> Seen {
        let version = number(object["metadata"]["resourceVersion"].as_str().unwrap_or_default());
        Seen { version, digest: Digest::of(shape, &object["status"], &self.controllers) }
    }

    fn failed(&self, key: &Key, error: &Error) -> Outcome {
        match &error.cause {
            Cause::NotFound | Cause::NotServed => return Outcome::Gone,
            // One text for all: the same right is missing for each of them.
            Cause::Forbidden { .. } => self.health.report_once(&rights(key), error.to_string()),
            _ => self.health.failed(&subject(key), error),
        }
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        Outcome::Failed
    }
}

fn subject(key: &Key) -> String {
    format!("status of {key}")
}

fn rights(key: &Key) -> String {
    format!("rights to the status of {}", key.kind)
}

/// An object without a status has nothing in it.
fn same(merged: &Value, live: &Value) -> bool {
    merged == live || (live.is_null() && merged.as_object().is_some_and(serde_json::Map::is_empty))
}
