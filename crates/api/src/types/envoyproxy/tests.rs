use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{EnvoyProxySpec, unsupported, walk};

fn spec(json: Value) -> EnvoyProxySpec {
    serde_json::from_value(json).unwrap()
}

#[test]
fn what_is_not_read_survives_a_round_trip() {
    let text = json!({
        "mergeGateways": true,
        "provider": {"type": "Host", "host": {"envoyVersion": "1.2.3"}, "kubernetes": {
            "envoyPDB": {"minAvailable": "50%", "new": 1},
            "envoyService": {"loadBalancerIP": "10.0.0.1", "type": "NodePort"},
        }},
        "telemetry": {"accessLog": {"settings": [{"matches": ["a"], "sinks": [{"type": "ALS", "als": {"x": 1}}]}]}},
    });
    assert_eq!(serde_json::to_value(spec(text.clone())).unwrap(), text);
}

#[test]
fn every_field_without_effect_is_named() {
    let found = unsupported(&spec(json!({
        "mergeGateways": true,
        "filterOrder": [{}],
        "geoIP": null,
        "concurrency": 2,
        "provider": {"type": "Host", "host": {}, "kubernetes": {
            "useListenerPortAsContainerPort": false,
            "envoyDaemonSet": {"replicas": 2, "pod": {"hostNetwork": true}},
            "envoyService": {"type": "ExternalName", "sessionAffinity": "x"},
        }},
        "bootstrap": {"type": "JSONPatch", "jsonPatches": [{"op": "add", "jsonPath": "$.a"}]},
        "telemetry": {
            "tracing": {},
            "metrics": {"sinks": [], "prometheus": {"compression": {}}, "matches": [{"type": "Glob", "value": "x"}]},
            "accessLog": {"settings": [{
                "type": "Upstream",
                "matches": ["x"],
                "sinks": [{"type": "File", "file": {"path": "/dev/stdout"}}, {"type": "OpenTelemetry", "openTelemetry": {}}],
            }]},
        },
    })));
    assert_eq!(
        found,
        [
            "bootstrap.jsonPatches[0].jsonPath",
            "filterOrder",
            "mergeGateways",
            "provider.host",
            "provider.kubernetes.envoyDaemonSet.pod.hostNetwork",
            "provider.kubernetes.envoyDaemonSet.replicas",
            "provider.kubernetes.envoyService.sessionAffinity",
            "provider.kubernetes.envoyService.type=ExternalName",
            "provider.kubernetes.useListenerPortAsContainerPort=false",
            "provider.type=Host",
            "telemetry.accessLog.settings[0].matches",
            "telemetry.accessLog.settings[0].sinks[1].openTelemetry",
            "telemetry.accessLog.settings[0].sinks[1].type=OpenTelemetry",
            "telemetry.accessLog.settings[0].type=Upstream",
            "telemetry.metrics.matches[0].type=Glob",
            "telemetry.metrics.prometheus.compression",
            "telemetry.metrics.sinks",
            "telemetry.tracing",
        ]
    );
}

#[test]
fn the_gateways_own_proxy_counts_alone_unless_it_says_how_to_merge() {
    let deployment = |inner: Value| json!({"provider": {"kubernetes": {"envoyDeployment": inner}}});
    let class = spec(deployment(json!({"replicas": 3, "container": {"env": [{"name": "A", "value": "1"}]}})));
    let own = |merge: Option<&str>| {
        let mut own = deployment(json!({"container": {"env": [{"name": "B", "value": "2"}]}}));
        if let Some(merge) = merge {
            own["mergeType"] = merge.into();
        }
        spec(own)
    };
    let merged = |merge| {
        let merged = EnvoyProxySpec::merged(Some(&class), Some(&own(merge))).unwrap().unwrap();
        let deployment = merged.kubernetes().unwrap().envoy_deployment.clone().unwrap();
        (deployment.replicas, deployment.container.unwrap().env.unwrap().len())
    };
    assert_eq!(merged(None), (None, 1));
    assert_eq!(merged(Some("Replace")), (None, 1));
    assert_eq!(merged(Some("StrategicMerge")), (Some(3), 2));
    assert_eq!(merged(Some("JSONMerge")), (Some(3), 1));
    assert!(EnvoyProxySpec::merged(Some(&class), Some(&own(Some("Other")))).is_err());
    assert_eq!(EnvoyProxySpec::merged(Some(&class), None), Ok(Some(class.clone())));
    assert_eq!(EnvoyProxySpec::merged(None, None), Ok(None));
}

