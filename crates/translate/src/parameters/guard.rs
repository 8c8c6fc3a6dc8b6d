//! What the EnvoyProxy of a single Gateway may not have where all proxies share the controller's namespace.

use gatehouse_api::types::EnvoyProxySpec;
use gatehouse_api::types::envoyproxy::{KubernetesProvider, KubernetesWorkload};
use serde_json::Value;

/// The paths of fields that could mount or show Secrets of that namespace, run other code beside the controller, raise the
/// pods' rights, or take names there; sorted.
pub(super) fn forbidden(spec: &EnvoyProxySpec) -> Vec<String> {
    let Some(kubernetes) = spec.kubernetes() else { return Vec::new() };
    let mut found = Vec::new();
    for (name, workload) in
        [("envoyDaemonSet", &kubernetes.envoy_daemon_set), ("envoyDeployment", &kubernetes.envoy_deployment)]
    {
        if let Some(workload) = workload {
            found.extend(in_workload(workload).into_iter().map(|field| format!("{name}.{field}")));
        }
    }
    found.extend(in_others(kubernetes).into_iter().map(str::to_owned));
    found.sort();
    found.into_iter().map(|field| format!("provider.kubernetes.{field}")).collect()
}

fn set<'a>(fields: &[(&'a str, bool)]) -> Vec<&'a str> {
    fields.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect()
}

fn in_workload(workload: &KubernetesWorkload) -> Vec<&'static str> {
    let pod = workload.pod.as_ref();
    let container = workload.container.as_ref();
    let env = container.and_then(|container| container.env.as_deref()).unwrap_or_default();
    set(&[
        ("container.env.valueFrom", env.iter().any(reads_objects)),
        ("container.image", container.is_some_and(|c| c.image.is_some())),
        ("container.imageRepository", container.is_some_and(|c| c.image_repository.is_some())),
        ("container.securityContext", container.is_some_and(|c| c.security_context.is_some())),
        ("container.volumeMounts", container.is_some_and(|c| c.volume_mounts.is_some())),
        ("initContainers", workload.init_containers.is_some()),
        ("name", workload.name.is_some()),
        ("patch", workload.patch.is_some()),
        ("pod.imagePullSecrets", pod.is_some_and(|pod| pod.image_pull_secrets.is_some())),
        ("pod.securityContext", pod.is_some_and(|pod| pod.security_context.is_some())),
        ("pod.volumes", pod.is_some_and(|pod| pod.volumes.is_some())),
    ])
}

/// Whether a variable has its value from another object; the pod's own fields are its own.
fn reads_objects(variable: &Value) -> bool {
    let own = ["fieldRef", "resourceFieldRef"];
    let source = variable.get("valueFrom").and_then(Value::as_object);
    source.is_some_and(|source| source.keys().any(|kind| !own.contains(&kind.as_str())))
}

fn in_others(kubernetes: &KubernetesProvider) -> Vec<&'static str> {
    let (service, hpa) = (kubernetes.envoy_service.as_ref(), kubernetes.envoy_hpa.as_ref());
    let (budget, account) = (kubernetes.envoy_pdb.as_ref(), kubernetes.envoy_service_account.as_ref());
    set(&[
        ("envoyHpa.name", hpa.is_some_and(|hpa| hpa.name.is_some())),
        ("envoyHpa.patch", hpa.is_some_and(|hpa| hpa.patch.is_some())),
        ("envoyPDB.name", budget.is_some_and(|budget| budget.name.is_some())),
        ("envoyPDB.patch", budget.is_some_and(|budget| budget.patch.is_some())),
        ("envoyService.name", service.is_some_and(|service| service.name.is_some())),
        ("envoyService.patch", service.is_some_and(|service| service.patch.is_some())),
        ("envoyServiceAccount.name", account.is_some_and(|account| account.name.is_some())),
    ])
}
