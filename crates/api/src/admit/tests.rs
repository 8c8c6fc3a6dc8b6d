use serde_json::json;

use super::*;
use crate::source::parse;

fn admitted(text: &str) -> Admitted {
    let documents = parse(text);
    assert_eq!(documents.len(), 1);
    admit(&documents[0]).unwrap_or_else(|diagnostics| panic!("{diagnostics:#?}"))
}

fn refused(text: &str) -> Vec<String> {
    let diagnostics = admit(&parse(text)[0]).expect_err("the object is invalid");
    diagnostics.iter().map(ToString::to_string).collect()
}

fn route(spec: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r}}, spec: {spec}}}"
    )
}

#[test]
fn defaults_are_those_of_the_schema_at_every_depth() {
    let json =
        admitted(&route("{parentRefs: [{name: eg}], rules: [{backendRefs: [{name: a, port: 80}]}]}")).json;
    assert_eq!(
        json,
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "r", "namespace": "default"},
            "spec": {
                "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "eg"}],
                "rules": [{
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [{"group": "", "kind": "Service", "name": "a", "port": 80, "weight": 1}],
                }],
            },
        })
    );
    let rules = &admitted(&route("{}")).json["spec"]["rules"];
    assert_eq!(*rules, json!([{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]));
}

#[test]
fn a_null_takes_the_default_and_is_refused_without_one() {
    let json = admitted(&route("{rules: [{backendRefs: [{name: a, port: 80, weight: null}]}]}")).json;
    assert_eq!(json["spec"]["rules"][0]["backendRefs"][0]["weight"], json!(1));
    assert!(refused(&route("{hostnames: null}"))[0].contains("must be a list, not empty"));
}

#[test]
fn status_and_server_side_metadata_are_accepted() {
    let text = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata:
  name: eg
  creationTimestamp: null
  uid: abc
  generation: 3
  managedFields: [{manager: kubectl}]
spec: {controllerName: example.com/c}
status: {conditions: [{anything: goes}]}
";
    let admitted = admitted(text);
    assert_eq!(admitted.object.meta().generation, 3);
    assert_eq!(admitted.object.meta().namespace, None);
    assert!(admitted.json.get("status").is_none());
}

#[test]
fn both_served_versions_decode_to_equal_objects() {
    let v1 = admitted(&route("{hostnames: [a.example.com]}"));
    let beta = admitted(&route("{hostnames: [a.example.com]}").replace("/v1,", "/v1beta1,"));
    assert_eq!(v1.object, beta.object);
}

#[test]
fn services_get_what_the_api_server_adds() {
    let text = "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80}]}}";
    let json = admitted(text).json;
    assert_eq!(json["spec"]["ports"][0], json!({"port": 80, "protocol": "TCP", "targetPort": 80}));
    assert_eq!(json["spec"]["type"], json!("ClusterIP"));
}

#[test]
fn service_mistakes_are_found() {
    let service =
        |spec: &str| format!("{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {spec}}}");
    for (spec, expected) in [
        ("{ports: [{port: 0}]}", "spec.ports[0].port: must be between 1 and 65535"),
        ("{ports: [{port: 70000}]}", "spec.ports[0].port: must be between 1 and 65535"),
        ("{ports: [{port: 80}, {port: 81}]}", "must name each"),
        ("{ports: [{port: 80, name: a}, {port: 81, name: a}]}", "same name"),
        ("{ports: [{port: 80, name: a}, {port: 80, name: b}]}", "same port and protocol"),
        ("{ports: [{port: 80, protocol: tcp}]}", "did you mean `TCP`?"),
        ("{ports: [{port: 80, targetPort: HTTP}]}", "did you mean `http`?"),
        ("{ports: [{port: 80, tragetPort: 81}]}", "did you mean `targetPort`?"),
        ("{}", "spec.ports: required"),
        ("{type: ExternalName}", "spec.externalName"),
    ] {
        let found = refused(&service(spec));
        assert!(found.iter().any(|diagnostic| diagnostic.contains(expected)), "{spec}: {found:?}");
    }
    admitted(&service("{clusterIP: None}"));
    admitted(&service("{type: ExternalName, externalName: a.example.com}"));
}

