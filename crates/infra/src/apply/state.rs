//! What the live objects of a fleet say, in words for its user. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::live::{Id, Live, Watched};
use super::{AddressKind, InfraState};
use crate::objects::Kind;

/// Why a container waits and will go on waiting until somebody does something.
const STUCK: [&str; 9] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "ImageInspectError",
    "CrashLoopBackOff",
];

/// The state that the live objects of a fleet show; `wanted` says which of them count, `balancer` is what the load balancer
/// said last of a Service without an address.
pub(super) fn observe<'a>(
    live: impl Iterator<Item = (&'a Id, &'a Live)>,
    wanted: impl Fn(&Id) -> bool,
    balancer: Option<&str>,
) -> InfraState {
    let mut state = InfraState::default();
    let mut problems = BTreeSet::new();
    let (mut service, mut hosts) = (None, BTreeSet::new());
    for (id, live) in live {
        let body = &*live.body;
        match id.watched {
            Watched::Pod if live.deleting => {}
            Watched::Pod => {
                problems.extend(pod_problems(id, body));
                if is_true(body, "Ready") {
                    hosts.extend(text(&body["status"]["hostIP"]));
                }
            }
            Watched::Object(Kind::Service) if wanted(id) => service = Some((id, body)),
            Watched::Object(Kind::Deployment) if wanted(id) => {
                state.wanted_replicas = number(&body["spec"]["replicas"]);
                state.ready_replicas = number(&body["status"]["readyReplicas"]);
                problems.extend(deployment_problems(id, body));
            }
            Watched::Object(Kind::DaemonSet) if wanted(id) => {
                state.wanted_replicas = number(&body["status"]["desiredNumberScheduled"]);
                state.ready_replicas = number(&body["status"]["numberReady"]);
            }
            Watched::Object(_) => {}
        }
    }
    if let Some((id, body)) = service {
        state.addresses = addresses(body, &hosts);
        problems.extend(address_problem(id, body, balancer));
    }
    state.problems = problems.into_iter().collect();
    state
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}

fn conditions(body: &Value) -> impl Iterator<Item = &Value> {
    body["status"]["conditions"].as_array().into_iter().flatten()
}

fn is_true(body: &Value, condition: &str) -> bool {
    conditions(body).any(|found| found["type"] == condition && found["status"] == "True")
}

fn strings(value: &Value) -> impl Iterator<Item = String> {
    value.as_array().into_iter().flatten().filter_map(text)
}

fn addresses(service: &Value, hosts: &BTreeSet<String>) -> Vec<(AddressKind, String)> {
    let spec = &service["spec"];
    let own: Vec<String> = strings(&spec["clusterIPs"]).filter(|ip| ip != "None").collect();
    let external = strings(&spec["externalIPs"]).map(|ip| (AddressKind::Ip, ip));
    let mut addresses: Vec<_> = match spec["type"].as_str() {
        Some("LoadBalancer") => ingress(service).chain(external).collect(),
        Some("NodePort") => {
            let external: Vec<_> = external.collect();
            if external.is_empty() {
                hosts.iter().map(|host| (AddressKind::Ip, host.clone())).collect()
            } else {
                external
            }
        }
        _ => own.iter().map(|ip| (AddressKind::Ip, ip.clone())).collect(),
    };
    addresses.extend(own.into_iter().map(|ip| (AddressKind::ClusterIp, ip)));
    addresses
}

