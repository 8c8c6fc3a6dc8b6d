//! The pods: Envoy, and the agent as a native sidecar.
//!
//! The agent starts first and ends last. Envoy takes its configuration from it over a socket on a memory-backed volume that both mount. Ports of listeners appear nowhere in the template, so they come and go without a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_api::merge;
use gatehouse_api::types::envoyproxy::{IpFamily, KubernetesContainer, KubernetesPod, KubernetesWorkload};
use gatehouse_translate::duration;
use serde_json::{Value, json};

use super::{Context, Kind, Problem};
use crate::bootstrap::{ADMIN_HOST, XDS_SOCKET};
use crate::names;
use crate::settings::{ADMIN_PORT, AGENT_PORT};

/// Hash of the bootstrap: Envoy reads it once, so another one needs other pods.
const BOOTSTRAP_ANNOTATION: &str = "gatehouse.dev/bootstrap";
/// Time for both containers to end after everything is drained.
const MARGIN: Duration = Duration::from_secs(30);
const USER: u32 = 65_532;

pub(super) fn template(
    context: &Context<'_>,
    workload: &KubernetesWorkload,
    kind: Kind,
    bootstrap: &str,
) -> Result<Value, Problem> {
    let no_pod = KubernetesPod::default();
    let no_container = KubernetesContainer::default();
    let pod = workload.pod.as_ref().unwrap_or(&no_pod);
    let container = workload.container.as_ref().unwrap_or(&no_container);
    let shutdown = Shutdown::of(context)?;
    let mut init = vec![agent(context, container, &shutdown)];
    if kind != Kind::DaemonSet {
        init.extend(workload.init_containers.iter().flatten().cloned());
    }
    let mut spec = json!({
        "serviceAccountName": context.account(),
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": shutdown.grace().as_secs(),
        "securityContext": overlaid(security_of_pod(context), pod.security_context.as_ref()),
        "initContainers": init,
        "containers": [envoy(context, container, &shutdown)],
        "volumes": with(volumes(context), pod.volumes.as_deref(), "name"),
    });
    let parts = [
        ("affinity", pod.affinity.clone()),
        ("tolerations", pod.tolerations.clone().map(Value::Array)),
        ("imagePullSecrets", pull_secrets(context, pod)),
        ("nodeSelector", pod.node_selector.as_ref().map(|labels| json!(labels))),
        ("topologySpreadConstraints", pod.topology_spread_constraints.clone().map(Value::Array)),
        ("priorityClassName", pod.priority_class_name.as_deref().map(Value::from)),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            spec[name] = value;
        }
    }
    Ok(json!({
        "metadata": {"labels": labels(context, pod), "annotations": annotations(context, pod, bootstrap)},
        "spec": spec,
    }))
}

fn pull_secrets(context: &Context<'_>, pod: &KubernetesPod) -> Option<Value> {
    let ours = context.settings.image_pull_secrets.iter().map(|name| json!({"name": name})).collect();
    let all = with(ours, pod.image_pull_secrets.as_deref(), "name");
    (!all.is_empty() || pod.image_pull_secrets.is_some()).then_some(Value::Array(all))
}

fn labels(context: &Context<'_>, pod: &KubernetesPod) -> BTreeMap<String, String> {
    let mut labels = context.plan.labels.clone();
    labels.extend(pod.labels.clone().unwrap_or_default());
    labels.extend(names::labels(context.plan, context.settings));
    labels
}

fn annotations(context: &Context<'_>, pod: &KubernetesPod, bootstrap: &str) -> BTreeMap<String, String> {
    let mut annotations = context.plan.annotations.clone();
    let metrics =
        context.spec.and_then(|spec| spec.telemetry.as_ref()?.metrics.as_ref()?.prometheus.as_ref());
    if metrics.and_then(|prometheus| prometheus.disable) != Some(true) {
        let scrape = [
            ("scrape", "true".to_owned()),
            ("path", "/metrics".to_owned()),
            ("port", AGENT_PORT.to_string()),
        ];
        annotations.extend(scrape.map(|(key, value)| (format!("prometheus.io/{key}"), value)));
    }
    annotations.extend(pod.annotations.clone().unwrap_or_default());
    annotations.extend(names::identity(context.plan));
    let hash = blake3::hash(bootstrap.as_bytes()).to_hex()[..16].to_owned();
    annotations.insert(BOOTSTRAP_ANNOTATION.to_owned(), hash);
    annotations
}

/// How long a proxy takes to end.
struct Shutdown {
    failure_delay: Duration,
    drain: Duration,
    shortest: Duration,
}

