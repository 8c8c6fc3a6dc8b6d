//! Decides what is watched: starts watchers as kinds appear, withdraws them when kinds vanish, says when all is listed.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_model::NamespacedName;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::members::{Members, NamesSender};
use super::probe::{Served, probe};
use super::wanted::Wanted;
use super::watcher::{Progress, Selection, Sink, Watcher};
use super::{API_SERVER, Scope, SourceConfig, SourceEvent};
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

pub(super) struct Director {
    api: Api,
    config: SourceConfig,
    sink: Sink,
    running: BTreeMap<(&'static str, &'static str), Running>,
    /// The namespaces of a selector's scope, kept by the watcher of namespaces.
    namespaces: NamesSender,
    tasks: JoinSet<()>,
    synced: bool,
}

impl Director {
    pub(super) fn new(api: Api, config: SourceConfig, sink: Sink) -> Self {
        Self {
            api,
            config,
            sink,
            running: BTreeMap::new(),
            namespaces: watch::Sender::new(None),
            tasks: JoinSet::new(),
            synced: false,
        }
    }

    /// Runs until the handle or the receiver is dropped; the watchers end with it.
    pub(super) async fn run(mut self, mut wants: mpsc::UnboundedReceiver<Vec<(NamespacedName, bool)>>) {
        let mut wanted =
            Wanted::new(self.api.clone(), &self.config, self.sink.clone(), &kinds::SECRET, &self.namespaces);
        let changes = self.sink.changes.clone();
        loop {
            let wait = self.probe().await;
            let again = tokio::time::sleep(wait);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    () = &mut again => break,
                    () = changes.closed() => return,
                    batch = wants.recv() => match batch {
                        Some(batch) => wanted.update(batch).await,
                        None => return,
                    },
                    () = listed(&self.running), if !self.synced && self.complete() => {
                        self.synced = true;
                        if changes.send(SourceEvent::Synced).await.is_err() {
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
                self.follow(kind, &served);
            }
        }
        if self.complete() { self.config.probe_every } else { EAGER.min(self.config.probe_every) }
    }

    fn concerns(&self, kind: &Kind) -> bool {
        kind.name != "Backend" || self.config.backends
    }

    fn follow(&mut self, kind: &'static Kind, served: &Served) {
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
                        "the CRD is there: its objects count from now on"
                    );
                }
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
                        tracing::info!(kind = kind.name, "the CRD is gone: its objects count no more");
                        running.withdraw.send_replace(true);
                        self.running.remove(&id);
                    }
                }
            }
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

/// Waits until every watcher has its first list.
async fn listed(running: &BTreeMap<(&'static str, &'static str), Running>) {
    for progress in running.values().flat_map(|running| &running.progress) {
        let mut progress = progress.clone();
        // A watcher that has ended has nothing more to list.
        let _ = progress.wait_for(|progress| *progress == Progress::Listed).await;
    }
}
