//! Policies of every kind: one entry per target of ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_api::types::unsupported_client_traffic;
use gatehouse_engine::{Reads, SmallMap};
use gatehouse_model::NamespacedName;
use gatehouse_model::status::Condition;
use serde_json::{Value, json};

use super::{to_json, verdict};
use crate::config::Config;
use crate::facts::Facts;
use crate::grants::GATEWAY_GROUP;
use crate::policies::telemetry::unheeded;
use crate::policies::{Outcome, Outcomes, OutcomesOfUsers, Place, PolicyKind};
use crate::uses::User;

/// As many as the schema allows.
const MOST_ANCESTORS: usize = 16;

/// Stage: the status of a ClientTrafficPolicy; null when it concerns nothing of ours.
pub(crate) fn client_traffic(
    facts: &Facts,
    config: &Config,
    outcomes: &Outcomes,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Value> {
    let policy = facts.client_policies.all.get(reads, key)?;
    let unheeded = unsupported_client_traffic(&policy.spec);
    let generation = policy.metadata.generation;
    let told = outcomes.get(reads, &(PolicyKind::ClientTraffic, key.clone()));
    let told = told.into_iter().flat_map(SmallMap::iter).map(|(place, outcome)| (place, &**outcome));
    Some(status(config, told, |outcome| conditions(outcome, generation, &unheeded)))
}

/// Stage: the status of a BackendTLSPolicy; null when no route of ours uses what it is for.
pub(crate) fn backend_tls(
    facts: &Facts,
    config: &Config,
    outcomes: &OutcomesOfUsers,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Value> {
    let policy = facts.backend_tls_policies.all.get(reads, key)?;
    let unheeded: Vec<String> = policy.spec.options.keys().map(|name| format!("options.{name}")).collect();
    let generation = policy.metadata.generation;
    let told = outcomes.get(reads, &(PolicyKind::BackendTls, key.clone()));
    Some(with_references(config, told, generation, &unheeded))
}

/// Stage: the status of an XTelemetryPolicy; null when no Gateway of ours is its target.
pub(crate) fn telemetry(
    facts: &Facts,
    config: &Config,
    outcomes: &OutcomesOfUsers,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Value> {
    let policy = facts.telemetry_policies.all.get(reads, key)?;
    let told = outcomes.get(reads, &(PolicyKind::Telemetry, key.clone()));
    Some(with_references(config, told, policy.metadata.generation, &unheeded(policy)))
}

/// The status of a policy that refers to other objects.
fn with_references(
    config: &Config,
    told: Option<&SmallMap<(Place, User), Arc<Outcome>>>,
    generation: i64,
    unheeded: &[String],
) -> Value {
    let told = told.into_iter().flat_map(SmallMap::iter).map(|((place, _), outcome)| (place, &**outcome));
    // Several routes tell the same of a Gateway.
    let by_place: BTreeMap<&Place, &Outcome> = told.collect();
    status(config, by_place.into_iter(), |outcome| {
        let mut conditions = conditions(outcome, generation, unheeded);
        let good = ("ResolvedRefs", "all references resolve");
        conditions.push(verdict("ResolvedRefs", outcome.unresolved.as_ref(), good, generation));
        conditions
    })
}

/// Entries for all places of a policy.
fn status<'a>(
    config: &Config,
    told: impl Iterator<Item = (&'a Place, &'a Outcome)>,
    conditions: impl Fn(&Outcome) -> Vec<Condition>,
) -> Value {
    let Some(controller) = config.controller_names.first() else { return Value::Null };
    let entry = |(place, outcome): (&Place, &Outcome)| {
        json!({
            "ancestorRef": ancestor(place),
            "controllerName": controller,
            "conditions": to_json(&conditions(outcome)),
        })
    };
    let entries: Vec<Value> = told.take(MOST_ANCESTORS).map(entry).collect();
    if entries.is_empty() { Value::Null } else { json!({ "ancestors": entries }) }
}

fn ancestor(place: &Place) -> Value {
    let mut reference = json!({
        "group": GATEWAY_GROUP,
        "kind": place.target.kind.as_str(),
        "namespace": place.target.object.namespace,
        "name": place.target.object.name,
    });
    if let Some(section) = &place.section {
        reference["sectionName"] = json!(section);
    }
    reference
}

fn conditions(outcome: &Outcome, generation: i64, unheeded: &[String]) -> Vec<Condition> {
    let good = ("Accepted", "the policy has effect");
    let mut conditions = vec![verdict("Accepted", outcome.problem.as_ref(), good, generation)];
    if let Some(message) = &outcome.overridden {
        conditions.push(Condition::new("Overridden", true, "Overridden", message.clone(), generation));
    }
    if !unheeded.is_empty() {
        let message = format!("these fields have no effect: {}", unheeded.join("; "));
        conditions.push(Condition::new("Warning", true, "UnsupportedFields", message, generation));
    }
    conditions
}
