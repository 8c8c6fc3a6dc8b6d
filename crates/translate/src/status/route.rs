//! Routes of every kind: one entry per parent of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_engine::{Reads, Stage};
use gatehouse_model::RouteKey;
use gatehouse_model::status::Condition;
use serde_json::{Value, json};

use super::{to_json, verdict};
use crate::attach::{Bindings, Named, ParentBinding};
use crate::backends::awaited;
use crate::config::Config;
use crate::facts::{Facts, RouteFact};
use crate::fragments::{Fragments, FragmentsKey, contexts};
use crate::gateways::Problem;
use crate::grants::GATEWAY_GROUP;
use crate::http::Lowered;
use crate::names;
use crate::policies::session;

/// `status.parents` takes no more (RouteStatus).
const MOST_PARENTS: usize = 32;

/// What is wrong with a route's rules.
#[derive(Default)]
struct Faults {
    /// Rules that cannot be served as written, with the first reason of each.
    broken: BTreeMap<u32, String>,
    refused: Option<String>,
    rules: usize,
}

/// Stage: the status of a route; null when no parent is ours.
pub(crate) fn route(
    facts: &Facts,
    config: &Config,
    bindings: &Stage<RouteKey, Arc<Bindings>>,
    lowered: &Stage<RouteKey, Arc<Lowered>>,
    fragments: &Stage<FragmentsKey, Arc<Fragments>>,
    reads: &mut Reads,
    key: &RouteKey,
) -> Option<Value> {
    let route = facts.routes.get(reads, key)?;
    let generation = route.meta().generation;
    let bound = bindings.get(reads, key)?;
    if bound.parents.is_empty() {
        return Some(Value::Null);
    }
    let Some(lowered) = lowered.get(reads, key) else {
        // It waits for something that is not known yet, and is told of when it is.
        reads.hold();
        return None;
    };
    let mut faults = Faults { rules: lowered.rules.len(), ..Faults::default() };
    for (rule, problem) in &lowered.unsupported {
        faults.broken(*rule, &problem.message);
    }
    for context in contexts(bound, lowered) {
        if let Some(fragments) = fragments.get(reads, &(key.clone(), context)) {
            faults.collect(fragments);
        }
    }
    let unheeded = unheeded(route);
    let controller = config.controller_names.first()?;
    let mut parents = Vec::new();
    for parent in bound.parents.iter().take(MOST_PARENTS) {
        let mut conditions = faults.conditions(parent, lowered.unresolved_at(&parent.listeners), generation);
        conditions.extend(unheeded.as_ref().map(|message| {
            Condition::new("Warning", true, "UnsupportedFields", message.clone(), generation)
        }));
        let refused = faults.refused.clone().map(Programmed::Refused);
        let programmed = refused.or_else(|| backends(facts, reads, parent, lowered));
        conditions.extend(programmed.map(|programmed| programmed.condition(generation)));
        parents.push(json!({
            "parentRef": reference(route, &parent.reference),
            "controllerName": controller,
            "conditions": to_json(&conditions),
        }));
    }
    Some(json!({ "parents": parents }))
}

/// Which of its fields have no effect, if any.
fn unheeded(route: &RouteFact) -> Option<String> {
    let sessions: Vec<_> = match route {
        RouteFact::Http(route) => {
            route.spec.rules.iter().map(|rule| rule.session_persistence.as_deref()).collect()
        }
        RouteFact::Grpc(route) => {
            route.spec.rules.iter().map(|rule| rule.session_persistence.as_ref()).collect()
        }
        RouteFact::Tls(_) | RouteFact::Tcp(_) | RouteFact::Udp(_) => Vec::new(),
    };
    let of_rule =
        |(rule, said)| session::unheeded(said).into_iter().map(move |field| format!("rules[{rule}].{field}"));
    let fields: Vec<_> = sessions.into_iter().enumerate().flat_map(of_rule).collect();
    (!fields.is_empty()).then(|| format!("these fields have no effect: {}", fields.join("; ")))
}

/// As the route wrote it, or as it would have.
fn reference(route: &RouteFact, named: &Named) -> Value {
    match named {
        Named::At(index) => json!(route.parent_refs().get(*index)),
        Named::ByDefault(gateway) => json!({
            "group": GATEWAY_GROUP,
            "kind": "Gateway",
            "namespace": gateway.namespace,
            "name": gateway.name,
        }),
    }
}

/// What proxies say of a route, if there is something to say.
enum Programmed {
    /// Something of it does not serve as written.
    Refused(String),
    /// It serves, and names a backend that is not ready.
    BackendNotReady(String),
}

impl Programmed {
    fn condition(self, generation: i64) -> Condition {
        let (status, reason, message) = match self {
            Self::Refused(message) => (false, "RefusedByProxy", message),
            Self::BackendNotReady(message) => (true, "BackendNotReady", message),
        };
        Condition::new("gatehouse.dev/Programmed", status, reason, message, generation)
    }
}

/// What the proxies of a parent say of the route's backends: what is refused, else what is awaited.
fn backends(
    facts: &Facts,
    reads: &mut Reads,
    parent: &ParentBinding,
    lowered: &Lowered,
) -> Option<Programmed> {
    let fleets: BTreeSet<_> = parent.listeners.iter().map(|listener| &listener.site.fleet).collect();
    let mut waits = None;
    for fleet in fleets {
        for cluster in &lowered.clusters {
            let key = (fleet.clone(), names::cluster(cluster).0);
            let Some(trouble) = facts.troubles.get(reads, &key) else { continue };
            if let Some(message) = trouble.refused.iter().flatten().next() {
                return Some(Programmed::Refused(format!("{cluster}: refused by the proxy: {message}")));
            }
            waits = waits.or(trouble.waits.then_some(cluster));
        }
    }
    waits.map(|cluster| {
        let awaited = awaited(facts, reads, cluster);
        Programmed::BackendNotReady(format!(
            "{cluster} is not ready at the proxy, which waits {awaited}; the route serves meanwhile"
        ))
    })
}

impl Faults {
    fn broken(&mut self, rule: u32, why: &str) {
        self.broken.entry(rule).or_insert_with(|| format!("rules[{rule}]: {why}"));
    }

    fn collect(&mut self, fragments: &Fragments) {
        for (rule, invalid) in &fragments.invalid {
            self.broken(*rule, &invalid.to_string());
        }
        for (rule, message) in &fragments.refused {
            self.refused.get_or_insert_with(|| format!("rules[{rule}]: refused by the proxy: {message}"));
        }
    }

    fn conditions(
        &self,
        parent: &ParentBinding,
        unresolved: Option<&Problem>,
        generation: i64,
    ) -> Vec<Condition> {
        let all_broken = !self.broken.is_empty() && self.broken.len() == self.rules;
        let broken = || self.broken.values().map(String::as_str).collect::<Vec<_>>().join("; ");
        let unsupported = all_broken.then(|| Problem::new("UnsupportedValue", broken()));
        let problem = parent.problem.as_ref().or(unsupported.as_ref());
        let mut conditions = vec![
            verdict("Accepted", problem, ("Accepted", "the route is attached"), generation),
            verdict("ResolvedRefs", unresolved, ("ResolvedRefs", "all references resolve"), generation),
        ];
        if problem.is_none() && !self.broken.is_empty() {
            let message = format!("Dropped Rule {}", broken());
            conditions.push(Condition::new(
                "PartiallyInvalid",
                true,
                "UnsupportedValue",
                message,
                generation,
            ));
        }
        conditions
    }
}
