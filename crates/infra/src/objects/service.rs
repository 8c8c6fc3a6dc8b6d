//! The Service of a fleet.

use gatehouse_api::types::envoyproxy::{IpFamily, KubernetesService};
use gatehouse_translate::{FleetAddress, Routability};
use serde_json::{Map, Value, json};

use super::meta::Frame;
use super::{Context, Kind};
use crate::names;

pub(super) fn body(context: &Context<'_>) -> (Frame, Value) {
    let empty = KubernetesService::default();
    let service =
        context.kubernetes.and_then(|kubernetes| kubernetes.envoy_service.as_ref()).unwrap_or(&empty);
    let frame = Frame::new(context, Kind::Service, service.name.as_deref())
        .labels(service.labels.as_ref())
        .annotations(service.annotations.as_ref());
    let kind = match &*context.plan.addresses {
        // Who asks for nothing else is not to be reached from outside, whatever the parameters say.
        [first, rest @ ..] if [first].into_iter().chain(rest).all(is_inside) => "ClusterIP",
        _ => service.kind.as_deref().unwrap_or("LoadBalancer"),
    };
    let mut spec = json!({
        "type": kind,
        "selector": names::selector(&context.plan.fleet),
        "ports": ports(context),
        "sessionAffinity": "None",
    });
    if let Value::Object(spec) = &mut spec {
        if kind != "ClusterIP" {
            let policy = service.external_traffic_policy.as_deref().unwrap_or("Local");
            spec.insert("externalTrafficPolicy".to_owned(), policy.into());
        }
        if kind == "LoadBalancer" {
            load_balancer(spec, service);
        }
        addresses(spec, context, kind);
        families(spec, context);
    }
    (frame, json!({"spec": spec}))
}

/// Ports are told apart by protocol and number, so one that stays keeps its name and its node port.
fn ports(context: &Context<'_>) -> Vec<Value> {
    let ports = context.plan.ports.iter().map(|port| {
        let (name, protocol) = if port.udp { ("udp", "UDP") } else { ("tcp", "TCP") };
        json!({
            "name": format!("{name}-{}", port.port),
            "protocol": protocol,
            "port": port.port,
            "targetPort": port.bound,
        })
    });
    ports.collect()
}

fn load_balancer(spec: &mut Map<String, Value>, service: &KubernetesService) {
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            spec.insert(name.to_owned(), value);
        }
    };
    set("loadBalancerClass", service.load_balancer_class.as_deref().map(Value::from));
    set("allocateLoadBalancerNodePorts", service.allocate_load_balancer_node_ports.map(Value::from));
    set("loadBalancerIP", service.load_balancer_ip.as_deref().map(Value::from));
    let ranges = service.load_balancer_source_ranges.as_ref().filter(|ranges| !ranges.is_empty());
    set("loadBalancerSourceRanges", ranges.map(|ranges| ranges.clone().into()));
}

fn is_inside(address: &FleetAddress) -> bool {
    address.routability == Routability::Cluster
}

/// Static addresses: the cluster IP, if it is to be reached from inside; what a LoadBalancer is asked for; external addresses else.
/// A load balancer can be asked for one address, so further ones become external.
fn addresses(spec: &mut Map<String, Value>, context: &Context<'_>, kind: &str) {
    let wanted = context.plan.addresses.iter().filter(|address| *address.kind == *"IPAddress");
    let (inside, outside): (Vec<_>, Vec<_>) =
        wanted.filter(|address| address.value.is_some()).partition(|address| is_inside(address));
    let value = |address: &FleetAddress| address.value.as_deref().map(str::to_owned);
    if let Some(own) = inside.first() {
        spec.insert("clusterIP".to_owned(), value(own).into());
    }
    let mut wanted = outside.into_iter().filter_map(value).peekable();
    let single = match kind {
        "ClusterIP" if spec.contains_key("clusterIP") => None,
        "ClusterIP" => Some("clusterIP"),
        "LoadBalancer" if !spec.contains_key("loadBalancerIP") => Some("loadBalancerIP"),
        _ => None,
    };
    if let Some(field) = single
        && let Some(first) = wanted.next()
    {
        spec.insert(field.to_owned(), first.into());
    }
    if wanted.peek().is_some() && kind != "ClusterIP" {
        spec.insert("externalIPs".to_owned(), wanted.collect());
    }
}

fn families(spec: &mut Map<String, Value>, context: &Context<'_>) {
    let (families, policy) = match context.spec.and_then(|spec| spec.ip_family.as_ref()) {
        Some(IpFamily::IPv4) => (json!(["IPv4"]), "SingleStack"),
        Some(IpFamily::IPv6) => (json!(["IPv6"]), "SingleStack"),
        Some(IpFamily::DualStack) => (json!(["IPv4", "IPv6"]), "RequireDualStack"),
        Some(IpFamily::Other(_)) | None => return,
    };
    spec.insert("ipFamilies".to_owned(), families);
    spec.insert("ipFamilyPolicy".to_owned(), policy.into());
}