impl Shutdown {
    fn of(context: &Context<'_>) -> Result<Self, Problem> {
        let config = context.spec.and_then(|spec| spec.shutdown.as_ref());
        let read = |name: &str, text: Option<&String>, default: u64| match text {
            None => Ok(Duration::from_secs(default)),
            Some(text) => duration::parse(text).ok_or_else(|| {
                Problem::new(format!("shutdown.{name}"), format!("{text:?} is no duration, such as 30s"))
            }),
        };
        Ok(Self {
            failure_delay: read(
                "healthCheckFailureDelay",
                config.and_then(|config| config.health_check_failure_delay.as_ref()),
                0,
            )?,
            drain: read("drainTimeout", config.and_then(|config| config.drain_timeout.as_ref()), 60)?,
            shortest: read(
                "minDrainDuration",
                config.and_then(|config| config.min_drain_duration.as_ref()),
                10,
            )?,
        })
    }

    fn grace(&self) -> Duration {
        self.failure_delay + self.drain.max(self.shortest) + MARGIN
    }
}

/// Lists merge by a key, a user's item taking the place of ours.
fn with(ours: Vec<Value>, theirs: Option<&[Value]>, key: &str) -> Vec<Value> {
    let theirs = theirs.unwrap_or_default();
    let replaced = |item: &Value| theirs.iter().any(|other| other.get(key) == item.get(key));
    ours.into_iter().filter(|item| !replaced(item)).chain(theirs.iter().cloned()).collect()
}

fn overlaid(ours: Value, theirs: Option<&Value>) -> Value {
    match theirs {
        Some(theirs) => merge::json(ours, theirs),
        None => ours,
    }
}

fn security_of_pod(context: &Context<'_>) -> Value {
    let mut security = json!({
        "runAsNonRoot": true,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    if context.settings.unprivileged_ports {
        security["sysctls"] = json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]);
    }
    security
}

fn security_of_container() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

