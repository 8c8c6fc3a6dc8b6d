//! The Deployment or DaemonSet of a fleet.

use gatehouse_api::types::envoyproxy::KubernetesWorkload;
use serde_json::{Value, json};

use super::meta::Frame;
use super::{Context, Kind, Problem, pod};
use crate::names;

/// The part of the EnvoyProxy that is about this kind.
pub(super) fn spec<'a>(context: &Context<'a>, kind: Kind) -> Option<&'a KubernetesWorkload> {
    let kubernetes = context.kubernetes?;
    if kind == Kind::DaemonSet {
        kubernetes.envoy_daemon_set.as_ref()
    } else {
        kubernetes.envoy_deployment.as_ref()
    }
}

/// Its field's name.
pub(super) fn field(kind: Kind) -> &'static str {
    if kind == Kind::DaemonSet { "envoyDaemonSet" } else { "envoyDeployment" }
}

pub(super) fn name(context: &Context<'_>, kind: Kind) -> String {
    spec(context, kind).and_then(|spec| spec.name.clone()).unwrap_or_else(|| context.name.clone())
}

pub(super) fn body(context: &Context<'_>, kind: Kind, bootstrap: &str) -> Result<(Frame, Value), Problem> {
    let empty = KubernetesWorkload::default();
    let workload = spec(context, kind).unwrap_or(&empty);
    let mut spec = json!({
        "selector": {"matchLabels": names::selector(&context.plan.fleet)},
        "template": pod::template(context, workload, kind, bootstrap)?,
    });
    if kind == Kind::DaemonSet {
        spec["updateStrategy"] =
            workload.strategy.clone().unwrap_or_else(|| json!({"type": "RollingUpdate"}));
    } else {
        // A new pod is ready before an old one goes, however few there are.
        spec["strategy"] = workload.strategy.clone().unwrap_or_else(
            || json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}),
        );
        if let Some(replicas) = workload.replicas.filter(|_| !scaled_by_others(context)) {
            spec["replicas"] = replicas.into();
        }
    }
    let frame = Frame::new(context, kind, Some(&name(context, kind)));
    Ok((frame, json!({"spec": spec})))
}

/// Whoever scales owns `replicas`; a field that is not applied stays as it is.
fn scaled_by_others(context: &Context<'_>) -> bool {
    context.kubernetes.is_some_and(|kubernetes| kubernetes.envoy_hpa.is_some())
}
