//! Decides what is watched: starts watchers as kinds appear, withdraws them when kinds vanish, says when all is listed and
//! when all is current.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_translate::Change;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::members::{Members, NamesSender};
use super::pods::Pods;
use super::probe::{Served, probe};
use super::progress::Progress;
use super::selection::{Selection, Sink};
use super::wanted::Wanted;
use super::watcher::Watcher;
use super::{API_SERVER, Order, Scope, SourceConfig, SourceEvent};
use crate::api::Api;
use crate::kinds::{self, Kind, Need};

/// How often to look for something that we cannot do without.
const EAGER: Duration = Duration::from_secs(1);

/// A kind that is being watched.
struct Running {
    withdraw: watch::Sender<bool>,
    progress: Vec<watch::Receiver<Progress>>,
    /// Since when the API server says that there is no such kind.
    missing_since: Option<Instant>,
}

/// By group and plural.
type RunningKinds = BTreeMap<(&'static str, &'static str), Running>;

pub(super) struct Director {
    api: Api,
    config: SourceConfig,
    sink: Sink,
    running: RunningKinds,
    /// The namespaces of a selector's scope, kept by the watcher of namespaces.
    namespaces: NamesSender,
    tasks: JoinSet<()>,
    synced: bool,
    questions: watch::Sender<u64>,
    /// The question that whoever steers us waits for.
    asked: Option<u64>,
}

impl Director {
    /// `questions` are what the sink's watchers hear.
    pub(super) fn new(api: Api, config: SourceConfig, sink: Sink, questions: watch::Sender<u64>) -> Self {
        Self {
            api,
            config,
            sink,
            running: BTreeMap::new(),
            namespaces: watch::Sender::new(None),
            tasks: JoinSet::new(),
            synced: false,
            questions,
            asked: None,
        }
    }

