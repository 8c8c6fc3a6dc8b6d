//! XBackendTrafficPolicy: the oldest of those for a backend counts, as a whole.

use std::sync::Arc;

use gatehouse_api::types::{PolicyTarget, TargetSelector, XBackendTrafficPolicy};
use gatehouse_engine::Reads;
use gatehouse_model::NamespacedName;
use gatehouse_model::backend::RetryBudget;

use super::{Attached, Outcome, Policy, Target, conflict};
use crate::backends::exists;
use crate::duration;
use crate::facts::Facts;
use crate::gateways::Problem;

/// What the schema fills in.
const PERCENT: u8 = 20;
const RETRIES: u32 = 10;

impl Policy for XBackendTrafficPolicy {
    const SELECTS: bool = false;

    fn named(&self) -> impl Iterator<Item = &PolicyTarget> {
        self.spec.target_refs.iter()
    }

    fn selectors(&self) -> impl Iterator<Item = &TargetSelector> {
        std::iter::empty()
    }
}

fn attached(facts: &Facts, reads: &mut Reads, target: &Target) -> Vec<Attached<XBackendTrafficPolicy>> {
    facts.backend_traffic_policies.attached(reads, target, &std::collections::BTreeMap::new())
}

/// The policy that counts for a backend.
pub(crate) fn of_target(
    facts: &Facts,
    reads: &mut Reads,
    target: &Target,
) -> Option<Arc<XBackendTrafficPolicy>> {
    attached(facts, reads, target).into_iter().next().map(|policy| policy.policy)
}

/// How much of what a backend gets may be retries; `None` where nobody limits it.
pub(crate) fn retry_budget(facts: &Facts, reads: &mut Reads, target: &Target) -> Option<RetryBudget> {
    let policy = of_target(facts, reads, target)?;
    let constraint = policy.spec.retry_constraint.as_ref()?;
    let percent = constraint.budget.as_ref().and_then(|budget| budget.percent).unwrap_or(PERCENT);
    let rate = constraint.min_retry_rate.clone().unwrap_or_default();
    let interval = rate.interval.as_deref().and_then(duration::parse).map_or(1000, |i| i.as_millis().max(1));
    // Envoy counts what is underway. A retry of one second makes a rate per second that number.
    let per_second = (u128::from(rate.count.unwrap_or(RETRIES)) * 1000).div_ceil(interval);
    Some(RetryBudget { percent, min_concurrency: u32::try_from(per_second).unwrap_or(u32::MAX) })
}

/// What the policies of a backend are told by a route that names it.
pub(crate) fn told(facts: &Facts, reads: &mut Reads, target: &Target) -> Vec<(NamespacedName, Arc<Outcome>)> {
    let attached = attached(facts, reads, target);
    let absent = (!attached.is_empty() && !exists(facts, reads, target)).then(|| {
        let message = format!("{} {} does not exist", target.kind.as_str(), target.object);
        Problem::new("TargetNotFound", message)
    });
    let outcome = |(index, policy): (usize, &Attached<_>)| {
        let problem = conflict(&attached, index).or_else(|| absent.clone());
        (policy.key.clone(), Arc::new(Outcome { problem, ..Outcome::default() }))
    };
    attached.iter().enumerate().map(outcome).collect()
}

/// What a policy says of itself beside its having effect.
pub(crate) fn note(policy: &XBackendTrafficPolicy) -> Option<String> {
    let interval = policy.spec.retry_constraint.as_ref()?.budget.as_ref()?.interval.as_deref()?;
    Some(format!(
        "retryConstraint.budget.interval {interval} has none: the budget is a share of the requests that are underway"
    ))
}
