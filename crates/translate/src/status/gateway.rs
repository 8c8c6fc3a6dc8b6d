//! Gateway and ListenerSet.

use gatehouse_engine::{Reads, Stage};
use gatehouse_model::status::Condition;
use gatehouse_model::{ListenerOwner, NamespacedName};
use serde_json::{Value, json};

use super::listener::{ADDRESS_NOT_USABLE, Entry, PENDING, Programmed, Sources};
use super::{to_json, verdict};
use crate::facts::Facts;
use crate::gateways::{GatewayState, GatewayView, Problem, gateway_of_set};

/// Stage: the status of a Gateway; null when it is not ours.
pub(crate) fn gateway(
    sources: Sources<'_>,
    gateways: &Stage<NamespacedName, GatewayState>,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Value> {
    let Some(view) = gateways.get(reads, key)?.view() else { return Some(Value::Null) };
    let all = entries(sources, reads, view, |_| true);
    let own = entries(sources, reads, view, |owner| *owner == ListenerOwner::Gateway);
    let generation = view.generation;
    let accepted = match &view.problem {
        Some(problem) => verdict("Accepted", Some(problem), ("", ""), generation),
        None => gateway_accepted(&own, &all, generation),
    };
    let attached_sets = view.sets.keys().filter(|set| is_accepted(view, &all, set)).count();
    let addresses: Vec<_> = addresses(sources, view)
        .into_iter()
        .map(|value| json!({ "type": "IPAddress", "value": value }))
        .collect();
    Some(json!({
        "addresses": addresses,
        "conditions": to_json(&[accepted, owner_programmed(&all, generation)]),
        "listeners": own.into_iter().map(|entry| entry.json).collect::<Vec<_>>(),
        "attachedListenerSets": attached_sets,
    }))
}

/// Whether a ListenerSet is accepted, as its own status says: under a good Gateway, with a listener that is valid.
fn is_accepted(view: &GatewayView, entries: &[Entry], set: &NamespacedName) -> bool {
    let owns = |owner: &ListenerOwner| matches!(owner, ListenerOwner::ListenerSet(key) if key == set);
    let mut listeners = view.listeners.iter().zip(entries);
    view.problem.is_none() && listeners.any(|(listener, entry)| owns(&listener.key.owner) && entry.is_valid())
}

/// A Gateway whose own listeners are all bad is still accepted while one of its sets has a good one: they count
/// as one list.
fn gateway_accepted(own: &[Entry], all: &[Entry], generation: i64) -> Condition {
    let accepted = owner_accepted(own, |entry| entry.accepted, generation);
    let served = all.iter().any(|entry| entry.accepted);
    if served { Condition { status: true.into(), ..accepted } } else { accepted }
}

fn addresses(sources: Sources<'_>, view: &GatewayView) -> Vec<String> {
    if view.problem.is_some() {
        return Vec::new();
    }
    if view.addresses.0.is_empty() {
        return vec![sources.config.default_address.to_string()];
    }
    view.addresses.0.iter().map(ToString::to_string).collect()
}

fn entries(
    sources: Sources<'_>,
    reads: &mut Reads,
    view: &GatewayView,
    owned: impl Fn(&ListenerOwner) -> bool,
) -> Vec<Entry> {
    let listeners = view.listeners.iter().filter(|l| owned(&l.key.owner));
    listeners.map(|listener| sources.entry(reads, view, listener)).collect()
}

/// Accepted while at least one listener is valid; says so when some are not.
fn owner_accepted(entries: &[Entry], valid: impl Fn(&Entry) -> bool, generation: i64) -> Condition {
    let good = entries.iter().filter(|entry| valid(entry)).count();
    let message = format!("{} of {} listeners are not valid", entries.len() - good, entries.len());
    match (good, entries.len() - good) {
        (_, 0) => Condition::new("Accepted", true, "Accepted", "all listeners are valid", generation),
        (0, _) => Condition::new("Accepted", false, "ListenersNotValid", message, generation),
        _ => Condition::new("Accepted", true, "ListenersNotValid", message, generation),
    }
}

/// Programmed while at least one listener is; the oldest generation that a serving listener speaks of counts.
fn owner_programmed(entries: &[Entry], generation: i64) -> Condition {
    let held = entries.iter().filter_map(|entry| match entry.programmed {
        Programmed::Yes { generation } => Some(generation),
        Programmed::No(_) => None,
    });
    if let Some(held) = held.min() {
        let message = "a proxy holds the configuration";
        return Condition::new("Programmed", true, "Programmed", message, held.min(generation));
    }
    let problem = entries.iter().find_map(|entry| match &entry.programmed {
        Programmed::No(problem) => Some(problem.clone()),
        Programmed::Yes { .. } => None,
    });
    let problem = problem.unwrap_or_else(|| Problem::new("Invalid", "there are no listeners"));
    let reason = match problem.reason {
        reason @ (PENDING | ADDRESS_NOT_USABLE) => reason,
        _ => "Invalid",
    };
    Condition::new("Programmed", false, reason, problem.message, generation)
}

/// Stage: the status of a ListenerSet; null when its Gateway is not ours.
pub(crate) fn listener_set(
    sources: Sources<'_>,
    facts: &Facts,
    gateways: &Stage<NamespacedName, GatewayState>,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Value> {
    facts.listener_sets.get(reads, key)?;
    let gateway = gateway_of_set(facts, reads, key);
    let view = gateway.and_then(|gateway| gateways.get(reads, &gateway)?.view());
    let Some((view, set)) = view.and_then(|view| Some((view, view.sets.get(key)?))) else {
        return Some(Value::Null);
    };
    let generation = set.generation;
    let parent = view.problem.as_ref().map(|p| Problem::new("ParentNotAccepted", p.message.clone()));
    if let Some(problem) = set.problem.as_ref().or(parent.as_ref()) {
        let conditions =
            ["Accepted", "Programmed"].map(|kind| verdict(kind, Some(problem), ("", ""), generation));
        return Some(json!({ "conditions": to_json(&conditions) }));
    }
    let entries = entries(sources, reads, view, |owner| *owner == ListenerOwner::ListenerSet(key.clone()));
    // Unlike a Gateway, a set is not accepted for listeners whose references do not resolve.
    let accepted = owner_accepted(&entries, Entry::is_valid, generation);
    let programmed = if accepted.status == gatehouse_model::status::ConditionStatus::True {
        Condition { observed_generation: generation, ..owner_programmed(&entries, generation) }
    } else {
        Condition { kind: "Programmed", ..accepted.clone() }
    };
    Some(json!({
        "conditions": to_json(&[accepted, programmed]),
        "listeners": entries.into_iter().map(|entry| entry.json).collect::<Vec<_>>(),
    }))
}
