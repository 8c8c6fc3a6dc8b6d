//! One round of work for one fleet: apply what differs, then prune what is left over.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_model::FleetKey;
use serde_json::{Value, json};

use super::client::{Client, Failure, HANDOVER_MANAGER, MANAGER};
use super::drift::project;
use super::live::{Id, Live, Watched};
use super::state::{last_warning, waits_for_address};
use crate::names::CONTROLLER_LABEL;
use crate::objects::{FleetObject, FleetObjects, Kind};

/// Hash of what was applied last: an object that carries it and reads as it was applied needs nothing after a restart.
pub(super) const APPLIED_ANNOTATION: &str = "gatehouse.dev/applied";

/// What we know of an object since we applied it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Memory {
    hash: String,
    /// How the fields that we set read in the API server's answer: it may spell quantities in another way than we do.
    reads: Value,
}

/// A round of work.
pub(super) struct Job {
    pub(super) client: Client,
    pub(super) fleet: FleetKey,
    /// Value of our label.
    pub(super) controller: String,
    /// `None` when everything is to go.
    pub(super) objects: Option<Arc<FleetObjects>>,
    /// Live objects of this fleet, pods left out.
    pub(super) live: BTreeMap<Id, Live>,
    /// Who else has one of the names.
    pub(super) strangers: BTreeMap<Id, Live>,
    pub(super) memory: BTreeMap<Id, Memory>,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Outcome {
    /// Answers of the API server.
    pub(super) applied: Vec<(Id, Value)>,
    pub(super) memory: BTreeMap<Id, Memory>,
    pub(super) foreign: Vec<String>,
    pub(super) failures: Vec<Failure>,
    /// Objects that are not what they were taken for: gone, or another of the same name.
    pub(super) mistaken: Vec<Id>,
    /// Something is to be pruned when what takes its place is ready.
    pub(super) unfinished: bool,
    /// Objects that had drifted.
    pub(super) repaired: usize,
    /// While the Service waits for an address.
    pub(super) waits: Option<Waits>,
}

/// Why a Service waits for an address.
pub(super) enum Waits {
    /// The load balancer's words, if it has any.
    Said(Option<String>),
    /// They could not be read.
    Unknown(Failure),
}

pub(super) fn id(object: &FleetObject) -> Id {
    Id {
        watched: Watched::Object(object.kind),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
    }
}

impl Job {
    pub(super) async fn run(self) -> Outcome {
        let mut outcome = Outcome { memory: self.memory.clone(), ..Outcome::default() };
        let mut account = true;
        for object in self.objects.iter().flat_map(|objects| &objects.objects) {
            // Pods with somebody else's account would be taken for somebody else's proxies.
            if !account && matches!(object.kind, Kind::Deployment | Kind::DaemonSet) {
                continue;
            }
            if let Err(failure) = self.object(object, &mut outcome).await {
                if failure.code == Some(409) {
                    outcome.mistaken.push(id(object));
                }
                outcome.failures.push(failure);
            }
            account &= object.kind != Kind::ServiceAccount || outcome.foreign.is_empty();
        }
        // While something is missing, what it replaces is still needed.
        if outcome.failures.is_empty() && outcome.foreign.is_empty() {
            self.prune(&mut outcome).await;
        }
        outcome.waits = self.address_waits().await;
        outcome
    }

    /// Asks why the Service has no address; nothing while it has one.
    async fn address_waits(&self) -> Option<Waits> {
        let id = id(self.objects.as_ref()?.get(Kind::Service)?);
        let live = self.live.get(&id).filter(|live| waits_for_address(&live.body))?;
        Some(match self.client.warnings(&id, Kind::Service, &live.uid).await {
            Ok(events) => Waits::Said(last_warning(&events)),
            Err(failure) => Waits::Unknown(failure),
        })
    }

    async fn object(&self, object: &FleetObject, outcome: &mut Outcome) -> Result<(), Failure> {
        let id = id(object);
        let live = match self.live.get(&id) {
            Some(live) => Some(live.clone()),
            None => match self.stranger(&id).await? {
                Some(stranger) => {
                    self.refuse(&id, &stranger, outcome);
                    return Ok(());
                }
                None => None,
            },
        };
        let mut body = (*object.body).clone();
        if live.as_ref().is_some_and(|live| live.replicas.scaled)
            && let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut)
            && spec.contains_key("replicas")
            && self.is_scaled(&id).await?
        {
            spec.remove("replicas");
        }
        let hash = blake3::hash(body.to_string().as_bytes()).to_hex()[..16].to_owned();
        if let Some(live) = &live {
            match self.standing(&id, &body, &hash, live) {
                Standing::AsApplied => return Ok(()),
                Standing::Outdated => {}
                Standing::Drifted => outcome.repaired += 1,
            }
            self.hand_over(&id, &body, live).await?;
        }
        let mut sent = body.clone();
        sent["metadata"]["annotations"][APPLIED_ANNOTATION] = hash.as_str().into();
        if let Some(live) = &live {
            // Another object of this name that came in between is not seized.
            sent["metadata"]["uid"] = live.uid.as_str().into();
        }
        let answer = self.client.apply(&id, &sent, MANAGER).await?;
        outcome.memory.insert(id.clone(), Memory { reads: project(&body, &answer), hash });
        outcome.applied.push((id, answer));
        Ok(())
    }

