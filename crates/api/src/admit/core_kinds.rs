//! Defaults and rules of Kubernetes' own kinds that their schema does not hold.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    issue::{Issues, Part, Path},
    metadata::name_like,
    suggest,
};
use crate::names;

/// Fills in what the API server fills in.
pub(crate) fn default(kind: &str, json: &mut Value) {
    match kind {
        "Secret" => default_to(json, "type", "Opaque".into()),
        "Service" => {
            if let Value::Object(fields) = json {
                default_service(fields.entry("spec").or_insert_with(|| json!({})));
            }
        }
        "EndpointSlice" => {
            for port in array_mut(json, "ports") {
                default_to(port, "name", "".into());
                default_to(port, "protocol", "TCP".into());
            }
        }
        _ => {}
    }
}

fn default_service(spec: &mut Value) {
    default_to(spec, "type", "ClusterIP".into());
    default_to(spec, "sessionAffinity", "None".into());
    for port in array_mut(spec, "ports") {
        default_to(port, "protocol", "TCP".into());
        let unset = port.get("targetPort").is_none() || port["targetPort"] == 0 || port["targetPort"] == "";
        if unset && port.get("port").is_some() {
            port["targetPort"] = port["port"].clone();
        }
    }
}

fn default_to(value: &mut Value, field: &str, default: Value) {
    if let Value::Object(fields) = value
        && fields.get(field).is_none_or(|value| value == "")
    {
        fields.insert(field.to_owned(), default);
    }
}

fn array_mut<'v>(value: &'v mut Value, field: &str) -> impl Iterator<Item = &'v mut Value> {
    let items = value.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
    items.filter(|item| item.is_object())
}

/// Reports what the API server would refuse. The object is structurally valid.
pub(crate) fn check(kind: &str, json: &Value, issues: &mut Issues<'_>) {
    match kind {
        "ConfigMap" => {
            check_keys(json, &["data", "binaryData"], issues);
            check_base64(json, "binaryData", issues);
        }
        "EndpointSlice" => check_slice(json, issues),
        "Secret" => check_secret(json, issues),
        "Service" => check_service(&json["spec"], issues),
        _ => {}
    }
}

fn entries<'v>(json: &'v Value, field: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    json.get(field).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn items<'v>(json: &'v Value, field: &str) -> impl Iterator<Item = (usize, &'v Value)> {
    json.get(field).and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn check_keys(json: &Value, fields: &[&str], issues: &mut Issues<'_>) {
    for field in fields {
        for (key, _) in entries(json, field) {
            name_like(&Path::ROOT.field(field).field(key), Part::Key, key, names::data_key, issues);
        }
    }
}

fn check_base64(json: &Value, field: &str, issues: &mut Issues<'_>) {
    for (key, value) in entries(json, field) {
        let compact: String = value.as_str().unwrap_or_default().split(['\r', '\n']).collect();
        if STANDARD.decode(compact).is_err() {
            let suggestion = (field == "data").then(|| "plain text goes under `stringData:`".to_owned());
            let path = Path::ROOT.field(field);
            issues.error(&path.field(key), Part::Value, "must be base64".into(), suggestion);
        }
    }
}

fn check_secret(json: &Value, issues: &mut Issues<'_>) {
    check_keys(json, &["data", "stringData"], issues);
    check_base64(json, "data", issues);
    if json["type"] != "kubernetes.io/tls" {
        return;
    }
    for key in ["tls.crt", "tls.key"] {
        if !entries(json, "data").chain(entries(json, "stringData")).any(|(given, _)| given == key) {
            let message = "a Secret of type kubernetes.io/tls must have it".to_owned();
            issues.error(&Path::ROOT.field("data").field(key), Part::Value, message, None);
        }
    }
}

const SERVICE_TYPES: [&str; 4] = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];

fn check_service(spec: &Value, issues: &mut Issues<'_>) {
    let root = Path::ROOT.field("spec");
    one_of(&root.field("type"), &spec["type"], &SERVICE_TYPES, issues);
    let ports: Vec<(usize, &Value)> = items(spec, "ports").collect();
    let external = spec["type"] == "ExternalName";
    if ports.is_empty() && !external && spec["clusterIP"] != "None" {
        issues.error(&root.field("ports"), Part::Value, "required field is missing".into(), None);
    }
    if external {
        let name = spec["externalName"].as_str().unwrap_or_default().trim_end_matches('.');
        name_like(&root.field("externalName"), Part::Value, name, names::subdomain, issues);
    }
    let list = root.field("ports");
    let mut seen = BTreeSet::new();
    for (index, port) in &ports {
        let path = list.index(*index);
        check_service_port(&path, port, ports.len() > 1, issues);
        let name = port["name"].as_str().unwrap_or_default();
        if !name.is_empty() && !seen.insert(name) {
            issues.error(&path.field("name"), Part::Value, "another item has the same name".into(), None);
        }
    }
}

