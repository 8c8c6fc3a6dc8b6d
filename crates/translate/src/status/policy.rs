//! Policies of every kind, and whatever has a status like theirs: one entry per target or Gateway of ours.

use std::collections::BTreeMap;

use gatehouse_api::types::unsupported_client_traffic;
use gatehouse_engine::{Reads, SmallMap};
use gatehouse_model::NamespacedName;
use gatehouse_model::status::Condition;
use serde_json::{Value, json};

use super::{to_json, verdict};
use crate::backends;
use crate::config::Config;
use crate::facts::Facts;
use crate::grants::GATEWAY_GROUP;
use crate::policies::{
    Outcome, Outcomes, OutcomesOfUsers, Place, PolicyKey, PolicyKind, backend_traffic, session, telemetry,
};

/// As many as the schemas allow.
const MOST_ANCESTORS: usize = 16;
const MOST_ANCESTORS_OF_XBACKENDS: usize = 32;

const POLICY: &str = "the policy has effect";

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
    Some(status(config, MOST_ANCESTORS, told, |outcome| conditions(outcome, POLICY, generation, &unheeded)))
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
    let by_place = by_place(outcomes, reads, &(PolicyKind::BackendTls, key.clone()));
    Some(status(config, MOST_ANCESTORS, by_place.into_iter(), |outcome| {
        let mut conditions = conditions(outcome, POLICY, generation, &unheeded);
        conditions.push(resolved(outcome, generation));
        conditions
    }))
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
    let unheeded = telemetry::unheeded(policy);
    let generation = policy.metadata.generation;
    let by_place = by_place(outcomes, reads, &(PolicyKind::Telemetry, key.clone()));
    Some(status(config, MOST_ANCESTORS, by_place.into_iter(), |outcome| {
        let mut conditions = conditions(outcome, POLICY, generation, &unheeded);
        conditions.push(resolved(outcome, generation));
        conditions
    }))
}

/// Stage: the status of an XBackendTrafficPolicy; null when no route of ours uses what it is for.
pub(crate) fn backend_traffic(
    facts: &Facts,
    config: &Config,
    outcomes: &OutcomesOfUsers,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Value> {
    let policy = facts.backend_traffic_policies.all.get(reads, key)?;
    let unheeded = session::unheeded(policy.spec.session_persistence.as_ref());
    let good =
        backend_traffic::note(policy).map_or_else(|| POLICY.to_owned(), |note| format!("{POLICY}; {note}"));
    let generation = policy.metadata.generation;
    let by_place = by_place(outcomes, reads, &(PolicyKind::BackendTraffic, key.clone()));
    let conditions = |outcome: &Outcome| conditions(outcome, &good, generation, &unheeded);
    Some(status(config, MOST_ANCESTORS, by_place.into_iter(), conditions))
}

/// Stage: the status of an XBackend; null when no route of ours uses it.
pub(crate) fn xbackend(
    facts: &Facts,
    config: &Config,
    outcomes: &OutcomesOfUsers,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Value> {
    let backend = facts.xbackends.get(reads, key)?;
    let unheeded = backends::unheeded(backend);
    let generation = backend.metadata.generation;
    let by_place = by_place(outcomes, reads, &(PolicyKind::XBackend, key.clone()));
    Some(status(config, MOST_ANCESTORS_OF_XBACKENDS, by_place.into_iter(), |outcome| {
        let mut conditions = conditions(outcome, "the XBackend can be used", generation, &unheeded);
        if outcome.unresolved.is_some() {
            conditions.push(resolved(outcome, generation));
        }
        conditions
    }))
}

/// What routes tell, by Gateway: several tell the same of one.
fn by_place<'a>(
    outcomes: &'a OutcomesOfUsers,
    reads: &mut Reads,
    policy: &PolicyKey,
) -> BTreeMap<&'a Place, &'a Outcome> {
    let told = outcomes.get(reads, policy);
    told.into_iter().flat_map(SmallMap::iter).map(|((place, _), outcome)| (place, &**outcome)).collect()
}

fn resolved(outcome: &Outcome, generation: i64) -> Condition {
    verdict(
        "ResolvedRefs",
        outcome.unresolved.as_ref(),
        ("ResolvedRefs", "all references resolve"),
        generation,
    )
}

/// Entries for all places of a policy.
fn status<'a>(
    config: &Config,
    most: usize,
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
    let entries: Vec<Value> = told.take(most).map(entry).collect();
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

fn conditions(outcome: &Outcome, good: &str, generation: i64, unheeded: &[String]) -> Vec<Condition> {
    let mut conditions = vec![verdict("Accepted", outcome.problem.as_ref(), ("Accepted", good), generation)];
    if let Some(message) = &outcome.overridden {
        conditions.push(Condition::new("Overridden", true, "Overridden", message.clone(), generation));
    }
    if !unheeded.is_empty() {
        let message = format!("these fields have no effect: {}", unheeded.join("; "));
        conditions.push(Condition::new("Warning", true, "UnsupportedFields", message, generation));
    }
    conditions
}
