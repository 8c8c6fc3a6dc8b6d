//! Envoy Gateway's `EnvoyProxy`: how the proxies of a GatewayClass or of one Gateway run.
//!
//! Every struct has typed fields for what is supported; all else stays in `rest`, so that [`unsupported`] can name it.
//! Numbers are as wide as the schema lets them be: an object that was admitted must decode.
//! Parts that belong to Kubernetes (affinity, resources, volumes) pass through as they are.

mod telemetry;
mod unsupported;
#[cfg(test)]
pub(super) mod walk;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{IntOrString, Meta, enums::open_enum, meta::resource};
use crate::merge::{self, MergeError};

pub use telemetry::{
    AccessLogFormat, AccessLogSetting, AccessLogSink, FileAccessLog, ProxyAccessLog, ProxyMetrics,
    ProxyPrometheus, ProxyTelemetry, StringMatch,
};
pub(super) use unsupported::Found;
pub use unsupported::unsupported;

/// Fields that are kept but have no meaning here (yet), by name.
pub type Rest = BTreeMap<String, Value>;

/// An `EnvoyProxy` (`gateway.envoyproxy.io/v1alpha1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvoyProxy {
    /// Name and the like.
    #[serde(default)]
    pub metadata: Meta,
    /// What is wanted.
    #[serde(default)]
    pub spec: EnvoyProxySpec,
}

resource!(EnvoyProxy, "gateway.envoyproxy.io", "v1alpha1", true);

