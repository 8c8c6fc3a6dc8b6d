//! Metadata of objects, and what patches may not change.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Context, Kind, owned_by_gateway};
use crate::names;

/// What stands around the content of every object.
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    identity: BTreeMap<String, String>,
    ours: BTreeMap<String, String>,
    owner: Option<Value>,
}

/// Parts of workloads and budgets that tie pods to their fleet.
const TIES: [&str; 3] = ["/spec/selector", "/spec/scaleTargetRef", "/spec/template/spec/serviceAccountName"];

impl Frame {
    pub(super) fn new(context: &Context<'_>, kind: Kind, name: Option<&str>) -> Self {
        let plan = context.plan;
        let owner = owned_by_gateway(context).then(|| {
            json!([{
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "name": *plan.fleet.0.name,
                "uid": *plan.gateway_uid,
                "controller": true,
            }])
        });
        Self {
            kind,
            namespace: names::namespace(&plan.fleet, context.settings).to_owned(),
            name: name.unwrap_or(&context.name).to_owned(),
            labels: plan.labels.clone(),
            annotations: plan.annotations.clone(),
            identity: names::identity(plan),
            ours: names::labels(plan, context.settings),
            owner,
        }
    }

    /// Adds labels of the user's.
    pub(super) fn labels(mut self, labels: Option<&BTreeMap<String, String>>) -> Self {
        self.labels.extend(labels.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        self
    }

    /// Adds annotations of the user's.
    pub(super) fn annotations(mut self, annotations: Option<&BTreeMap<String, String>>) -> Self {
        self.annotations
            .extend(annotations.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        self
    }

    /// The object with this content.
    pub(super) fn around(&self, body: Value) -> Value {
        let mut object = match body {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        object.insert("metadata".to_owned(), json!({"labels": self.labels, "annotations": self.annotations}));
        let mut object = Value::Object(object);
        self.fix(&mut object);
        object
    }

    /// A patched object with everything put back that holds a fleet together.
    pub(super) fn restored(&self, mut object: Value, before: &Value) -> Value {
        self.fix(&mut object);
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        for tie in TIES {
            let Some(value) = before.pointer(tie) else { continue };
            put(&mut object, tie, value.clone());
        }
        if before.pointer("/spec/template").is_some() {
            put_all(&mut object, "/spec/template/metadata/labels", &self.ours);
        }
        object
    }

    fn fix(&self, object: &mut Value) {
        put(object, "/apiVersion", self.kind.api_version().into());
        put(object, "/kind", self.kind.as_str().into());
        put(object, "/metadata/namespace", (*self.namespace).into());
        put(object, "/metadata/name", (*self.name).into());
        put_all(object, "/metadata/labels", &self.ours);
        put_all(object, "/metadata/annotations", &self.identity);
        match &self.owner {
            Some(owner) => put(object, "/metadata/ownerReferences", owner.clone()),
            None => {
                if let Some(Value::Object(meta)) = object.get_mut("metadata") {
                    meta.remove("ownerReferences");
                }
            }
        }
    }
}

fn put_all(object: &mut Value, at: &str, pairs: &BTreeMap<String, String>) {
    let mut all = match object.pointer_mut(at).map(Value::take) {
        Some(Value::Object(all)) => all,
        _ => Map::new(),
    };
    all.extend(pairs.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
    put(object, at, Value::Object(all));
}

/// Sets the value of a pointer whose names need no escapes; objects on the way are made.
fn put(object: &mut Value, at: &str, value: Value) {
    let mut here = object;
    for name in at.split('/').skip(1) {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        let Value::Object(fields) = here else { return };
        here = fields.entry(name).or_insert(Value::Null);
    }
    *here = value;
}
