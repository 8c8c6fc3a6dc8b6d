//! Objects that are read because somebody needs them: Secrets, and whatever else must not be read as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_api::ObjectRef;
use gatehouse_model::NamespacedName;
use gatehouse_translate::Change;
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::members::{Members, Names, NamesSender};
use super::progress::Progress;
use super::selection::{Selection, Sink};
use super::watcher::Watcher;
use super::{Scope, SecretMode, SourceConfig, SourceEvent};
use crate::api::Api;
use crate::kinds::Kind;

/// A watcher that runs.
struct Running {
    task: AbortHandle,
    progress: watch::Receiver<Progress>,
}

/// The wanted objects of one namespace.
#[derive(Default)]
struct Namespace {
    names: BTreeSet<Arc<str>>,
    /// One watcher for the whole namespace, which follows this set.
    whole: Option<(NamesSender, Running)>,
    /// One watcher for each name.
    single: BTreeMap<Arc<str>, Running>,
}

/// The wanted objects of one kind.
pub(super) struct Wanted {
    api: Api,
    kind: &'static Kind,
    sink: Sink,
    /// Where they may be read; `None` for everywhere in scope.
    permitted: Option<BTreeSet<String>>,
    /// The namespaces in scope, where a selector says which.
    selected: Option<Names>,
    whole_from: usize,
    page_size: u32,
    gate: Arc<Semaphore>,
    namespaces: BTreeMap<Arc<str>, Namespace>,
    tasks: JoinSet<()>,
    /// Never withdraws.
    stay: watch::Sender<bool>,
}

impl Wanted {
    pub(super) fn new(
        api: Api,
        config: &SourceConfig,
        sink: Sink,
        kind: &'static Kind,
        selected: &NamesSender,
    ) -> Self {
        let (permitted, whole_from) = match (&config.secrets, &config.scope) {
            (SecretMode::Namespaces(names), _) => (Some(names.clone()), 0),
            (SecretMode::Wanted, Scope::Namespaces(names)) => {
                (Some(names.clone()), config.secrets_per_namespace)
            }
            (SecretMode::Wanted, _) => (None, config.secrets_per_namespace),
        };
        let selected = matches!(config.scope, Scope::Selector(_)).then(|| selected.subscribe());
        Self {
            api,
            kind,
            sink,
            permitted,
            selected,
            whole_from,
            page_size: config.page_size,
            gate: Arc::new(Semaphore::new(config.parallel_secrets.max(1))),
            namespaces: BTreeMap::new(),
            tasks: JoinSet::new(),
            stay: watch::Sender::new(false),
        }
    }

    /// Follows what is wanted and what is not any more.
    pub(super) async fn update(&mut self, wants: Vec<(NamespacedName, bool)>) {
        let mut touched = BTreeSet::new();
        let mut answers = Vec::new();
        for (key, wanted) in wants {
            if wanted && !self.may_read(&key.namespace) {
                self.sink.health.report(
                    &format!("{} {key}", self.kind.name),
                    "it is wanted, but its namespace is not among those that may be read; it counts as absent",
                );
                answers.push(Change::Remove(self.id(&key)));
                continue;
            }
            let namespace = self.namespaces.entry(key.namespace.clone()).or_default();
            if wanted {
                namespace.names.insert(key.name.clone());
            } else {
                namespace.names.remove(&key.name);
                self.sink.health.clear(&format!("{} {key}", self.kind.name));
                // Its value may be old when it is wanted again.
                answers.push(Change::Forget(self.id(&key)));
            }
            touched.insert(key.namespace);
        }
        for namespace in touched {
            self.settle(&namespace);
        }
        while self.tasks.try_join_next().is_some() {}
        if !answers.is_empty() && self.sink.changes.send(SourceEvent::Changes(answers)).await.is_err() {
            tracing::debug!("nobody listens any more");
        }
    }

    fn may_read(&self, namespace: &str) -> bool {
        let permitted = self.permitted.as_ref().is_none_or(|names| names.contains(namespace));
        let selected = self
            .selected
            .as_ref()
            .is_none_or(|names| names.borrow().as_ref().is_some_and(|names| names.contains(namespace)));
        permitted && selected
    }

    /// Makes the watchers of a namespace fit what is wanted of it.
    fn settle(&mut self, key: &Arc<str>) {
        let Some(mut namespace) = self.namespaces.remove(key) else { return };
        if namespace.names.is_empty() {
            namespace.stop();
            return;
        }
        if let Some((names, _)) = &namespace.whole {
            names.send_replace(Some(Arc::new(namespace.names.clone())));
        } else if namespace.names.len() > self.whole_from {
            namespace.stop();
            let names = watch::Sender::new(Some(Arc::new(namespace.names.clone())));
            let members = Some(Members::of_names(names.subscribe()));
            let running = self.start(Selection { members, ..self.selection(key) });
            namespace.whole = Some((names, running));
        } else {
            namespace.single.retain(|name, running| {
                let keep = namespace.names.contains(name);
                if !keep {
                    running.task.abort();
                }
                keep
            });
            for name in &namespace.names {
                if !namespace.single.contains_key(name) {
                    let running = self.start(Selection { name: Some(name.clone()), ..self.selection(key) });
                    namespace.single.insert(name.clone(), running);
                }
            }
        }
        self.namespaces.insert(key.clone(), namespace);
    }

    fn selection(&self, namespace: &Arc<str>) -> Selection {
        Selection::whole(self.kind, self.kind.versions[0], namespace.clone())
    }

    fn start(&mut self, selection: Selection) -> Running {
        let watcher = Watcher::new(self.api.clone(), selection, self.page_size, self.sink.clone());
        let progress = watcher.progress();
        let task = self.tasks.spawn(watcher.gated(self.gate.clone()).run(self.stay.subscribe()));
        Running { task, progress }
    }

    /// Where each watcher stands.
    pub(super) fn progress(&self) -> impl Iterator<Item = &watch::Receiver<Progress>> {
        self.namespaces.values().flat_map(|namespace| {
            let whole = namespace.whole.iter().map(|(_, running)| running);
            whole.chain(namespace.single.values()).map(|running| &running.progress)
        })
    }

    fn id(&self, key: &NamespacedName) -> ObjectRef {
        ObjectRef {
            group: self.kind.group.to_owned(),
            kind: self.kind.name.to_owned(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        }
    }
}

impl Namespace {
    fn stop(&mut self) {
        for (_, running) in std::mem::take(&mut self.single) {
            running.task.abort();
        }
        if let Some((_, running)) = self.whole.take() {
            running.task.abort();
        }
    }
}