fn ingress(service: &Value) -> impl Iterator<Item = (AddressKind, String)> {
    let all = service["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
    all.filter_map(|entry| {
        let ip = text(&entry["ip"]).map(|ip| (AddressKind::Ip, ip));
        ip.or_else(|| text(&entry["hostname"]).map(|name| (AddressKind::Hostname, name)))
    })
}

/// An address that a load balancer owes a Service.
enum Awaited {
    Any,
    This(String),
}

fn awaited(service: &Value) -> Option<Awaited> {
    let spec = &service["spec"];
    if spec["type"] != "LoadBalancer" {
        return None;
    }
    let mut given = ingress(service).map(|(_, value)| value);
    match text(&spec["loadBalancerIP"]) {
        Some(asked) => (!given.any(|given| given == asked)).then_some(Awaited::This(asked)),
        None => given.next().is_none().then_some(Awaited::Any),
    }
}

/// Whether a load balancer still owes the Service its address.
pub(super) fn waits_for_address(service: &Value) -> bool {
    awaited(service).is_some()
}

fn address_problem(id: &Id, service: &Value, balancer: Option<&str>) -> Option<String> {
    let (what, advice) = match awaited(service)? {
        Awaited::This(asked) => (
            format!("{id} does not have the address {asked}"),
            "see the events of the Service, and whether its load balancer may give it",
        ),
        Awaited::Any => (
            format!("{id} has no address yet"),
            "no load balancer gave one or said why; see whether the cluster has one, or set envoyService.type in an \
             EnvoyProxy",
        ),
    };
    Some(format!("{what}: {}", balancer.unwrap_or(advice)))
}

/// What was said last by whoever gives addresses: those who follow the endpoints of Services warn about them too.
pub(super) fn last_warning(events: &[Value]) -> Option<String> {
    let of_endpoints = |event: &&Value| {
        let source = [&event["reportingComponent"], &event["source"]["component"]];
        source.iter().any(|source| source.as_str().is_some_and(|source| source.contains("endpoint")))
    };
    // Times of one form sort as texts; a fraction sorts after the whole second, which is near enough.
    let time = |event: &&Value| {
        let times =
            [&event["series"]["lastObservedTime"], &event["lastTimestamp"], &event["eventTime"]].map(text);
        times.into_iter().flatten().max()
    };
    let said =
        events.iter().filter(|event| !of_endpoints(event) && event["type"] != "Normal").max_by_key(time);
    said.map(self::said).filter(|said| !said.is_empty())
}

fn deployment_problems(id: &Id, body: &Value) -> Vec<String> {
    let failing = conditions(body).filter(|condition| {
        (condition["type"] == "ReplicaFailure" && condition["status"] == "True")
            || (condition["type"] == "Progressing" && condition["status"] == "False")
    });
    failing.map(|condition| format!("{id}: {}", said(condition))).collect()
}

fn said(value: &Value) -> String {
    let (reason, message) = (text(&value["reason"]), text(&value["message"]));
    [reason, message].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// Names containers, not pods: the pods of a Deployment have the same trouble under ever new names.
fn pod_problems(id: &Id, body: &Value) -> Vec<String> {
    let status = &body["status"];
    let mut problems = Vec::new();
    if status["phase"] == "Failed" && !status["reason"].is_null() {
        problems.push(format!("a pod in {} failed: {}", id.namespace, said(status)));
    }
    let unscheduled = conditions(body)
        .filter(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False");
    problems.extend(
        unscheduled
            .map(|condition| format!("a pod in {} waits for a node: {}", id.namespace, said(condition))),
    );
    for list in ["initContainerStatuses", "containerStatuses"] {
        for container in status[list].as_array().into_iter().flatten() {
            let waiting = &container["state"]["waiting"];
            let reason = waiting["reason"].as_str().unwrap_or_default();
            if STUCK.contains(&reason) {
                let name = container["name"].as_str().unwrap_or_default();
                let image = container["image"].as_str().unwrap_or_default();
                problems.push(format!(
                    "container {name} with image {image} does not start: {}",
                    stuck(reason, waiting)
                ));
            }
        }
    }
    problems
}

/// Backing off and failing alternate, and back-off messages name the pod and a waiting time: say one thing all the time.
fn stuck(reason: &str, waiting: &Value) -> String {
    match reason {
        "ErrImagePull" | "ImagePullBackOff" => "the image cannot be pulled".to_owned(),
        "CrashLoopBackOff" => "it ends again and again; see its log".to_owned(),
        _ => said(waiting),
    }
}

#[cfg(test)]
mod tests;