    /// Runs until the handle or the receiver is dropped; the watchers end with it.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let wanted =
            |kind| Wanted::new(self.api.clone(), &self.config, self.sink.clone(), kind, &self.namespaces);
        let (mut secrets, mut config_maps) = (wanted(&kinds::SECRET), wanted(&kinds::CONFIG_MAP));
        let mut pods = Pods::new(self.api.clone(), &self.config, self.sink.clone());
        let changes = self.sink.changes.clone();
        loop {
            let wait = self.probe().await;
            let again = tokio::time::sleep(wait);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    () = &mut again => break,
                    () = changes.closed() => return,
                    order = orders.recv() => match order {
                        Some(Order::WantSecrets(batch)) => secrets.update(batch).await,
                        Some(Order::WantConfigMaps(batch)) => config_maps.update(batch).await,
                        Some(Order::WantPods(batch)) => pods.update(batch),
                        Some(Order::CatchUp(question)) => {
                            self.asked = Some(question);
                            // Asked again, it is about those who came since.
                            self.questions.send_if_modified(|old| std::mem::replace(old, question) != question);
                        }
                        None => return,
                    },
                    () = all(progress(&self.running), |progress| progress.listed), if !self.synced && self.complete() => {
                        self.synced = true;
                        if changes.send(SourceEvent::Synced).await.is_err() {
                            return;
                        }
                    }
                    Some(question) = caught_up(
                        self.asked,
                        progress(&self.running)
                            .chain(secrets.progress())
                            .chain(config_maps.progress())
                            .chain(pods.progress()),
                    ), if self.synced =>
                    {
                        self.asked = None;
                        if changes.send(SourceEvent::CaughtUp(question)).await.is_err() {
                            return;
                        }
                    }
                    // Watchers end only when they are withdrawn.
                    Some(_) = self.tasks.join_next() => {}
                }
            }
        }
    }

    /// Asks what is served and follows it; returns when to ask again.
    async fn probe(&mut self) -> Duration {
        let served = match probe(&self.api, kinds::WATCHED).await {
            Ok(served) => served,
            Err(error) => {
                self.sink.health.failed("discovery", &error);
                return EAGER;
            }
        };
        self.sink.health.clear(API_SERVER);
        self.sink.health.clear("discovery");
        for kind in kinds::WATCHED {
            if self.concerns(kind) {
                self.follow(kind, &served).await;
            }
        }
        if self.complete() { self.config.probe_every } else { EAGER.min(self.config.probe_every) }
    }

    fn concerns(&self, kind: &Kind) -> bool {
        kind.name != "Backend" || self.config.backends
    }

    async fn follow(&mut self, kind: &'static Kind, served: &Served) {
        let id = (kind.group, kind.plural);
        let subject = format!("CRD {}.{}", kind.plural, kind.group);
        match (served.get(&id), self.running.get_mut(&id)) {
            (Some(_), Some(running)) => {
                running.missing_since = None;
                self.sink.health.clear(&subject);
            }
            (Some(version), None) => {
                self.sink.health.clear(&subject);
                if self.synced {
                    tracing::info!(
                        kind = kind.name,
                        version,
                        "the kind is there: its objects count from now on"
                    );
                }
                self.tell_served(kind, true).await;
                let running = self.start(kind, version);
                self.running.insert(id, running);
            }
            (None, running) => {
                if kind.need == Need::Required {
                    // Its objects stay as they were last known: nobody takes a whole API away on purpose while we run.
                    let text =
                        "not installed; waiting for it: install the Gateway API CRDs (standard channel)";
                    self.sink.health.report(&subject, text);
                } else if let Some(running) = running {
                    let since = *running.missing_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.config.vanish_after {
                        tracing::info!(kind = kind.name, "the kind is gone: its objects count no more");
                        running.withdraw.send_replace(true);
                        self.running.remove(&id);
                        self.tell_served(kind, false).await;
                    }
                }
            }
        }
    }

    /// Of this kind it counts whether there could be objects: what is claimed depends on it.
    async fn tell_served(&self, kind: &Kind, served: bool) {
        if kind.name == "ClusterTrustBundle" {
            // Whoever does not listen any more ends us.
            let _ = self.sink.changes.send(SourceEvent::Changes(vec![Change::TrustBundles(served)])).await;
        }
    }

    /// Whether everything that is needed is being watched.
    fn complete(&self) -> bool {
        let needed = kinds::WATCHED.iter().filter(|kind| kind.need != Need::Optional);
        needed.into_iter().all(|kind| self.running.contains_key(&(kind.group, kind.plural)))
    }

    fn start(&mut self, kind: &'static Kind, version: &'static str) -> Running {
        let withdraw = watch::Sender::new(false);
        let mut progress = Vec::new();
        for selection in self.selections(kind, version) {
            let publishes = kind.name == "Namespace" && selection.labels.is_some();
            let mut watcher =
                Watcher::new(self.api.clone(), selection, self.config.page_size, self.sink.clone());
            if publishes {
                watcher = watcher.publish_names(self.namespaces.clone());
            }
            progress.push(watcher.progress());
            self.tasks.spawn(watcher.run(withdraw.subscribe()));
        }
        Running { withdraw, progress, missing_since: None }
    }

    /// How a kind is watched in our scope.
    fn selections(&self, kind: &'static Kind, version: &'static str) -> Vec<Selection> {
        let whole = |namespace: &str| Selection::whole(kind, version, namespace.into());
        let parameters = self.config.parameters.as_ref().filter(|_| kind.name == "EnvoyProxy");
        match &self.config.scope {
            // Classes may refer to any, and there are few.
            Scope::Selector(_) if kind.name == "EnvoyProxy" => vec![whole("")],
            Scope::Namespaces(names) if kind.name == "Namespace" => {
                names.iter().map(|name| Selection { name: Some(name.as_str().into()), ..whole("") }).collect()
            }
            Scope::Namespaces(names) if kind.namespaced => {
                let more = parameters.filter(|more| !names.contains(*more));
                names.iter().chain(more).map(|name| whole(name)).collect()
            }
            Scope::Selector(labels) if kind.name == "Namespace" => {
                vec![Selection { labels: Some(labels.as_str().into()), ..whole("") }]
            }
            Scope::Selector(_) if kind.namespaced => {
                let members = Members::of_namespaces(self.namespaces.subscribe());
                vec![Selection { members: Some(members), ..whole("") }]
            }
            _ => vec![whole("")],
        }
    }
}

fn progress(running: &RunningKinds) -> impl Iterator<Item = &watch::Receiver<Progress>> {
    running.values().flat_map(|running| &running.progress)
}

/// Waits until all watchers are so far.
async fn all(watchers: impl Iterator<Item = &watch::Receiver<Progress>>, so_far: impl Fn(&Progress) -> bool) {
    for watcher in watchers {
        // One that has ended has nothing more to tell.
        let _ = watcher.clone().wait_for(&so_far).await;
    }
}

/// Waits until all watchers have answered a question, and names it.
async fn caught_up(
    asked: Option<u64>,
    watchers: impl Iterator<Item = &watch::Receiver<Progress>>,
) -> Option<u64> {
    let question = asked?;
    all(watchers, |progress| progress.current >= question).await;
    Some(question)
}
