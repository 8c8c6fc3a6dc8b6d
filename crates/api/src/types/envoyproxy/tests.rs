use serde_json::{Value, json};

use super::{EnvoyProxySpec, unsupported};

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