/// Fields that have an effect; what stands below the last of them passes through as it is. Of a DaemonSet the same ones as of
/// a Deployment but for those that it lacks.
const HEEDED: &str = "
    bootstrap.jsonPatches[].from
    bootstrap.jsonPatches[].op
    bootstrap.jsonPatches[].path
    bootstrap.jsonPatches[].value
    bootstrap.type
    bootstrap.value
    concurrency
    extraArgs
    ipFamily
    logging.level
    mergeType
    provider.kubernetes.envoyDeployment.container.env
    provider.kubernetes.envoyDeployment.container.image
    provider.kubernetes.envoyDeployment.container.imageRepository
    provider.kubernetes.envoyDeployment.container.resources
    provider.kubernetes.envoyDeployment.container.securityContext
    provider.kubernetes.envoyDeployment.container.volumeMounts
    provider.kubernetes.envoyDeployment.initContainers
    provider.kubernetes.envoyDeployment.name
    provider.kubernetes.envoyDeployment.patch.type
    provider.kubernetes.envoyDeployment.patch.value
    provider.kubernetes.envoyDeployment.pod.affinity
    provider.kubernetes.envoyDeployment.pod.annotations
    provider.kubernetes.envoyDeployment.pod.imagePullSecrets
    provider.kubernetes.envoyDeployment.pod.labels
    provider.kubernetes.envoyDeployment.pod.nodeSelector
    provider.kubernetes.envoyDeployment.pod.priorityClassName
    provider.kubernetes.envoyDeployment.pod.securityContext
    provider.kubernetes.envoyDeployment.pod.tolerations
    provider.kubernetes.envoyDeployment.pod.topologySpreadConstraints
    provider.kubernetes.envoyDeployment.pod.volumes
    provider.kubernetes.envoyDeployment.replicas
    provider.kubernetes.envoyDeployment.strategy
    provider.kubernetes.envoyHpa.behavior
    provider.kubernetes.envoyHpa.maxReplicas
    provider.kubernetes.envoyHpa.metrics
    provider.kubernetes.envoyHpa.minReplicas
    provider.kubernetes.envoyHpa.name
    provider.kubernetes.envoyHpa.patch.type
    provider.kubernetes.envoyHpa.patch.value
    provider.kubernetes.envoyPDB.maxUnavailable
    provider.kubernetes.envoyPDB.minAvailable
    provider.kubernetes.envoyPDB.name
    provider.kubernetes.envoyPDB.patch.type
    provider.kubernetes.envoyPDB.patch.value
    provider.kubernetes.envoyService.allocateLoadBalancerNodePorts
    provider.kubernetes.envoyService.annotations
    provider.kubernetes.envoyService.externalTrafficPolicy
    provider.kubernetes.envoyService.labels
    provider.kubernetes.envoyService.loadBalancerClass
    provider.kubernetes.envoyService.loadBalancerIP
    provider.kubernetes.envoyService.loadBalancerSourceRanges
    provider.kubernetes.envoyService.name
    provider.kubernetes.envoyService.patch.type
    provider.kubernetes.envoyService.patch.value
    provider.kubernetes.envoyService.type
    provider.kubernetes.envoyServiceAccount.name
    provider.kubernetes.useListenerPortAsContainerPort
    provider.type
    routingType
    shutdown.drainTimeout
    shutdown.healthCheckFailureDelay
    shutdown.minDrainDuration
    telemetry.accessLog.disable
    telemetry.accessLog.settings[].format.json
    telemetry.accessLog.settings[].format.text
    telemetry.accessLog.settings[].format.type
    telemetry.accessLog.settings[].sinks[].file.path
    telemetry.accessLog.settings[].sinks[].type
    telemetry.accessLog.settings[].type
    telemetry.metrics.matches[].type
    telemetry.metrics.matches[].value
    telemetry.metrics.prometheus.disable
";
const NOT_OF_A_DAEMON_SET: [&str; 2] = ["initContainers", "replicas"];

fn heeded() -> BTreeSet<String> {
    let mut all: BTreeSet<String> = HEEDED.split_whitespace().map(str::to_owned).collect();
    let of_deployment: Vec<String> =
        all.iter().filter(|path| path.contains("envoyDeployment")).cloned().collect();
    let of_daemon_set =
        of_deployment.iter().filter(|path| !NOT_OF_A_DAEMON_SET.iter().any(|no| path.ends_with(no)));
    all.extend(of_daemon_set.map(|path| path.replace("envoyDeployment", "envoyDaemonSet")));
    all
}

#[test]
fn every_field_of_the_schema_has_an_effect_or_is_named() {
    let heeded = heeded();
    let named = |value: Value| !unsupported(&spec(value)).is_empty();
    assert_eq!(walk::fields("EnvoyProxy", &heeded, &named), heeded);
}
