//! What the cluster holds, as changes for the graph.
//!
//! ```text
//! probe (which kinds are served) --> one watcher per kind (and namespace) --> SourceEvent::Changes
//! wants (Secrets, ConfigMaps) -----> one watcher per object, or namespace --/
//! wants (pods by labels) ----------> one watcher per namespace -------------/
//! all first lists complete ------------------------------------------------> SourceEvent::Synced, once
//! all lists and watches newer than a question -----------------------------> SourceEvent::CaughtUp, once for each
//! ```

mod director;
mod members;
mod page;
mod pods;
mod probe;
mod progress;
mod selection;
mod wanted;
mod watcher;

use std::collections::BTreeSet;
use std::time::Duration;

use gatehouse_model::NamespacedName;
use gatehouse_translate::{Change, PodSelection};
use tokio::sync::{mpsc, watch};

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
    /// Everything that was true when [`SourceHandle::catch_up`] was called with this number has been told. Comes after
    /// [`SourceEvent::Synced`].
    CaughtUp(u64),
}

/// What the source is told.
#[derive(Debug)]
enum Order {
    WantSecrets(Vec<(NamespacedName, bool)>),
    WantConfigMaps(Vec<(NamespacedName, bool)>),
    WantPods(Vec<(PodSelection, bool)>),
    CatchUp(u64),
}

/// Steers a running source; dropped, the source ends.
#[derive(Clone, Debug)]
pub struct SourceHandle {
    orders: mpsc::UnboundedSender<Order>,
}

impl SourceHandle {
    /// Secrets that somebody needs (`true`) or nobody needs any more. Each that is needed is answered by an upsert, by a
    /// removal when it does not exist, or by [`Change::Forget`] when it cannot be read.
    pub fn want_secrets(&self, wants: Vec<(NamespacedName, bool)>) {
        self.order(Order::WantSecrets(wants));
    }

    /// The same of ConfigMaps.
    pub fn want_config_maps(&self, wants: Vec<(NamespacedName, bool)>) {
        self.order(Order::WantConfigMaps(wants));
    }

    /// Pods that somebody needs or nobody any more. A selection is answered by [`Change::Selected`] after its pods, also when
    /// they may not be read: then there are none.
    pub fn want_pods(&self, wants: Vec<(PodSelection, bool)>) {
        self.order(Order::WantPods(wants));
    }

    /// Asks for [`SourceEvent::CaughtUp`] with this number, which must not be smaller than an earlier one. A newer question
    /// takes an open one's place. It is answered when the API server vouches for it, within seconds as a rule; the Secrets
    /// that were wanted before are among what it is about.
    pub fn catch_up(&self, question: u64) {
        self.order(Order::CatchUp(question));
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
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
        let (orders, ordered) = mpsc::unbounded_channel();
        let (questions, asked) = watch::channel(0);
        let sink = selection::Sink { changes, observer, health, questions: asked };
        tokio::spawn(director::Director::new(api, config, sink, questions).run(ordered));
        (SourceHandle { orders }, events)
    }
}
