//! PodDisruptionBudget and HorizontalPodAutoscaler of a fleet.

use gatehouse_api::types::envoyproxy::{KubernetesAutoscaler, KubernetesBudget};
use serde_json::{Value, json};

use super::meta::Frame;
use super::{Context, Kind, workload};
use crate::names;

/// `None` when the user says nothing about disruptions.
pub(super) fn budget(context: &Context<'_>, budget: &KubernetesBudget) -> Option<(Frame, Value)> {
    if budget.min_available.is_none() && budget.max_unavailable.is_none() && budget.patch.is_none() {
        return None;
    }
    let mut spec = json!({"selector": {"matchLabels": names::selector(&context.plan.fleet)}});
    for (name, value) in
        [("minAvailable", &budget.min_available), ("maxUnavailable", &budget.max_unavailable)]
    {
        if let Some(value) = value {
            spec[name] = json!(value);
        }
    }
    let frame = Frame::new(context, Kind::PodDisruptionBudget, budget.name.as_deref());
    Some((frame, json!({"spec": spec})))
}

pub(super) fn autoscaler(context: &Context<'_>, hpa: &KubernetesAutoscaler) -> (Frame, Value) {
    let metrics = hpa.metrics.as_ref().filter(|metrics| !metrics.is_empty()).map_or_else(
        || {
            json!([{"type": "Resource", "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80},
            }}])
        },
        |metrics| json!(metrics),
    );
    let mut spec = json!({
        "scaleTargetRef": {
            "apiVersion": Kind::Deployment.api_version(),
            "kind": Kind::Deployment.as_str(),
            "name": workload::name(context, Kind::Deployment),
        },
        "maxReplicas": hpa.max_replicas.unwrap_or(1),
        "metrics": metrics,
    });
    if let Some(min) = hpa.min_replicas {
        spec["minReplicas"] = min.into();
    }
    if let Some(behavior) = &hpa.behavior {
        spec["behavior"] = behavior.clone();
    }
    (Frame::new(context, Kind::HorizontalPodAutoscaler, hpa.name.as_deref()), json!({"spec": spec}))
}
