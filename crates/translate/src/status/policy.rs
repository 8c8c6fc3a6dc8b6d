//! Policies of every kind: one entry per target of ours.

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
use crate::policies::{Outcome, Outcomes, Place, PolicyKind};

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
    Some(status(config, generation, told, &unheeded))
}

/// Entries for all places of a policy, with the fields that have no effect anywhere.
fn status(
    config: &Config,
    generation: i64,
    told: Option<&SmallMap<Place, Arc<Outcome>>>,
    unheeded: &[String],
) -> Value {
    let Some(controller) = config.controller_names.first() else { return Value::Null };
    let entry = |(place, outcome): (&Place, &Arc<Outcome>)| {
        json!({
            "ancestorRef": ancestor(place),
            "controllerName": controller,
            "conditions": to_json(&conditions(outcome, generation, unheeded)),
        })
    };
    let entries: Vec<Value> =
        told.into_iter().flat_map(SmallMap::iter).take(MOST_ANCESTORS).map(entry).collect();
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
