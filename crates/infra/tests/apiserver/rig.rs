//! Requests and an applier for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_infra::{
    Applier, ApplierConfig, FleetObject, InfraEvent, InfraState, Placement, Settings, WantedChange,
};
use gatehouse_model::FleetKey;
use gatehouse_translate::FleetPlan;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::support::read;

const PATIENCE: Duration = Duration::from_secs(30);

/// An API server, to look at and to meddle with.
#[derive(Clone)]
pub(super) struct Cluster {
    client: kube::Client,
}

impl Cluster {
    pub(super) fn new(client: kube::Client) -> Self {
        Self { client }
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> Result<Value, String> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(if body.is_null() { Vec::new() } else { body.to_string().into_bytes() })
            .expect("a request");
        let text = self.client.request_text(request).await.map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    pub(super) async fn namespace(&self, name: &str) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        // It may exist.
        let _ = self.send("POST", "/api/v1/namespaces", "application/json", &namespace).await;
    }

    pub(super) async fn dry_run(&self, object: &FleetObject) -> Result<Value, String> {
        let kind = object.kind;
        let root = if kind.group().is_empty() { "/api" } else { "/apis" };
        let path = format!(
            "{root}/{}/namespaces/{}/{}/{}?fieldManager=test&dryRun=All&fieldValidation=Strict",
            kind.api_version(),
            object.namespace,
            kind.plural(),
            object.name
        );
        self.send("PATCH", &path, "application/apply-patch+yaml", &object.body).await
    }

    /// `None` when it does not exist.
    pub(super) async fn get(&self, path: &str) -> Option<Value> {
        self.send("GET", path, "application/json", &Value::Null).await.ok()
    }

    pub(super) async fn merge(&self, path: &str, change: Value) {
        self.send("PATCH", path, "application/merge-patch+json", &change).await.expect("a patch");
    }

    pub(super) async fn delete(&self, path: &str) {
        self.send("DELETE", path, "application/json", &Value::Null).await.expect("a deletion");
    }

    /// Asks until the answer pleases.
    pub(super) async fn until(
        &self,
        what: &str,
        path: &str,
        pleases: impl Fn(Option<&Value>) -> bool,
    ) -> Value {
        let started = Instant::now();
        loop {
            let found = self.get(path).await;
            if pleases(found.as_ref()) {
                return found.unwrap_or_default();
            }
            assert!(started.elapsed() < PATIENCE, "{what} did not come about; {path} is {found:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A namespace with an applier that knows nothing of other tests'.
pub(super) struct Rig {
    pub(super) cluster: Cluster,
    pub(super) namespace: String,
    pub(super) settings: Settings,
}

impl Rig {
    pub(super) async fn new(cluster: &Cluster, namespace: &str, placement: Placement) -> Self {
        cluster.namespace(namespace).await;
        let settings = Settings {
            controller: format!("test/{namespace}"),
            controller_namespace: namespace.to_owned(),
            placement,
            ..Settings::default()
        };
        Self { cluster: cluster.clone(), namespace: namespace.to_owned(), settings }
    }

    /// A plan in this namespace, as the cases write them.
    pub(super) fn plan(&self, text: &str) -> Arc<FleetPlan> {
        let mut plan = read(text).plan();
        plan.fleet.0.namespace = self.namespace.as_str().into();
        Arc::new(plan)
    }

    pub(super) fn core(&self, plural: &str, name: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}/{name}", self.namespace)
    }

    pub(super) fn apps(&self, plural: &str, name: &str) -> String {
        format!("/apis/apps/v1/namespaces/{}/{plural}/{name}", self.namespace)
    }

    pub(super) fn hpa(&self, name: &str) -> String {
        format!("/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers/{name}", self.namespace)
    }

    pub(super) fn start(&self) -> Run {
        let (wanted, changes) = mpsc::channel(16);
        let (sender, events) = mpsc::unbounded_channel();
        let config = ApplierConfig::new(Arc::new(self.settings.clone()));
        let applier = Applier::start(self.cluster.client.clone(), config, changes, sender);
        Run { applier, wanted, events, states: BTreeMap::new() }
    }
}

/// A running applier.
pub(super) struct Run {
    applier: Applier,
    wanted: mpsc::Sender<WantedChange>,
    events: mpsc::UnboundedReceiver<InfraEvent>,
    states: BTreeMap<FleetKey, InfraState>,
}

impl Run {
    pub(super) async fn want(&self, plans: &[&Arc<FleetPlan>], complete: bool) {
        let fleets = plans.iter().map(|plan| (plan.fleet.clone(), Some(Arc::clone(plan)))).collect();
        self.change(WantedChange { fleets, complete, ..WantedChange::default() }).await;
    }

    /// Everything is named; this fleet has no plan that could be followed.
    pub(super) async fn keep(&self, plan: &FleetPlan) {
        let kept = [plan.fleet.clone()].into();
        self.change(WantedChange { kept, complete: true, ..WantedChange::default() }).await;
    }

    pub(super) async fn end(&self, plan: &FleetPlan) {
        let fleets = BTreeMap::from([(plan.fleet.clone(), None)]);
        self.change(WantedChange { fleets, ..WantedChange::default() }).await;
    }

    async fn change(&self, change: WantedChange) {
        self.wanted.send(change).await.expect("the applier runs");
    }

    /// Waits for a state of a fleet.
    pub(super) async fn state(
        &mut self,
        plan: &FleetPlan,
        pleases: impl Fn(&InfraState) -> bool,
    ) -> InfraState {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(state) = self.states.get(&plan.fleet).filter(|state| pleases(state)) {
                return state.clone();
            }
            match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) => drop(self.states.insert(event.fleet, event.state)),
                _ => panic!("no such state of {}; the states are {:#?}", plan.fleet, self.states),
            }
        }
    }

    pub(super) async fn stop(self) {
        self.applier.stop().await;
    }
}
