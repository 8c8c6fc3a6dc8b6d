//! Pods that somebody needs: one watch for each namespace where pods are selected, as narrow as one watch can be.
//!
//! ```text
//! wanted selections of a namespace -> the narrowest label selector that takes all of them -> one Watcher
//! ```
//!
//! A watch that is no more needed rests instead of ending: two for one namespace, an old and a new one, would contradict each
//! other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_translate::PodSelection;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::SourceConfig;
use super::progress::Progress;
use super::selection::{Selection, Sink};
use super::watcher::Watcher;
use crate::api::Api;
use crate::kinds;

/// Selections of one namespace.
pub(super) type Selections = Arc<BTreeSet<PodSelection>>;

/// A label with more values than this narrows nothing: the query would become too long.
const MOST_VALUES: usize = 64;

/// What is wanted of a namespace, for the watcher that follows it.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    wanted: watch::Receiver<Selections>,
    /// The set as it was looked at last.
    current: Selections,
}

impl Chosen {
    /// Takes the newest set and returns the label selector of all of them; `None` takes the whole namespace.
    pub(super) fn refresh(&mut self) -> Option<Arc<str>> {
        self.current = self.wanted.borrow_and_update().clone();
        narrowest(&self.current)
    }

    pub(super) fn current(&self) -> &Selections {
        &self.current
    }

    /// Waits until somebody wants pods.
    pub(super) async fn ready(&mut self) {
        if self.wanted.wait_for(|wanted| !wanted.is_empty()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for the set to change; for ever where there is none.
    pub(super) async fn changed(chosen: Option<&mut Self>) {
        let changed = match chosen {
            Some(chosen) => chosen.wanted.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            std::future::pending::<()>().await;
        }
    }
}

/// A label selector that takes every pod of these selections and few others: the labels that all of them name.
fn narrowest(selections: &BTreeSet<PodSelection>) -> Option<Arc<str>> {
    let first = selections.first()?;
    let term = |label: &String| {
        let values: Option<BTreeSet<&str>> =
            selections.iter().map(|selection| selection.labels.get(label).map(String::as_str)).collect();
        let values = values.filter(|values| values.len() <= MOST_VALUES)?;
        Some(format!("{label} in ({})", values.into_iter().collect::<Vec<_>>().join(",")))
    };
    let terms: Vec<String> = first.labels.keys().filter_map(term).collect();
    (!terms.is_empty()).then(|| terms.join(",").into())
}

/// A namespace's watcher and what steers it.
struct Namespace {
    wanted: watch::Sender<Selections>,
    progress: watch::Receiver<Progress>,
}

/// The wanted pods.
pub(super) struct Pods {
    api: Api,
    sink: Sink,
    page_size: u32,
    gate: Arc<Semaphore>,
    namespaces: BTreeMap<Arc<str>, Namespace>,
    tasks: JoinSet<()>,
    /// Never withdraws.
    stay: watch::Sender<bool>,
}

impl Pods {
    pub(super) fn new(api: Api, config: &SourceConfig, sink: Sink) -> Self {
        Self {
            api,
            sink,
            page_size: config.page_size,
            gate: Arc::new(Semaphore::new(config.parallel_secrets.max(1))),
            namespaces: BTreeMap::new(),
            tasks: JoinSet::new(),
            stay: watch::Sender::new(false),
        }
    }

    /// Follows what is wanted and what is not any more. Each that is wanted is answered by
    /// [`Change::Selected`](gatehouse_translate::Change::Selected) when its pods have been told.
    pub(super) fn update(&mut self, wants: Vec<(PodSelection, bool)>) {
        for (selection, wanted) in wants {
            if wanted && !self.namespaces.contains_key(&selection.namespace) {
                let namespace = self.start(&selection.namespace);
                self.namespaces.insert(selection.namespace.clone(), namespace);
            }
            let Some(namespace) = self.namespaces.get(&selection.namespace) else { continue };
            namespace.wanted.send_modify(|set| {
                let set = Arc::make_mut(set);
                if wanted {
                    set.insert(selection);
                } else {
                    set.remove(&selection);
                }
            });
        }
    }

    fn start(&mut self, namespace: &Arc<str>) -> Namespace {
        let (wanted, followed) = watch::channel(Selections::default());
        let kind = &kinds::POD;
        let selection = Selection {
            chosen: Some(Chosen { wanted: followed, current: Selections::default() }),
            ..Selection::whole(kind, kind.versions[0], namespace.clone())
        };
        let watcher = Watcher::new(self.api.clone(), selection, self.page_size, self.sink.clone());
        let progress = watcher.progress();
        self.tasks.spawn(watcher.gated(self.gate.clone()).run(self.stay.subscribe()));
        Namespace { wanted, progress }
    }

    /// Where each watcher stands that has something to do.
    pub(super) fn progress(&self) -> impl Iterator<Item = &watch::Receiver<Progress>> {
        let busy = self.namespaces.values().filter(|namespace| !namespace.wanted.borrow().is_empty());
        busy.map(|namespace| &namespace.progress)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gatehouse_translate::PodSelection;

    use super::narrowest;

    fn of(selections: &[&[(&str, &str)]]) -> Option<String> {
        let selection = |labels: &&[(&str, &str)]| PodSelection {
            namespace: "a".into(),
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let selections: BTreeSet<_> = selections.iter().map(selection).collect();
        narrowest(&selections).map(|text| text.to_string())
    }

    #[test]
    fn one_watch_takes_all_selections_and_is_as_narrow_as_what_they_share() {
        assert_eq!(of(&[&[("app", "x"), ("tier", "web")]]).as_deref(), Some("app in (x),tier in (web)"));
        let two: &[&[_]] = &[&[("app", "x"), ("tier", "web")], &[("app", "y")]];
        assert_eq!(of(two).as_deref(), Some("app in (x,y)"));
        assert_eq!(
            of(&[&[("app", "x")], &[("tier", "web")]]),
            None,
            "nothing in common: the whole namespace"
        );
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_label_with_many_values_makes_no_endless_query() {
        let values: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let labels: Vec<[(&str, &str); 1]> = values.iter().map(|v| [("app", v.as_str())]).collect();
        let selections: Vec<&[(&str, &str)]> = labels.iter().map(<[_; 1]>::as_slice).collect();
        assert_eq!(of(&selections), None);
    }
}
