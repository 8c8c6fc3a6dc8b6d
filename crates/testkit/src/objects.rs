//! Objects from YAML text or JSON, with the defaults that an API server would fill in.

use gatehouse_api::{Diagnostic, Object};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

/// A document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not YAML.
    #[error("read YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// It is not an object of its kind.
    #[error(transparent)]
    Object(#[from] gatehouse_api::DecodeError),
    /// It is not what the API server would take.
    #[error("admit: {0}")]
    Refused(String),
}

/// The documents of a YAML text, empty ones left out.
pub fn documents(text: &str) -> Result<Vec<Value>, ReadError> {
    let documents = serde_yaml::Deserializer::from_str(text).map(Value::deserialize);
    let documents: Result<Vec<_>, _> = documents.collect();
    Ok(documents?.into_iter().filter(|document| !document.is_null()).collect())
}

/// The objects of a text as the API server would admit them, of generation 1 where none is written.
pub fn admitted(text: &str) -> Result<Vec<Object>, ReadError> {
    let refuse = |found: &[Diagnostic]| ReadError::Refused(format!("{found:#?}"));
    let documents = gatehouse_api::source::parse(text).into_iter();
    documents
        .map(|document| {
            let mut object = gatehouse_api::admit(&document).map_err(|found| refuse(&found))?.object;
            let meta = object.meta_mut();
            meta.generation = meta.generation.max(1);
            Ok(object)
        })
        .collect()
}

/// An object with the few defaults that translation reads, without validation: what an older schema let through.
pub fn object(mut json: Value) -> Result<Object, ReadError> {
    fill_in(&mut json);
    Ok(Object::from_json(&json)?)
}

/// An object that is written in a test.
///
/// # Panics
///
/// When it is not an object of its kind: then the test is wrong.
pub fn written(json: Value) -> Object {
    object(json).expect("a test writes objects of their kind")
}

fn fill_in(object: &mut Value) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let metadata = &mut object["metadata"];
    put(metadata, "generation", json!(1));
    if !matches!(kind.as_str(), "GatewayClass" | "Namespace") {
        put(metadata, "namespace", json!("default"));
    }
    let spec = &mut object["spec"];
    match kind.as_str() {
        "Gateway" => each(spec, "listeners", listener),
        "ListenerSet" => {
            put(&mut spec["parentRef"], "group", json!("gateway.networking.k8s.io"));
            put(&mut spec["parentRef"], "kind", json!("Gateway"));
            each(spec, "listeners", listener);
        }
        "HTTPRoute" => {
            each(spec, "parentRefs", |parent| {
                put(parent, "group", json!("gateway.networking.k8s.io"));
                put(parent, "kind", json!("Gateway"));
            });
            put(spec, "rules", json!([{}]));
            each(spec, "rules", rule);
        }
        "TLSRoute" | "TCPRoute" | "UDPRoute" => {
            each(spec, "parentRefs", |parent| {
                put(parent, "group", json!("gateway.networking.k8s.io"));
                put(parent, "kind", json!("Gateway"));
            });
            each(spec, "rules", backends);
        }
        "GRPCRoute" => {
            each(spec, "parentRefs", |parent| {
                put(parent, "group", json!("gateway.networking.k8s.io"));
                put(parent, "kind", json!("Gateway"));
            });
            each(spec, "rules", |rule| {
                each(rule, "matches", |matched| {
                    if matched.get("method").is_some() {
                        put(&mut matched["method"], "type", json!("Exact"));
                    }
                });
                backends(rule);
            });
        }
        _ => {}
    }
}

fn listener(listener: &mut Value) {
    put(listener, "allowedRoutes", json!({}));
    put(&mut listener["allowedRoutes"], "namespaces", json!({}));
    put(&mut listener["allowedRoutes"]["namespaces"], "from", json!("Same"));
    if listener.get("tls").is_some() {
        put(&mut listener["tls"], "mode", json!("Terminate"));
    }
}

fn rule(rule: &mut Value) {
    put(rule, "matches", json!([{}]));
    each(rule, "matches", |matched| {
        put(matched, "path", json!({}));
        put(&mut matched["path"], "type", json!("PathPrefix"));
        put(&mut matched["path"], "value", json!("/"));
    });
    backends(rule);
    if rule.get("retry").is_some() {
        put(&mut rule["retry"], "attempts", json!(1));
    }
}

fn backends(rule: &mut Value) {
    each(rule, "filters", filter);
    each(rule, "backendRefs", |backend| {
        put(backend, "group", json!(""));
        put(backend, "kind", json!("Service"));
        put(backend, "weight", json!(1));
        each(backend, "filters", filter);
    });
}

fn filter(filter: &mut Value) {
    if filter.get("requestRedirect").is_some() {
        put(&mut filter["requestRedirect"], "statusCode", json!(302));
    }
    if filter.get("cors").is_some() {
        put(&mut filter["cors"], "maxAge", json!(5));
    }
}

/// Sets a field that is not there.
fn put(object: &mut Value, field: &str, value: Value) {
    if object.is_null() {
        *object = Value::Object(Map::new());
    }
    if let Value::Object(fields) = object {
        fields.entry(field).or_insert(value);
    }
}

fn each(object: &mut Value, list: &str, change: impl FnMut(&mut Value)) {
    if let Some(Value::Array(items)) = object.get_mut(list) {
        items.iter_mut().for_each(change);
    }
}
