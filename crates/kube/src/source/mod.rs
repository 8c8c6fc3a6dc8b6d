//! What the cluster holds, as changes for the graph.
//!
//! ```text
//! probe (which kinds are served) --> one watcher per kind (and namespace) --> SourceEvent::Changes
//! wants (Secrets) -----------------> one watcher per Secret, or namespace --/
//! all first lists complete ------------------------------------------------> SourceEvent::Synced, once
//! ```

mod director;
mod members;
mod page;
mod probe;
mod wanted;
mod watcher;

use std::collections::BTreeSet;
use std::time::Duration;

use gatehouse_model::NamespacedName;
use gatehouse_translate::Change;
use tokio::sync::mpsc;

use crate::api::Api;
use crate::health::Health;
use crate::status::StatusObserver;

/// Subject of the trouble that concerns all requests.
pub(crate) const API_SERVER: &str = "API server";

/// Which namespaces are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    #[default]
    Cluster,
    /// These: Roles in them suffice, beside GatewayClasses.
    Namespaces(BTreeSet<String>),
    /// Those with labels that match this selector, as they come and go. Needs rights to the whole cluster: access rules
    /// know no selectors.
    Selector(String),
}

/// Which Secrets may be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SecretMode {
    /// Wanted ones, wherever they are in scope: one watch per Secret, or one per namespace where many are wanted.
    #[default]
    Wanted,
    /// Wanted ones of these namespaces only, which are watched as a whole. Others count as absent.
    Namespaces(BTreeSet<String>),
}

/// What to watch, and how.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Which namespaces.
    pub scope: Scope,
    /// Which Secrets.
    pub secrets: SecretMode,
    /// From so many wanted Secrets on, a namespace is watched as a whole: each watch costs a connection.
    pub secrets_per_namespace: usize,
    /// How many Secrets and namespaces of Secrets are listed at once.
    pub parallel_secrets: usize,
    /// Whether Envoy Gateway's `Backend` is watched; it can point into the cluster's inside.
    pub backends: bool,
    /// A namespace where EnvoyProxies are watched besides those in scope: what GatewayClasses refer to may stand outside.
    pub parameters: Option<String>,
    /// Objects per page of a list.
    pub page_size: u32,
    /// How often to ask which kinds are served. Asked each second while something that we need is not.
    pub probe_every: Duration,
    /// How long an optional kind must be away before its objects count as gone: a CRD may be replaced.
    pub vanish_after: Duration,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            scope: Scope::Cluster,
            secrets: SecretMode::Wanted,
            secrets_per_namespace: 16,
            parallel_secrets: 32,
            backends: false,
            parameters: None,
            page_size: 500,
            probe_every: Duration::from_secs(5),
            vanish_after: Duration::from_secs(10),
        }
    }
}

/// What the source tells.
#[derive(Debug)]
pub enum SourceEvent {
    /// Facts, in order. Apply them as they come.
    Changes(Vec<Change>),
    /// The first list of everything that is served is complete: from now on an absent fact is an absent object. Comes
    /// exactly once; nothing may be served or written before it.
    Synced,
}

/// Steers a running source; dropped, the source ends.
#[derive(Clone, Debug)]
pub struct SourceHandle {
    wants: mpsc::UnboundedSender<Vec<(NamespacedName, bool)>>,
}

impl SourceHandle {
    /// Secrets that somebody needs (`true`) or nobody needs any more. Each that is needed is answered by an upsert, by a
    /// removal when it does not exist, or by [`Change::Forget`] when it cannot be read.
    pub fn want_secrets(&self, wants: Vec<(NamespacedName, bool)>) {
        if self.wants.send(wants).is_err() {
            tracing::debug!("the source has ended");
        }
    }
}

/// The cluster's objects.
#[derive(Debug)]
pub struct Source;

impl Source {
    /// Starts all watches on the current runtime; they end when the handle or the receiver is dropped.
    ///
    /// `observer` is told of the statuses that objects have, see [`crate::status::StatusWriter`]. Troubles stand on
    /// `health` by subject while they last: what is waited for, rights that are missing, an API server that is away.
    pub fn start(
        api: Api,
        config: SourceConfig,
        observer: Option<StatusObserver>,
        health: Health,
    ) -> (SourceHandle, mpsc::Receiver<SourceEvent>) {
        // Few batches: lists wait for the graph rather than pile up.
        let (changes, events) = mpsc::channel(16);
        let (wants, wanted) = mpsc::unbounded_channel();
        let sink = watcher::Sink { changes, observer, health };
        tokio::spawn(director::Director::new(api, config, sink).run(wanted));
        (SourceHandle { wants }, events)
    }
}