fn volumes(context: &Context<'_>) -> Vec<Value> {
    let config = |name: &str, key: &str| json!({"name": name, "configMap": {"name": context.name, "items": [{"key": key, "path": key}]}});
    vec![
        config("gatehouse-bootstrap", "bootstrap.json"),
        config("gatehouse-ca", "ca.crt"),
        json!({"name": "gatehouse-run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        json!({"name": "gatehouse-store", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}}),
        json!({"name": "gatehouse-token", "projected": {"sources": [{"serviceAccountToken": {
            "path": "token",
            "audience": context.settings.token_audience,
            "expirationSeconds": 3600,
        }}]}}),
    ]
}

fn mount(name: &str, path: &str, read_only: bool) -> Value {
    if read_only {
        json!({"name": name, "mountPath": path, "readOnly": true})
    } else {
        json!({"name": name, "mountPath": path})
    }
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
}

fn get(path: &str) -> Value {
    json!({"path": path, "port": AGENT_PORT, "scheme": "HTTP"})
}

fn probe(path: &str, period: u32, failures: u32) -> Value {
    json!({"httpGet": get(path), "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures})
}

/// Envoy ends when the agent says that it is drained: the hook holds the container's end back, and stock Envoy has no shell.
fn envoy(context: &Context<'_>, container: &KubernetesContainer, shutdown: &Shutdown) -> Value {
    let default = json!({"requests": {"cpu": "100m", "memory": "128Mi"}});
    let env = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_ZONE", "metadata.labels['topology.kubernetes.io/zone']"),
    ];
    let mounts = vec![
        mount("gatehouse-bootstrap", "/etc/gatehouse/bootstrap", true),
        mount("gatehouse-run", "/run/gatehouse", false),
    ];
    json!({
        "name": "envoy",
        "image": image(context, container),
        "imagePullPolicy": context.settings.image_pull_policy,
        "command": ["envoy"],
        "args": arguments(context, shutdown),
        "env": with(env, container.env.as_deref(), "name"),
        "resources": container.resources.clone().unwrap_or(default),
        "securityContext": overlaid(security_of_container(), container.security_context.as_ref()),
        "volumeMounts": with(mounts, container.volume_mounts.as_deref(), "mountPath"),
        "lifecycle": {"preStop": {"httpGet": get("/drained")}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

fn image(context: &Context<'_>, container: &KubernetesContainer) -> String {
    let default = &context.settings.envoy_image;
    match (&container.image_repository, &container.image) {
        (Some(repository), _) => format!("{repository}{}", tag(default)),
        (None, Some(image)) => image.clone(),
        (None, None) => default.clone(),
    }
}

/// `:tag@digest` of an image; a colon before the last slash belongs to a registry's port.
fn tag(image: &str) -> &str {
    let name = image.rfind('/').map_or(0, |slash| slash + 1);
    image[name..].find([':', '@']).map_or("", |at| &image[name + at..])
}

fn arguments(context: &Context<'_>, shutdown: &Shutdown) -> Vec<String> {
    let levels = context.spec.and_then(|spec| spec.logging.as_ref()?.level.as_ref());
    let default = levels.and_then(|levels| levels.get("default")).map_or("warn", String::as_str);
    let components: Vec<String> = levels
        .into_iter()
        .flatten()
        .filter(|(component, _)| *component != "default")
        .map(|(component, level)| format!("{component}:{level}"))
        .collect();
    let mut arguments: Vec<String> = [
        "--config-path /etc/gatehouse/bootstrap/bootstrap.json",
        "--service-node $(POD_NAME).$(POD_NAMESPACE)",
        "--service-zone $(POD_ZONE)",
        "--disable-hot-restart",
        "--drain-strategy immediate",
    ]
    .iter()
    .flat_map(|pair| pair.split(' ').map(str::to_owned))
    .collect();
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    add("--drain-time-s", shutdown.drain.as_secs().max(1).to_string());
    add("--log-level", default.to_owned());
    if !components.is_empty() {
        add("--component-log-level", components.join(","));
    }
    let concurrency = context.spec.and_then(|spec| spec.concurrency);
    if let Some(concurrency) = concurrency.filter(|concurrency| *concurrency >= 0) {
        add("--concurrency", concurrency.to_string());
    }
    arguments.extend(context.spec.and_then(|spec| spec.extra_args.clone()).unwrap_or_default());
    arguments
}

/// Pods have an IPv4 address unless the user says otherwise; `[::]` is there only with IPv6.
fn listen(context: &Context<'_>) -> String {
    match context.spec.and_then(|spec| spec.ip_family.as_ref()) {
        Some(IpFamily::IPv6 | IpFamily::DualStack) => format!("[::]:{AGENT_PORT}"),
        _ => format!("0.0.0.0:{AGENT_PORT}"),
    }
}

/// The agent runs as the same user as Envoy, or Envoy could not use its socket. Its hook, which runs when the pod's end begins,
/// drains Envoy from inside: nobody else may.
fn agent(context: &Context<'_>, container: &KubernetesContainer, shutdown: &Shutdown) -> Value {
    let settings = context.settings;
    let mut security = security_of_container();
    for name in ["runAsUser", "runAsGroup"] {
        if let Some(id) = container.security_context.as_ref().and_then(|theirs| theirs.get(name)) {
            security[name] = id.clone();
        }
    }
    let seconds = |duration: Duration| format!("{}ms", duration.as_millis());
    let pairs = [
        ("--xds", settings.xds_address.clone()),
        ("--ca", "/etc/gatehouse/ca/ca.crt".to_owned()),
        ("--token", "/var/run/secrets/gatehouse/token".to_owned()),
        ("--socket", XDS_SOCKET.to_owned()),
        ("--store", "/var/lib/gatehouse".to_owned()),
        ("--admin", format!("{ADMIN_HOST}:{ADMIN_PORT}")),
        ("--listen", listen(context)),
        ("--fleet", context.plan.fleet.to_string()),
        ("--health-check-failure-delay", seconds(shutdown.failure_delay)),
        ("--drain-timeout", seconds(shutdown.drain)),
        ("--min-drain-duration", seconds(shutdown.shortest)),
    ];
    let flags = pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    let arguments: Vec<String> = std::iter::once("agent".to_owned()).chain(flags).collect();
    json!({
        "name": "agent",
        "image": settings.agent_image,
        "imagePullPolicy": settings.image_pull_policy,
        "restartPolicy": "Always",
        "command": ["gatehouse"],
        "args": arguments,
        "env": [field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")],
        "ports": [{"name": "agent", "containerPort": AGENT_PORT, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"exec": {"command": ["gatehouse", "drain", "--agent", format!("127.0.0.1:{AGENT_PORT}")]}}},
        "startupProbe": probe("/healthz", 1, 60),
        "livenessProbe": probe("/healthz", 10, 3),
        "readinessProbe": probe("/ready", 2, 2),
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": security,
        "volumeMounts": [
            mount("gatehouse-ca", "/etc/gatehouse/ca", true),
            mount("gatehouse-run", "/run/gatehouse", false),
            mount("gatehouse-store", "/var/lib/gatehouse", false),
            mount("gatehouse-token", "/var/run/secrets/gatehouse", true),
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}