#[test]
fn secrets_are_merged_and_their_values_never_shown() {
    let secret = |rest: &str| format!("{{apiVersion: v1, kind: Secret, metadata: {{name: s}}, {rest}}}");
    let admitted = admitted(&secret("data: {a: aHVudGVyMg==, b: eA==}, stringData: {b: hunter2}"));
    let Object::Secret(object) = &admitted.object else { panic!("{:?}", admitted.object) };
    assert_eq!(object.secret_type.as_deref(), Some("Opaque"));
    assert_eq!(object.data["a"].expose(), b"hunter2");
    assert_eq!(object.data["b"].expose(), b"hunter2");
    assert!(!format!("{object:?}").contains("hunter2"), "{object:?}");
    assert!(!format!("{object:?}").contains("104"), "{object:?}");
    for rest in [
        "data: {a: hunter2!}",
        "stringData: {a: [hunter2]}",
        "data: {a: {hunter2: x}}",
        "data: {a: 11223344}",
    ] {
        let found = refused(&secret(rest));
        assert!(
            found.iter().all(|text| !text.contains("hunter2") && !text.contains("11223344")),
            "{found:?}"
        );
    }
}

#[test]
fn slices_are_checked_and_defaulted() {
    let slice = |rest: &str| {
        format!("{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s}}, {rest}}}")
    };
    let json =
        admitted(&slice("addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}], ports: [{port: 80}]")).json;
    assert_eq!(json["ports"][0], json!({"name": "", "port": 80, "protocol": "TCP"}));
    assert!(
        refused(&slice("addressType: IPv4, endpoints: [{addresses: ['::1']}]"))[0]
            .contains("must be of type IPv4")
    );
    assert!(refused(&slice("addressType: ipv4, endpoints: []"))[0].contains("did you mean `IPv4`?"));
    assert!(refused(&slice("endpoints: []"))[0].contains("addressType"));
    admitted(&slice("addressType: IPv6, endpoints: null, ports: null"));
}

#[test]
fn metadata_is_checked() {
    let map = |metadata: &str| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {metadata}}}");
    for (metadata, expected) in [
        ("{name: 'a b'}", "did you mean `a-b`?"),
        ("{generateName: a-}", "metadata.generateName"),
        ("{name: a, namespace: A}", "did you mean `a`?"),
        ("{name: a, labels: {a/b/c: x}}", "must be letters"),
        ("{name: a, labels: {a: 'x y'}}", "must be empty, or"),
        ("{name: a, annotations: {'-': x}}", "must be letters"),
        ("{name: a, label: {}}", "did you mean `labels`?"),
        ("{}", "metadata.name: required"),
    ] {
        let found = refused(&map(metadata));
        assert!(found.iter().any(|diagnostic| diagnostic.contains(expected)), "{metadata}: {found:?}");
    }
}

#[test]
fn gateway_addresses_match_their_type() {
    let gateway = |address: &str| {
        let listeners = "[{name: a, port: 80, protocol: HTTP}]";
        let spec = format!("{{gatewayClassName: c, addresses: [{address}], listeners: {listeners}}}");
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: g}}, spec: {spec}}}"
        )
    };
    for address in
        ["{value: 1.2.3.4}", "{value: '::1'}", "{type: Hostname, value: a.b}", "{}", "{type: NamedAddress}"]
    {
        admitted(&gateway(address));
    }
    assert!(refused(&gateway("{value: a.b}"))[0].contains("must be an IP address"));
    assert!(refused(&gateway("{type: Hostname, value: A}"))[0].contains("Hostname value"));
}

#[test]
fn routability_uses_the_format_library() {
    let gateway = |routability: &str| {
        let spec = format!(
            "{{gatewayClassName: c, addresses: [{{routability: '{routability}'}}], \
             listeners: [{{name: a, port: 80, protocol: HTTP}}]}}"
        );
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: g}}, spec: {spec}}}"
        )
    };
    admitted(&gateway("Cluster"));
    admitted(&gateway("example.com/private"));
    for refused_one in ["Private", "Example_com/private", "k8s.io/x", "a.k8s.io/x"] {
        refused(&gateway(refused_one));
    }
}

#[test]
fn a_route_at_the_limits_of_its_lists_is_admitted() {
    let refs: Vec<String> = (0..32).map(|number| format!("{{name: g{number}}}")).collect();
    let rules = "{matches: [{path: {value: /a}}], backendRefs: [{name: a, port: 1}]}";
    let rules = vec![rules; 16].join(", ");
    admitted(&route(&format!("{{parentRefs: [{}], rules: [{rules}]}}", refs.join(", "))));
}