    fn standing(&self, id: &Id, body: &Value, hash: &str, live: &Live) -> Standing {
        if live.body["metadata"]["annotations"][APPLIED_ANNOTATION] != *hash {
            return Standing::Outdated;
        }
        let reads = project(body, &live.body);
        match self.memory.get(id).filter(|memory| memory.hash == hash) {
            Some(memory) if memory.reads == reads => Standing::AsApplied,
            Some(_) => Standing::Drifted,
            None if reads == *body => Standing::AsApplied,
            None => Standing::Outdated,
        }
    }

    /// An object of one of our names that is not this fleet's.
    async fn stranger(&self, id: &Id) -> Result<Option<Live>, Failure> {
        if let Some(stranger) = self.strangers.get(id) {
            return Ok(Some(stranger.clone()));
        }
        let found = self.client.get(id).await?.map(|object| Live::new(id.watched, object));
        // The watch may lag behind our own last apply.
        Ok(found.filter(|found| {
            !(found.fleet.as_ref() == Some(&self.fleet) && found.controller == self.controller)
        }))
    }

    fn refuse(&self, id: &Id, stranger: &Live, outcome: &mut Outcome) {
        outcome.foreign.push(match &stranger.fleet {
            Some(other) if *other != self.fleet => format!("{id} belongs to Gateway {other}"),
            _ => format!(
                "{id} exists and is not ours: remove or rename it, or name ours otherwise in an EnvoyProxy"
            ),
        });
    }

    /// Whether an autoscaler, whoever made it, scales this Deployment. That it once did stays on record for ever, so it
    /// must be asked.
    async fn is_scaled(&self, id: &Id) -> Result<bool, Failure> {
        let kind = Watched::Object(Kind::HorizontalPodAutoscaler);
        let (all, _) = self.client.list(kind, Some(&id.namespace), "").await?;
        Ok(all.iter().any(|hpa| {
            let target = &hpa["spec"]["scaleTargetRef"];
            target["kind"] == Kind::Deployment.as_str() && target["name"] == *id.name
        }))
    }

    /// A field that its only owner gives up falls back to its default, which is one replica: somebody else must own the live
    /// value before we stop to.
    async fn hand_over(&self, id: &Id, body: &Value, live: &Live) -> Result<(), Failure> {
        let gives_up = live.replicas.ours && body["spec"]["replicas"].is_null();
        let replicas = &live.body["spec"]["replicas"];
        if id.watched != Watched::Object(Kind::Deployment) || !gives_up || replicas.is_null() {
            return Ok(());
        }
        let held = json!({
            "apiVersion": Kind::Deployment.api_version(),
            "kind": Kind::Deployment.as_str(),
            "metadata": {"namespace": id.namespace, "name": id.name, "uid": live.uid},
            "spec": {"replicas": replicas},
        });
        self.client.apply(id, &held, HANDOVER_MANAGER).await.map(drop)
    }

    async fn prune(&self, outcome: &mut Outcome) {
        let ready = self.workload_is_ready();
        // The other way round than they are made.
        for (id, live) in self.live.iter().rev() {
            let Watched::Object(kind) = id.watched else { continue };
            let wanted = self.objects.iter().any(|objects| {
                objects.kept.contains(&kind) || objects.objects.iter().any(|object| self::id(object) == *id)
            });
            // Only what carries our label; a label that somebody removed is put back by the next apply.
            if wanted || live.deleting || live.controller != self.controller {
                continue;
            }
            if !ready && serves(kind) {
                outcome.unfinished = true;
                continue;
            }
            match self.client.delete(id, &live.uid).await {
                Ok(()) => drop(outcome.memory.remove(id)),
                Err(failure) => outcome.failures.push(failure),
            }
        }
    }

    /// Whether pods serve that are made by what is wanted now; true when nothing is wanted.
    fn workload_is_ready(&self) -> bool {
        let Some(objects) = &self.objects else { return true };
        let workload = objects.get(Kind::Deployment).or_else(|| objects.get(Kind::DaemonSet));
        workload.and_then(|object| self.live.get(&id(object))).is_some_and(|live| {
            let status = &live.body["status"];
            let observed = status["observedGeneration"] == live.body["metadata"]["generation"];
            let ready = status["readyReplicas"].as_u64().or_else(|| status["numberReady"].as_u64());
            observed && ready.is_some_and(|ready| ready > 0)
        })
    }
}

/// Whether pods that run need it.
fn serves(kind: Kind) -> bool {
    !matches!(kind, Kind::PodDisruptionBudget | Kind::HorizontalPodAutoscaler)
}

enum Standing {
    AsApplied,
    /// Never applied, or with another content.
    Outdated,
    /// Applied as it is, and changed by somebody since.
    Drifted,
}

/// Value of our label, by which leftovers are known.
pub(super) fn selector(controller: &str) -> String {
    format!("{}={},{CONTROLLER_LABEL}={controller}", crate::names::MANAGED_BY_LABEL, crate::names::MANAGED_BY)
}
