//! Kubernetes' own types to schema nodes, from the schema that client-go carries for server-side apply. It knows
//! fields, types, list keys and a few defaults; further rules are written by hand in the `api` crate.

use std::{fs, sync::OnceLock};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::{modules, table::Table};

const FILE: &str = "applyconfigurations/internal/internal.go";

/// Group, versions, kind, scope and type name. All versions of a kind have the same fields.
const KINDS: [(&str, &[&str], &str, bool, &str); 6] = [
    (
        "certificates.k8s.io",
        &["v1", "v1beta1"],
        "ClusterTrustBundle",
        false,
        "io.k8s.api.certificates.v1beta1.ClusterTrustBundle",
    ),
    ("", &["v1"], "ConfigMap", true, "io.k8s.api.core.v1.ConfigMap"),
    ("discovery.k8s.io", &["v1"], "EndpointSlice", true, "io.k8s.api.discovery.v1.EndpointSlice"),
    ("", &["v1"], "Namespace", false, "io.k8s.api.core.v1.Namespace"),
    ("", &["v1"], "Secret", true, "io.k8s.api.core.v1.Secret"),
    ("", &["v1"], "Service", true, "io.k8s.api.core.v1.Service"),
];

/// Adds all kinds that are Kubernetes' own.
pub(crate) fn add_all(table: &mut Table) -> Result<()> {
    for (group, versions, kind, namespaced, name) in KINDS {
        let root = named(table, name).with_context(|| format!("convert {name}"))?;
        let versions: Vec<_> = versions.iter().map(|version| ((*version).to_owned(), false, root)).collect();
        table.kind(group, kind, namespaced, &versions)?;
    }
    Ok(())
}

/// The metadata of every kind.
pub(crate) fn object_meta(table: &mut Table) -> Result<usize> {
    named(table, "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
}

/// The schema, as a list of named types.
fn types() -> Result<&'static Vec<Value>> {
    static TYPES: OnceLock<Vec<Value>> = OnceLock::new();
    if let Some(types) = TYPES.get() {
        return Ok(types);
    }
    let path = modules::CLIENT_GO.dir()?.join(FILE);
    let source = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let yaml = source.split('`').nth(1).context("the file holds no raw string")?;
    let mut schema: Value = serde_yaml::from_str(yaml).context("parse the schema that client-go carries")?;
    let Value::Array(types) = schema["types"].take() else { bail!("the schema has no types") };
    Ok(TYPES.get_or_init(|| types))
}

fn named(table: &mut Table, name: &str) -> Result<usize> {
    let definition = types()?.iter().find(|definition| definition["name"] == name);
    let definition = definition.with_context(|| format!("type {name} is missing"))?;
    let node = match name.rsplit('.').next() {
        Some("IntOrString") => json!({"intOrString": true}),
        Some("Time" | "MicroTime") => json!({"type": "string", "format": "date-time"}),
        Some("FieldsV1") => json!({"type": "object", "preserveUnknown": true}),
        _ => return atom(table, definition),
    };
    table.intern(node.as_object().context("the node is an object")?)
}

/// A type in place, or the name of one.
fn atom(table: &mut Table, definition: &Value) -> Result<usize> {
    if let Some(name) = definition["namedType"].as_str() {
        return named(table, name);
    }
    let mut node = Map::new();
    if let Some(scalar) = definition["scalar"].as_str() {
        let scalar = match scalar {
            "numeric" => "integer",
            "string" | "boolean" => scalar,
            other => bail!("scalar {other} is not known"),
        };
        node.insert("type".into(), scalar.into());
    } else if let Some(list) = definition["list"].as_object() {
        node.insert("type".into(), "array".into());
        node.insert("items".into(), atom(table, &list["elementType"])?.into());
        associative(list, &mut node);
    } else if let Some(fields) = definition["map"]["fields"].as_array() {
        node.insert("type".into(), "object".into());
        node.insert("properties".into(), properties(table, fields)?);
    } else {
        node.insert("type".into(), "object".into());
        node.insert("additionalProperties".into(), atom(table, &definition["map"]["elementType"])?.into());
    }
    table.intern(&node)
}

/// Keys by which server-side apply tells items apart. They need not be unique in an object that is created, but
/// where they are not the mistake is the user's; lists without keys are sets of scalars.
fn associative(list: &Map<String, Value>, node: &mut Map<String, Value>) {
    if list.get("elementRelationship").and_then(Value::as_str) != Some("associative") {
        return;
    }
    match list.get("keys") {
        Some(keys) => {
            node.insert("listType".into(), "map".into());
            node.insert("listMapKeys".into(), keys.clone());
        }
        None => {
            node.insert("listType".into(), "set".into());
        }
    }
}

fn properties(table: &mut Table, fields: &[Value]) -> Result<Value> {
    let mut properties = Map::new();
    for field in fields {
        let name = field["name"].as_str().context("a field has no name")?;
        // What is read-only and deep is kept without looking inside.
        let number = if matches!(name, "status" | "managedFields") {
            let node = json!({"preserveUnknown": true});
            table.intern(node.as_object().context("the node is an object")?)?
        } else {
            field_node(table, field).with_context(|| format!("field {name}"))?
        };
        properties.insert(name.to_owned(), number.into());
    }
    Ok(properties.into())
}

fn field_node(table: &mut Table, field: &Value) -> Result<usize> {
    let definition = &field["type"];
    let default = &field["default"];
    // Empty defaults stand for Go's zero values, which need no writing down.
    let meaningful = default.as_str().is_some_and(|text| !text.is_empty());
    match definition["scalar"].as_str() {
        Some("string") if meaningful => {
            let node = json!({"type": "string", "default": default});
            table.intern(node.as_object().context("the node is an object")?)
        }
        _ => atom(table, definition),
    }
}
