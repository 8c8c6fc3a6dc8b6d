//! Policies of every kind, and whatever has a status like theirs: one entry per target or Gateway of ours.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_api::types::unsupported_client_traffic;
use gatehouse_engine::{Reads, SmallMap};
use gatehouse_model::NamespacedName;
use gatehouse_model::status::Condition;
use serde_json::{Value, json};

use super::{to_json, verdict};
use crate::backends;
use crate::config::Config;
use crate::facts::Facts;
use crate::gateways::Problem;
use crate::grants::GATEWAY_GROUP;
use crate::policies::{Outcome, Outcomes, Place, PolicyKey, PolicyKind, backend_traffic, session, telemetry};

/// As many as the schemas allow.
const MOST_ANCESTORS: usize = 16;
const MOST_ANCESTORS_OF_XBACKENDS: usize = 32;

/// What an object of ours says of itself, wherever it counts.
struct Said {
    generation: i64,
    /// The message while all is well.
    good: String,
    /// Fields without effect.
    unheeded: Vec<String>,
    /// When its own references are spoken of.
    references: References,
    /// Entries that its schema allows.
    most: usize,
}

enum References {
    Never,
    Always,
    /// When one does not resolve.
    Unresolved,
}

impl Said {
    fn of_policy(generation: i64, unheeded: Vec<String>, references: References) -> Self {
        Self {
            generation,
            good: "the policy has effect".to_owned(),
            unheeded,
            references,
            most: MOST_ANCESTORS,
        }
    }

    fn of(facts: &Facts, reads: &mut Reads, (kind, key): &PolicyKey) -> Option<Self> {
        Some(match kind {
            PolicyKind::ClientTraffic => {
                let policy = facts.client_policies.all.get(reads, key)?;
                let unheeded = unsupported_client_traffic(&policy.spec);
                Self::of_policy(policy.metadata.generation, unheeded, References::Never)
            }
            PolicyKind::BackendTls => {
                let policy = facts.backend_tls_policies.all.get(reads, key)?;
                let unheeded = policy.spec.options.keys().map(|name| format!("options.{name}")).collect();
                Self::of_policy(policy.metadata.generation, unheeded, References::Always)
            }
            PolicyKind::Telemetry => {
                let policy = facts.telemetry_policies.all.get(reads, key)?;
                let unheeded = telemetry::unheeded(policy);
                Self::of_policy(policy.metadata.generation, unheeded, References::Always)
            }
            PolicyKind::BackendTraffic => {
                let policy = facts.backend_traffic_policies.all.get(reads, key)?;
                let unheeded = session::unheeded(policy.spec.session_persistence.as_ref());
                let mut said = Self::of_policy(policy.metadata.generation, unheeded, References::Never);
                if let Some(note) = backend_traffic::note(policy) {
                    said.good = format!("{}; {note}", said.good);
                }
                said
            }
            PolicyKind::XBackend => {
                let backend = facts.xbackends.get(reads, key)?;
                Self {
                    generation: backend.metadata.generation,
                    good: "the XBackend can be used".to_owned(),
                    unheeded: backends::unheeded(backend),
                    references: References::Unresolved,
                    most: MOST_ANCESTORS_OF_XBACKENDS,
                }
            }
        })
    }

    fn not_found(&self, gateway: &NamespacedName) -> Condition {
        let problem = Problem::new("TargetNotFound", format!("Gateway {gateway} does not exist"));
        verdict("Accepted", Some(&problem), ("", ""), self.generation)
    }

    fn conditions(&self, outcome: &Outcome) -> Vec<Condition> {
        let generation = self.generation;
        let accepted = verdict("Accepted", outcome.problem.as_ref(), ("Accepted", &*self.good), generation);
        let mut conditions = vec![accepted];
        if let Some(message) = &outcome.overridden {
            conditions.push(Condition::new("Overridden", true, "Overridden", message.clone(), generation));
        }
        if !self.unheeded.is_empty() {
            let message = format!("these fields have no effect: {}", self.unheeded.join("; "));
            conditions.push(Condition::new("Warning", true, "UnsupportedFields", message, generation));
        }
        let unresolved = outcome.unresolved.as_ref();
        let speaks = match self.references {
            References::Never => false,
            References::Always => true,
            References::Unresolved => unresolved.is_some(),
        };
        let resolved = ("ResolvedRefs", "all references resolve");
        conditions.extend(speaks.then(|| verdict("ResolvedRefs", unresolved, resolved, generation)));
        conditions
    }
}

/// Stage: the status of a policy, or of what is told like one; null when nothing of ours is concerned.
pub(crate) fn policy(
    facts: &Facts,
    config: &Config,
    outcomes: &Outcomes,
    reads: &mut Reads,
    key: &PolicyKey,
) -> Option<Value> {
    let said = Said::of(facts, reads, key)?;
    let told = outcomes.get(reads, key).into_iter().flat_map(SmallMap::iter);
    // Several routes tell the same of one Gateway.
    let told = told.map(|((place, _), outcome)| (place, &**outcome)).collect();
    let missing = match key.0 {
        PolicyKind::Telemetry => telemetry::missing(facts, reads, &key.1),
        _ => BTreeSet::new(),
    };
    Some(status(config, &said, told, &missing))
}

/// Entries for all places, and for Gateways that do not exist.
fn status(
    config: &Config,
    said: &Said,
    told: BTreeMap<&Place, &Outcome>,
    missing: &BTreeSet<NamespacedName>,
) -> Value {
    let Some(controller) = config.controller_names.first() else { return Value::Null };
    let entry = |place: &Place, conditions: &[Condition]| {
        json!({
            "ancestorRef": ancestor(place),
            "controllerName": controller,
            "conditions": to_json(conditions),
        })
    };
    let told = told.into_iter().map(|(place, outcome)| entry(place, &said.conditions(outcome)));
    let missing = missing.iter().map(|gateway| entry(&Place::gateway(gateway), &[said.not_found(gateway)]));
    let entries: Vec<Value> = told.chain(missing).take(said.most).collect();
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
