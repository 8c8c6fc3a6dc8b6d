//! Large sets of objects of a regular shape, for tests of bounded work and for benchmarks.
//!
//! One Gateway with an HTTP and an HTTPS listener, a hundred Services, and routes in one of the [`Shape`]s.

use gatehouse_api::Object;
use serde_json::json;

use crate::certificates::{FIRST, Pair};
use crate::objects::written;

const API: &str = "gateway.networking.k8s.io/v1";

/// How many Services the routes share.
pub const SERVICES: usize = 100;

/// How rules spread over routes and hostnames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Every route has a hostname of its own and one rule.
    Hosts,
    /// All routes share one hostname; each has this many rules.
    OneHost(usize),
}

/// All objects with so many routes.
pub fn objects(shape: Shape, routes: usize) -> Vec<Object> {
    let class = written(json!({ "apiVersion": API, "kind": "GatewayClass", "metadata": { "name": "scale" },
        "spec": { "controllerName": "gatehouse.dev/gatewayclass-controller" } }));
    let services = (0..SERVICES).flat_map(|index| [service(index), slice(index, 1)]);
    let routes = (0..routes).map(|index| route(shape, index, "first"));
    [class, gateway(&[]), certificate(FIRST)].into_iter().chain(services).chain(routes).collect()
}

/// The Gateway, with more HTTP listeners for these hostnames.
pub fn gateway(hostnames: &[&str]) -> Object {
    let own = [
        json!({ "name": "http", "port": 80, "protocol": "HTTP" }),
        json!({ "name": "https", "port": 443, "protocol": "HTTPS",
            "tls": { "certificateRefs": [{ "name": "cert" }] } }),
    ];
    let more = (0..).zip(hostnames).map(|(index, hostname)| {
        json!({ "name": format!("more-{index}"), "port": 80, "protocol": "HTTP", "hostname": hostname })
    });
    let listeners: Vec<_> = own.into_iter().chain(more).collect();
    written(json!({ "apiVersion": API, "kind": "Gateway",
        "metadata": { "name": "gw", "generation": 1 + hostnames.len() },
        "spec": { "gatewayClassName": "scale", "listeners": listeners } }))
}

/// The Secret of the HTTPS listener.
pub fn certificate((chain, key): Pair) -> Object {
    written(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cert" },
        "type": "kubernetes.io/tls", "stringData": { "tls.crt": chain, "tls.key": key } }))
}

fn service(index: usize) -> Object {
    written(json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": format!("svc-{index}") },
        "spec": { "ports": [{ "port": 80 }] } }))
}

/// The endpoints of a Service; `host` is the last part of their address.
pub fn slice(index: usize, host: u8) -> Object {
    let name = format!("svc-{index}");
    written(json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": format!("{name}-1"), "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4", "ports": [{ "port": 8080 }],
        "endpoints": [{ "addresses": [format!("10.0.{index}.{host}")] }] }))
}

/// A route under the HTTP listener; `value` is the header that its rules set.
pub fn route(shape: Shape, index: usize, value: &str) -> Object {
    let (hostname, rules) = match shape {
        Shape::Hosts => (format!("host-{index}.example.com"), 1),
        Shape::OneHost(rules) => ("one.example.com".to_owned(), rules),
    };
    let rule = |rule: usize| {
        json!({
            "matches": [{ "path": { "value": format!("/route-{index}/{rule}") } }],
            "filters": [{ "type": "RequestHeaderModifier",
                "requestHeaderModifier": { "set": [{ "name": "x-edit", "value": value }] } }],
            "backendRefs": [{ "name": format!("svc-{}", index % SERVICES), "port": 80 }],
        })
    };
    let rules: Vec<_> = (0..rules).map(rule).collect();
    written(json!({ "apiVersion": API, "kind": "HTTPRoute", "metadata": { "name": format!("route-{index}") },
        "spec": { "parentRefs": [{ "name": "gw", "sectionName": "http" }], "hostnames": [hostname],
            "rules": rules } }))
}
