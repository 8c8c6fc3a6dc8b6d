use gatehouse_api::types::EnvoyProxySpec;
use gatehouse_model::NamespacedName;
use gatehouse_model::listener::{AccessLog, IpFamily, LogFormat, LogScope};
use serde_json::{Value, json};

use super::{Hosting, Parameters, Settings, guard, unheeded};

fn spec(json: Value) -> EnvoyProxySpec {
    serde_json::from_value(json).unwrap()
}

fn settings(json: Value, hosting: &Hosting) -> Settings {
    let parameters = Parameters { names: "".into(), spec: spec(json).into(), unheeded: Vec::new() };
    parameters.settings(hosting)
}

fn logs(log: &Value) -> Vec<AccessLog> {
    settings(json!({"telemetry": {"accessLog": log}}), &Hosting::Pods).listeners.access_logs.clone()
}

fn log(path: &str, format: LogFormat, scope: LogScope) -> AccessLog {
    AccessLog { path: path.into(), format, scope }
}

#[test]
fn nothing_is_logged_unless_a_log_is_asked_for() {
    assert_eq!(settings(json!({}), &Hosting::Pods), Settings::default());
    assert_eq!(settings(json!({"telemetry": {}}), &Hosting::Pods), Settings::default());
    assert_eq!(logs(&json!({"disable": true})), []);
    assert_eq!(logs(&json!({})), [log("/dev/stdout", LogFormat::Default, LogScope::Everything)]);
}

#[test]
fn each_file_is_written_in_each_format() {
    let file = |path: &str| json!({"type": "File", "file": {"path": path}});
    let found = logs(&json!({"settings": [
        {"sinks": [file("a"), {"type": "ALS", "als": {}}, file("b")], "format": {"text": "t", "json": {"k": "v"}}},
        {"sinks": [file("c")], "format": {"type": "JSON", "json": {"k": "v"}}, "type": "Route"},
        {"sinks": [file("d")], "type": "Listener"},
    ]}));
    let text = || LogFormat::Text("t".into());
    let json = || LogFormat::Json([("k".into(), "v".into())].into());
    assert_eq!(
        found,
        [
            log("a", text(), LogScope::Everything),
            log("a", json(), LogScope::Everything),
            log("b", text(), LogScope::Everything),
            log("b", json(), LogScope::Everything),
            log("c", json(), LogScope::Requests),
            log("d", LogFormat::Default, LogScope::Connections),
        ]
    );
}

#[test]
fn a_log_whose_conditions_are_not_supported_writes_nothing() {
    let sinks = json!([{"type": "File", "file": {"path": "a"}}]);
    let with = |more: Value| {
        let mut setting = json!({"sinks": sinks});
        for (name, value) in more.as_object().unwrap() {
            setting[name] = value.clone();
        }
        logs(&json!({"settings": [setting]})).len()
    };
    assert_eq!(with(json!({"matches": ["response.code >= 500"]})), 0);
    assert_eq!(with(json!({"matches": []})), 1);
    assert_eq!(with(json!({"type": "Upstream"})), 0);
}

#[test]
fn the_address_family_is_that_of_pods() {
    let family = |hosting| settings(json!({"ipFamily": "DualStack"}), &hosting).listeners.family;
    assert_eq!(family(Hosting::Pods), Some(IpFamily::Dual));
    assert_eq!(family(Hosting::default()), None);
}

#[test]
fn what_a_host_cannot_follow_is_named() {
    let spec = spec(json!({
        "logging": {"level": {"default": "warn"}},
        "concurrency": 2,
        "ipFamily": "IPv6",
        "extraArgs": [],
        "filterOrder": [],
        "routingType": "Service",
        "shutdown": {"drainTimeout": "1s"},
        "bootstrap": {"value": ""},
        "provider": {"type": "Host", "host": {}, "kubernetes": {"envoyDeployment": {"pod": {"hostNetwork": true}}}},
        "telemetry": {"accessLog": {}, "metrics": {"prometheus": {}, "matches": []}},
    }));
    assert_eq!(
        unheeded(&spec, &Hosting::default()),
        [
            "bootstrap",
            "concurrency",
            "extraArgs",
            "filterOrder",
            "ipFamily",
            "provider.host",
            "provider.kubernetes",
            "routingType=Service",
            "shutdown",
            "telemetry.metrics.matches",
            "telemetry.metrics.prometheus",
        ]
    );
    let level = serde_json::from_value(json!({"logging": {"level": {"default": "debug"}}})).unwrap();
    assert_eq!(unheeded(&level, &Hosting::default()), ["logging.level"]);
}

#[test]
fn what_reaches_into_a_shared_namespace_is_forbidden() {
    let secret =
        json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "gatehouse-ca", "key": "ca.key"}}});
    let workload = json!({
        "name": "n",
        "patch": {"value": {}},
        "initContainers": [],
        "pod": {"volumes": [], "imagePullSecrets": [], "securityContext": {}, "labels": {}, "nodeSelector": {}},
        "container": {
            "env": [secret], "volumeMounts": [], "securityContext": {}, "resources": {}, "image": "i:1",
            "imageRepository": "i",
        },
    });
    let all = |workload: &str, fields: &Value| {
        guard::forbidden(&spec(json!({"provider": {"kubernetes": {workload: fields}}})))
    };
    let of_workload = [
        "container.env.valueFrom",
        "container.image",
        "container.imageRepository",
        "container.securityContext",
        "container.volumeMounts",
        "initContainers",
        "name",
        "patch",
        "pod.imagePullSecrets",
        "pod.securityContext",
        "pod.volumes",
    ];
    for kind in ["envoyDeployment", "envoyDaemonSet"] {
        let expected: Vec<_> =
            of_workload.iter().map(|field| format!("provider.kubernetes.{kind}.{field}")).collect();
        assert_eq!(all(kind, &workload), expected);
    }
    for kind in ["envoyService", "envoyHpa", "envoyPDB"] {
        let found = all(kind, &json!({"name": "n", "patch": {"value": {}}, "labels": {}}));
        assert_eq!(found, ["name", "patch"].map(|field| format!("provider.kubernetes.{kind}.{field}")));
    }
    assert_eq!(all("envoyServiceAccount", &json!({"name": "n"})).len(), 1);
    let own = json!({"container": {"env": [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]}});
    assert_eq!(all("envoyDeployment", &own), [""; 0]);
}

#[test]
fn names_are_those_of_people() {
    let source = super::Source { name: NamespacedName::new("a", "b"), spec: spec(json!({})).into() };
    assert_eq!(source.to_string(), "EnvoyProxy a/b");
}
