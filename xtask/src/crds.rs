//! Custom resource definitions to schema nodes.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{core_types, modules, table::Table};

/// The kinds of Gateway API that the `api` crate reads, as their files are named.
const GATEWAY_API: [&str; 9] = [
    "backendtlspolicies",
    "gatewayclasses",
    "gateways",
    "grpcroutes",
    "httproutes",
    "listenersets",
    "referencegrants",
    "tcproutes",
    "tlsroutes",
];
/// Those that are experiments, in a group of their own.
const GATEWAY_API_X: [&str; 3] = ["xbackends", "xbackendtrafficpolicies", "xtelemetrypolicies"];
/// Those of Envoy Gateway, and where its module keeps them.
const ENVOY_GATEWAY: [&str; 3] = ["backends", "clienttrafficpolicies", "envoyproxies"];
const ENVOY_GATEWAY_FOLDER: &str = "charts/gateway-helm/charts/crds/crds/generated";

/// Keywords that are copied as they are, under the name they have in the table.
const COPIED: [(&str, &str); 19] = [
    ("type", "type"),
    ("required", "required"),
    ("enum", "enum"),
    ("default", "default"),
    ("minimum", "minimum"),
    ("maximum", "maximum"),
    ("minLength", "minLength"),
    ("maxLength", "maxLength"),
    ("minItems", "minItems"),
    ("maxItems", "maxItems"),
    ("minProperties", "minProperties"),
    ("maxProperties", "maxProperties"),
    ("pattern", "pattern"),
    ("format", "format"),
    ("nullable", "nullable"),
    ("x-kubernetes-list-type", "listType"),
    ("x-kubernetes-list-map-keys", "listMapKeys"),
    ("x-kubernetes-int-or-string", "intOrString"),
    ("x-kubernetes-preserve-unknown-fields", "preserveUnknown"),
];
/// Keywords that hold one schema.
const CHILD: [(&str, &str); 3] =
    [("items", "items"), ("additionalProperties", "additionalProperties"), ("not", "not")];
/// Keywords that hold several.
const CHILDREN: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords without a meaning for admission of new objects.
const IGNORED: [&str; 3] = ["description", "x-kubernetes-map-type", "title"];

/// Adds all kinds that come from CRDs.
pub(crate) fn add_all(table: &mut Table) -> Result<()> {
    let folder = modules::GATEWAY_API.dir()?.join("config/crd/experimental");
    for name in GATEWAY_API.iter().chain(&["udproutes"]) {
        add(table, &folder.join(format!("gateway.networking.k8s.io_{name}.yaml")))?;
    }
    for name in GATEWAY_API_X {
        add(table, &folder.join(format!("gateway.networking.x-k8s.io_{name}.yaml")))?;
    }
    let folder = modules::ENVOY_GATEWAY.dir()?.join(ENVOY_GATEWAY_FOLDER);
    for name in ENVOY_GATEWAY {
        add(table, &folder.join(format!("gateway.envoyproxy.io_{name}.yaml")))?;
    }
    Ok(())
}

fn add(table: &mut Table, path: &std::path::Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    for document in serde_yaml::Deserializer::from_str(&text) {
        let crd = Value::deserialize(document).with_context(|| format!("parse {}", path.display()))?;
        if crd["kind"] == "CustomResourceDefinition" {
            add_crd(table, &crd["spec"]).with_context(|| format!("convert {}", path.display()))?;
        }
    }
    Ok(())
}

fn add_crd(table: &mut Table, spec: &Value) -> Result<()> {
    let mut versions = Vec::new();
    for version in spec["versions"].as_array().context("versions are missing")? {
        if version["served"] != true {
            continue;
        }
        let name = version["name"].as_str().context("a version has no name")?.to_owned();
        let deprecated = version["deprecated"] == true;
        versions.push((name, deprecated, root(table, &version["schema"]["openAPIV3Schema"])?));
    }
    let group = spec["group"].as_str().context("the group is missing")?;
    let kind = spec["names"]["kind"].as_str().context("the kind is missing")?;
    table.kind(group, kind, spec["scope"] == "Namespaced", &versions)
}

/// The root of a kind: its status is dropped when an object is created, and its metadata is Kubernetes' own.
fn root(table: &mut Table, schema: &Value) -> Result<usize> {
    let mut schema = schema.clone();
    let properties = schema["properties"].as_object_mut().context("the root has no properties")?;
    properties.remove("metadata");
    if properties.contains_key("status") {
        properties
            .insert("status".into(), json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    }
    let mut node = fields(table, &schema)?;
    let metadata = core_types::object_meta(table)?;
    node.entry("properties").or_insert_with(|| json!({}))["metadata"] = metadata.into();
    table.intern(&node)
}

fn node(table: &mut Table, schema: &Value) -> Result<usize> {
    let fields = fields(table, schema)?;
    table.intern(&fields)
}

fn fields(table: &mut Table, schema: &Value) -> Result<Map<String, Value>> {
    let mut node = Map::new();
    for (keyword, value) in schema.as_object().context("a schema is no object")? {
        if let Some((_, name)) = COPIED.iter().find(|(copied, _)| copied == keyword) {
            node.insert((*name).into(), value.clone());
        } else if let Some((_, name)) = CHILD.iter().find(|(child, _)| child == keyword) {
            node.insert((*name).into(), self::node(table, value)?.into());
        } else if CHILDREN.contains(&keyword.as_str()) {
            let schemas = value.as_array().context("a list of schemas is none")?;
            let numbers: Vec<usize> =
                schemas.iter().map(|schema| self::node(table, schema)).collect::<Result<_>>()?;
            node.insert(keyword.clone(), numbers.into());
        } else if keyword == "properties" {
            let mut properties = Map::new();
            for (name, schema) in value.as_object().context("properties are no object")? {
                properties.insert(name.clone(), self::node(table, schema)?.into());
            }
            node.insert("properties".into(), properties.into());
        } else if keyword == "x-kubernetes-validations" {
            node.insert("rules".into(), value.clone());
        } else {
            ensure!(IGNORED.contains(&keyword.as_str()), "keyword {keyword} is not known");
        }
    }
    Ok(node)
}