fn check_service_port(path: &Path<'_>, port: &Value, needs_name: bool, issues: &mut Issues<'_>) {
    match port["name"].as_str().unwrap_or_default() {
        "" if needs_name => {
            let message = "a Service with several ports must name each".to_owned();
            issues.error(&path.field("name"), Part::Value, message, None);
        }
        "" => {}
        name => name_like(&path.field("name"), Part::Value, name, names::label, issues),
    }
    one_of(&path.field("protocol"), &port["protocol"], &["TCP", "UDP", "SCTP"], issues);
    match port.get("port") {
        Some(number) => port_number(&path.field("port"), number, issues),
        None => issues.error(&path.field("port"), Part::Value, "required field is missing".into(), None),
    }
    match port.get("targetPort") {
        Some(Value::String(name)) => {
            name_like(&path.field("targetPort"), Part::Value, name, names::port_name, issues);
        }
        Some(number) => port_number(&path.field("targetPort"), number, issues),
        None => {}
    }
    if let Some(protocol) = port["appProtocol"].as_str() {
        name_like(&path.field("appProtocol"), Part::Value, protocol, names::qualified, issues);
    }
}

fn check_slice(json: &Value, issues: &mut Issues<'_>) {
    let address_type = json["addressType"].as_str().unwrap_or_default();
    one_of(&Path::ROOT.field("addressType"), &json["addressType"], &["IPv4", "IPv6", "FQDN"], issues);
    let endpoints = Path::ROOT.field("endpoints");
    for (index, endpoint) in items(json, "endpoints") {
        let path = endpoints.index(index);
        let path = path.field("addresses");
        let count = items(endpoint, "addresses").count();
        if !(1..=100).contains(&count) {
            issues.error(&path, Part::Value, "must have 1 to 100 items".into(), None);
        }
        for (index, address) in items(endpoint, "addresses") {
            let text = address.as_str().unwrap_or_default();
            let fits = match address_type {
                "IPv4" => text.parse::<Ipv4Addr>().is_ok(),
                "IPv6" => text.parse::<Ipv6Addr>().is_ok(),
                "FQDN" => names::subdomain(text).is_ok(),
                _ => true,
            };
            if !fits {
                issues.error(
                    &path.index(index),
                    Part::Value,
                    format!("must be of type {address_type}"),
                    None,
                );
            }
        }
    }
    let ports = Path::ROOT.field("ports");
    for (index, port) in items(json, "ports") {
        let path = ports.index(index);
        one_of(&path.field("protocol"), &port["protocol"], &["TCP", "UDP", "SCTP"], issues);
        if let Some(number) = port.get("port") {
            port_number(&path.field("port"), number, issues);
        }
    }
}

fn port_number(path: &Path<'_>, value: &Value, issues: &mut Issues<'_>) {
    if !value.as_u64().is_some_and(|number| (1..=65535).contains(&number)) {
        issues.error(path, Part::Value, "must be between 1 and 65535".into(), None);
    }
}

fn one_of(path: &Path<'_>, value: &Value, words: &[&str], issues: &mut Issues<'_>) {
    let given = value.as_str().unwrap_or_default();
    if !words.contains(&given) {
        let suggestion = suggest::near_miss(given, words.iter().copied());
        issues.error(path, Part::Value, format!("must be one of {}", words.join(", ")), suggestion);
    }
}

/// Warns of references to Services that cannot exist, which the schema of routes allows.
pub(crate) fn warn_of_impossible_services(value: &Value, path: &Path<'_>, issues: &mut Issues<'_>) {
    match value {
        Value::Object(fields) => {
            let refers = fields.get("kind").is_some_and(|kind| kind == "Service")
                && fields.get("group").is_none_or(|group| group == "");
            if let Some(name) = fields.get("name").and_then(Value::as_str).filter(|_| refers)
                && names::label(name).is_err()
            {
                let suggestion = suggest::repaired(name, |candidate| names::label(candidate).is_ok());
                let message = "no Service can have this name".to_owned();
                issues.warning(&path.field("name"), Part::Value, message, suggestion);
            }
            for (name, value) in fields {
                warn_of_impossible_services(value, &path.field(name), issues);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                warn_of_impossible_services(item, &path.index(index), issues);
            }
        }
        _ => {}
    }
}
