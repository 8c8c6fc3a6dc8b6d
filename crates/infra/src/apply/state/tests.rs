#![expect(clippy::needless_pass_by_value, reason = "helpers are called with literals")]

use serde_json::{Value, json};

use super::super::live::{Id, Live, Watched};
use super::super::{AddressKind, InfraState};
use super::{last_warning, observe};
use crate::objects::Kind;

fn state(objects: &[(Watched, Value)]) -> InfraState {
    let live: Vec<(Id, Live)> = objects
        .iter()
        .map(|(watched, object)| {
            let id = Id { watched: *watched, namespace: "shop".into(), name: "web-eg".into() };
            (id, Live::new(*watched, object.clone()))
        })
        .collect();
    observe(live.iter().map(|(id, live)| (id, live)), |_| true, None)
}

fn service(spec: Value, ingress: Value) -> (Watched, Value) {
    (Watched::Object(Kind::Service), json!({"spec": spec, "status": {"loadBalancer": {"ingress": ingress}}}))
}

fn pod(status: Value) -> (Watched, Value) {
    (Watched::Pod, json!({"metadata": {"name": "p"}, "status": status}))
}

#[test]
fn addresses_come_from_what_the_type_of_service_gives() {
    let ip = |text: &str| (AddressKind::Ip, text.to_owned());
    let balanced =
        service(json!({"type": "LoadBalancer"}), json!([{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]));
    let found = state(&[balanced]);
    assert_eq!(found.addresses, [ip("192.0.2.1"), (AddressKind::Hostname, "lb.example".to_owned())]);
    assert_eq!(found.problems, [""; 0]);
    let inside = |text: &str| (AddressKind::ClusterIp, text.to_owned());
    let both = json!({"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"]});
    let both = state(&[service(both, json!([{"ip": "192.0.2.1"}]))]);
    assert_eq!(both.addresses, [ip("192.0.2.1"), inside("10.0.0.1")]);
    let cluster =
        state(&[service(json!({"type": "ClusterIP", "clusterIPs": ["10.0.0.1", "fd00::1"]}), json!(null))]);
    assert_eq!(cluster.addresses, [ip("10.0.0.1"), ip("fd00::1"), inside("10.0.0.1"), inside("fd00::1")]);
    let ready = json!({"hostIP": "172.16.0.1", "conditions": [{"type": "Ready", "status": "True"}]});
    let node = state(&[service(json!({"type": "NodePort"}), json!(null)), pod(ready.clone())]);
    assert_eq!(node.addresses, [ip("172.16.0.1")]);
    let external = json!({"type": "NodePort", "externalIPs": ["192.0.2.9"]});
    assert_eq!(state(&[service(external, json!(null)), pod(ready)]).addresses, [ip("192.0.2.9")]);
    assert_eq!(
        state(&[service(json!({"type": "ClusterIP", "clusterIPs": ["None"]}), json!(null))]).addresses,
        []
    );
}

#[test]
fn an_address_that_is_not_given_is_a_problem() {
    let pending = state(&[service(json!({"type": "LoadBalancer"}), json!([]))]);
    assert!(pending.problems[0].contains("has no address yet: no load balancer gave one"), "{pending:?}");
    let asked = json!({"type": "LoadBalancer", "loadBalancerIP": "192.0.2.7"});
    let other = state(&[service(asked, json!([{"ip": "192.0.2.1"}]))]);
    assert!(other.problems[0].contains("does not have the address 192.0.2.7"), "{other:?}");
}

#[test]
fn an_address_that_is_not_given_is_explained_by_whoever_gives_addresses() {
    let id = Id { watched: Watched::Object(Kind::Service), namespace: "shop".into(), name: "web-eg".into() };
    let (_, pending) = service(json!({"type": "LoadBalancer"}), json!([]));
    let live = Live::new(id.watched, pending);
    let found = observe([(&id, &live)].into_iter(), |_| true, Some("AllocationFailed: no address is left"));
    assert_eq!(
        found.problems,
        ["Service shop/web-eg has no address yet: AllocationFailed: no address is left"]
    );
}

#[test]
fn the_last_warning_counts_and_those_about_endpoints_do_not() {
    let event = |time: &str, component: &str, message: &str| {
        json!({
            "type": "Warning", "reason": "R", "message": message, "lastTimestamp": time,
            "source": {"component": component}, "eventTime": null,
        })
    };
    let newer = json!({
        "type": "Warning", "reason": "R", "message": "newer", "lastTimestamp": null,
        "eventTime": "2026-01-01T00:00:07.000000Z", "reportingComponent": "balancer",
    });
    let events = [
        event("2026-01-01T00:00:05Z", "balancer", "older"),
        newer,
        event("2026-01-01T00:00:06Z", "balancer", "old"),
        event("2026-01-01T00:00:09Z", "endpoint-slice-controller", "no"),
    ];
    assert_eq!(last_warning(&events).as_deref(), Some("R: newer"));
    assert_eq!(last_warning(&events[3..]), None);
    assert_eq!(last_warning(&[]), None);
}

#[test]
fn a_container_whose_configuration_is_missing_says_what_is_missing() {
    let waiting = json!({"reason": "CreateContainerConfigError", "message": "configmap \"web\" not found"});
    let found = state(&[pod(json!({"initContainerStatuses": [
        {"name": "agent", "image": "gatehouse:1", "state": {"waiting": waiting}},
    ]}))]);
    assert_eq!(
        found.problems,
        [
            "container agent with image gatehouse:1 does not start: CreateContainerConfigError: configmap \"web\" not found"
        ]
    );
}

#[test]
fn an_image_that_cannot_be_pulled_reads_the_same_while_it_backs_off() {
    let waiting = |reason: &str| {
        pod(json!({"containerStatuses": [{
            "name": "envoy",
            "image": "none:1",
            "state": {"waiting": {"reason": reason, "message": "Back-off 5s"}},
        }]}))
    };
    let expected = ["container envoy with image none:1 does not start: the image cannot be pulled"];
    assert_eq!(state(&[waiting("ErrImagePull")]).problems, expected);
    assert_eq!(state(&[waiting("ImagePullBackOff")]).problems, expected);
    assert_eq!(state(&[waiting("ContainerCreating")]).problems, [""; 0]);
}

#[test]
fn quotas_and_missing_nodes_are_named() {
    let failing = json!({"spec": {"replicas": 3}, "status": {"readyReplicas": 1, "conditions": [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"},
    ]}});
    let unscheduled = json!({"conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
    ]});
    let found = state(&[(Watched::Object(Kind::Deployment), failing), pod(unscheduled)]);
    assert_eq!((found.wanted_replicas, found.ready_replicas), (3, 1));
    assert_eq!(
        found.problems,
        [
            "Deployment shop/web-eg: FailedCreate: exceeded quota: q",
            "a pod in shop waits for a node: Unschedulable: 0/1 nodes are available",
        ]
    );
}
