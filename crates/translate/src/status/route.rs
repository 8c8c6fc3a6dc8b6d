//! Routes of every kind: one entry per parent of ours.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_engine::{Reads, Stage};
use gatehouse_model::RouteKey;
use gatehouse_model::status::Condition;
use serde_json::{Value, json};

use super::{to_json, verdict};
use crate::attach::{Bindings, ParentBinding};
use crate::config::Config;
use crate::facts::Facts;
use crate::fragments::{Fragments, FragmentsKey, contexts};
use crate::gateways::Problem;
use crate::http::Lowered;

/// What is wrong with a route's rules.
#[derive(Default)]
struct Faults {
    unresolved: Option<Problem>,
    /// Rules that cannot be served as written.
    broken: BTreeSet<u32>,
    message: Option<String>,
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
    let generation = facts.routes.get(reads, key)?.meta().generation;
    let bound = bindings.get(reads, key)?;
    if bound.parents.is_empty() {
        return Some(Value::Null);
    }
    let lowered = lowered.get(reads, key)?;
    let mut faults =
        Faults { unresolved: lowered.unresolved.clone(), rules: lowered.rules.len(), ..Faults::default() };
    for (rule, problem) in &lowered.unsupported {
        faults.broken(*rule, &problem.message);
    }
    for context in contexts(bound, lowered) {
        if let Some(fragments) = fragments.get(reads, &(key.clone(), context)) {
            faults.collect(fragments);
        }
    }
    let controller = config.controller_names.first()?;
    let parents: Vec<_> = bound
        .parents
        .iter()
        .map(|parent| {
            json!({
                "parentRef": parent.reference,
                "controllerName": controller,
                "conditions": to_json(&faults.conditions(parent, generation)),
            })
        })
        .collect();
    Some(json!({ "parents": parents }))
}

impl Faults {
    fn broken(&mut self, rule: u32, why: &str) {
        self.broken.insert(rule);
        self.message.get_or_insert_with(|| format!("rules[{rule}]: {why}"));
    }

    fn collect(&mut self, fragments: &Fragments) {
        for (rule, invalid) in &fragments.invalid {
            self.broken(*rule, &invalid.to_string());
        }
        for (rule, message) in &fragments.refused {
            self.refused.get_or_insert_with(|| format!("rules[{rule}]: refused by the proxy: {message}"));
        }
    }

    fn conditions(&self, parent: &ParentBinding, generation: i64) -> Vec<Condition> {
        let all_broken = !self.broken.is_empty() && self.broken.len() == self.rules;
        let message = self.message.as_deref().unwrap_or_default();
        let unsupported = all_broken.then(|| Problem::new("UnsupportedValue", message));
        let problem = parent.problem.as_ref().or(unsupported.as_ref());
        let mut conditions = vec![
            verdict("Accepted", problem, ("Accepted", "the route is attached"), generation),
            verdict(
                "ResolvedRefs",
                self.unresolved.as_ref(),
                ("ResolvedRefs", "all references resolve"),
                generation,
            ),
        ];
        if problem.is_none() && !self.broken.is_empty() {
            let message = format!("Dropped Rule {message}");
            conditions.push(Condition::new(
                "PartiallyInvalid",
                true,
                "UnsupportedValue",
                message,
                generation,
            ));
        }
        if let Some(refused) = &self.refused {
            conditions.push(Condition::new(
                "gatehouse.dev/Programmed",
                false,
                "RefusedByProxy",
                refused.as_str(),
                generation,
            ));
        }
        conditions
    }
}