/// Declares structs whose fields are all optional and whose unknown fields are kept.
macro_rules! kept {
    ($($(#[$meta:meta])* $name:ident {
        $($(#[$fmeta:meta])* $(#![rename = $rename:literal])? $field:ident: $type:ty),* $(,)?
    })+) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub struct $name {
                $(
                    $(#[$fmeta])*
                    #[serde(default, skip_serializing_if = "Option::is_none" $(, rename = $rename)?)]
                    pub $field: Option<$type>,
                )*
                /// Fields that are not read here.
                #[serde(flatten)]
                pub rest: $crate::types::envoyproxy::Rest,
            }
        )+
    };
}
pub(super) use kept;

open_enum! {
    /// How two EnvoyProxies become one, or how a patch applies.
    MergeType {
        /// With the merge keys of Kubernetes.
        StrategicMerge = "StrategicMerge",
        /// RFC 7386.
        JSONMerge = "JSONMerge",
        /// The more specific one counts alone.
        Replace = "Replace",
    }
}

open_enum! {
    /// Where proxies run.
    ProviderType {
        /// As pods.
        Kubernetes = "Kubernetes",
        /// As processes.
        Host = "Host",
    }
}

open_enum! {
    /// To what a proxy sends requests for a Service.
    RoutingType {
        /// To its pods.
        Endpoint = "Endpoint",
        /// To its cluster IP.
        Service = "Service",
    }
}

open_enum! {
    /// The address families of listeners and of the proxies' Service.
    IpFamily {
        /// IPv4 only.
        IPv4 = "IPv4",
        /// IPv6 only.
        IPv6 = "IPv6",
        /// Both.
        DualStack = "DualStack",
    }
}

open_enum! {
    /// How `bootstrap` changes the default one.
    BootstrapType {
        /// Objects merge, lists grow.
        Merge = "Merge",
        /// The value counts alone.
        Replace = "Replace",
        /// RFC 6902.
        JSONPatch = "JSONPatch",
    }
}

kept! {
    /// How proxies run.
    EnvoyProxySpec {
        /// Where proxies run.
        provider: ProxyProvider,
        /// Envoy's own log.
        logging: ProxyLogging,
        /// Access log and statistics.
        telemetry: ProxyTelemetry,
        /// Changes of the configuration that Envoy starts with.
        bootstrap: ProxyBootstrap,
        /// Worker threads.
        concurrency: i32,
        /// To what requests for a Service go.
        routing_type: RoutingType,
        /// Arguments for Envoy, after ours.
        extra_args: Vec<String>,
        /// How a proxy ends.
        shutdown: ShutdownConfig,
        /// Address families.
        ip_family: IpFamily,
        /// How a Gateway's EnvoyProxy merges with that of its class.
        merge_type: MergeType,
    }

    /// Where proxies run.
    ProxyProvider {
        /// `Kubernetes` when absent.
        #![rename = "type"] kind: ProviderType,
        /// The objects to make.
        kubernetes: KubernetesProvider,
    }

    /// The Kubernetes objects of a fleet.
    KubernetesProvider {
        /// The Deployment.
        envoy_deployment: KubernetesWorkload,
        /// A DaemonSet in place of the Deployment.
        envoy_daemon_set: KubernetesWorkload,
        /// The Service.
        envoy_service: KubernetesService,
        /// A HorizontalPodAutoscaler for the Deployment.
        envoy_hpa: KubernetesAutoscaler,
        /// A PodDisruptionBudget.
        #![rename = "envoyPDB"] envoy_pdb: KubernetesBudget,
        /// The ServiceAccount.
        envoy_service_account: KubernetesServiceAccount,
        /// Proxies bind the listeners' own ports, which they always do here.
        use_listener_port_as_container_port: bool,
    }

    /// A Deployment or a DaemonSet.
    KubernetesWorkload {
        /// Applied last.
        patch: KubernetesPatch,
        /// Pods; not for DaemonSets.
        replicas: i32,
        /// How pods are replaced.
        strategy: Value,
        /// The pods.
        pod: KubernetesPod,
        /// The container that runs Envoy.
        container: KubernetesContainer,
        /// More init containers; not for DaemonSets.
        init_containers: Vec<Value>,
        /// `metadata.name`
        name: String,
    }

    /// Parts of a pod template.
    KubernetesPod {
        /// Annotations of the pods.
        annotations: BTreeMap<String, String>,
        /// Labels of the pods.
        labels: BTreeMap<String, String>,
        /// `securityContext`, over ours.
        security_context: Value,
        /// `affinity`
        affinity: Value,
        /// `tolerations`
        tolerations: Vec<Value>,
        /// More volumes; one of the same name replaces ours.
        volumes: Vec<Value>,
        /// `imagePullSecrets`
        image_pull_secrets: Vec<Value>,
        /// `nodeSelector`
        node_selector: BTreeMap<String, String>,
        /// `topologySpreadConstraints`
        topology_spread_constraints: Vec<Value>,
        /// `priorityClassName`
        priority_class_name: String,
    }

    /// Parts of the container that runs Envoy.
    KubernetesContainer {
        /// More environment variables; one of the same name replaces ours.
        env: Vec<Value>,
        /// `resources`
        resources: Value,
        /// `securityContext`, over ours.
        security_context: Value,
        /// The image.
        image: String,
        /// The image's repository, to be used with the default tag.
        image_repository: String,
        /// More mounts.
        volume_mounts: Vec<Value>,
    }

    /// The Service.
    KubernetesService {
        /// Annotations.
        annotations: BTreeMap<String, String>,
        /// Labels.
        labels: BTreeMap<String, String>,
        /// `LoadBalancer` when absent.
        #![rename = "type"] kind: String,
        /// `loadBalancerClass`
        load_balancer_class: String,
        /// `allocateLoadBalancerNodePorts`
        allocate_load_balancer_node_ports: bool,
        /// `loadBalancerSourceRanges`
        load_balancer_source_ranges: Vec<String>,
        /// `loadBalancerIP`
        #![rename = "loadBalancerIP"] load_balancer_ip: String,
        /// `Local` when absent.
        external_traffic_policy: String,
        /// Applied last.
        patch: KubernetesPatch,
        /// `metadata.name`
        name: String,
    }

    /// The HorizontalPodAutoscaler.
    KubernetesAutoscaler {
        /// `minReplicas`
        min_replicas: i32,
        /// `maxReplicas`
        max_replicas: i32,
        /// `metrics`; the default is 80 % of the requested CPU.
        metrics: Vec<Value>,
        /// `behavior`
        behavior: Value,
        /// Applied last.
        patch: KubernetesPatch,
        /// `metadata.name`
        name: String,
    }

    /// The PodDisruptionBudget.
    KubernetesBudget {
        /// `minAvailable`
        min_available: IntOrString,
        /// `maxUnavailable`
        max_unavailable: IntOrString,
        /// Applied last.
        patch: KubernetesPatch,
        /// `metadata.name`
        name: String,
    }

    /// The ServiceAccount.
    KubernetesServiceAccount {
        /// `metadata.name`
        name: String,
    }

    /// A patch of an object that we make.
    KubernetesPatch {
        /// `StrategicMerge` when absent.
        #![rename = "type"] kind: MergeType,
        /// The patch.
        value: Value,
    }

    /// Envoy's own log.
    ProxyLogging {
        /// Level by component; `default` is for all that are not named.
        level: BTreeMap<String, String>,
    }

    /// Changes of the configuration that Envoy starts with.
    ProxyBootstrap {
        /// `Replace` when absent.
        #![rename = "type"] kind: BootstrapType,
        /// YAML text.
        value: String,
        /// For `JSONPatch`.
        json_patches: Vec<JsonPatchOperation>,
    }

    /// One operation of RFC 6902.
    JsonPatchOperation {
        /// `add`, `remove`, `replace`, `move`, `copy` or `test`.
        op: String,
        /// A JSON pointer.
        path: String,
        /// The pointer of `move` and `copy`.
        from: String,
        /// The value of `add`, `replace` and `test`.
        value: Value,
    }

    /// How a proxy ends; durations as Gateway API spells them.
    ShutdownConfig {
        /// Wait before readiness fails.
        health_check_failure_delay: String,
        /// Connections may take this long to end.
        drain_timeout: String,
        /// The proxy stays at least this long.
        min_drain_duration: String,
    }
}

impl EnvoyProxySpec {
    /// What counts for a Gateway: its own EnvoyProxy over that of its class. The Gateway's `mergeType` says how;
    /// without one it counts alone.
    pub fn merged(class: Option<&Self>, gateway: Option<&Self>) -> Result<Option<Self>, MergeError> {
        let (base, specific) = match (class, gateway) {
            (Some(class), Some(gateway)) => (class, gateway),
            (class, gateway) => return Ok(gateway.or(class).cloned()),
        };
        let merged = match specific.merge_type.as_ref().unwrap_or(&MergeType::Replace) {
            MergeType::Replace => return Ok(Some(specific.clone())),
            MergeType::StrategicMerge => {
                merge::strategic(json(base), &json(specific), &merge::ENVOY_PROXY_SPEC)?
            }
            MergeType::JSONMerge => merge::json(json(base), &json(specific)),
            MergeType::Other(other) => return Err(fault("mergeType", format!("unknown type {other:?}"))),
        };
        serde_json::from_value(merged).map(Some).map_err(|error| fault("", error.to_string()))
    }

    /// What is said about Kubernetes objects.
    pub fn kubernetes(&self) -> Option<&KubernetesProvider> {
        self.provider.as_ref()?.kubernetes.as_ref()
    }
}

fn json(spec: &EnvoyProxySpec) -> Value {
    serde_json::to_value(spec).expect("structs with string keys always serialise")
}

fn fault(at: &str, why: String) -> MergeError {
    MergeError { at: at.to_owned(), why }
}

#[cfg(test)]
mod tests;
