//! The status document: every Gateway API object with its status, as `kubectl get -o json` would show them.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_api::{Object, ObjectRef};
use gatehouse_standalone::intake::ObjectChange;
use gatehouse_translate::StatusChange;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// One object with its status, as text: there may be tens of thousands, and they are rarely looked at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    api_version: &'static str,
    kind: String,
    metadata: EntryMeta,
    /// The parts of the spec that columns show.
    spec: Box<RawValue>,
    status: Box<RawValue>,
}

/// One object with its status, to be looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) metadata: EntryMeta,
    pub(crate) spec: Value,
    pub(crate) status: Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EntryMeta {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) namespace: String,
    pub(crate) generation: i64,
    pub(crate) creation_timestamp: String,
}

/// The document as it is written to the file and over HTTP.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Page {
    objects: Vec<Arc<Entry>>,
}

/// The document as it is read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ShownPage {
    pub(crate) objects: Vec<Shown>,
}

impl Page {
    pub(crate) fn shown(&self) -> serde_json::Result<ShownPage> {
        serde_json::from_str(&serde_json::to_string(self)?)
    }
}

/// The document as it grows; entries are shared with those who print them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    /// By kind, namespace and name.
    entries: BTreeMap<ObjectRef, Arc<Entry>>,
}

impl Document {
    /// Follows an object of a kind that has a status.
    pub(crate) fn object(&mut self, change: &ObjectChange, now: Timestamp) {
        match change {
            ObjectChange::Remove(key) => {
                self.entries.remove(key);
            }
            ObjectChange::Upsert(object) => {
                if let Some((api_version, spec)) = columns(object) {
                    self.upsert(object, api_version, &spec, now);
                }
            }
        }
    }

    fn upsert(&mut self, object: &Object, api_version: &'static str, spec: &Value, now: Timestamp) {
        let key = object.key();
        let old = self.entries.get(&key);
        let meta = object.meta();
        let created = meta
            .creation_timestamp
            .clone()
            .or_else(|| old.map(|entry| entry.metadata.creation_timestamp.clone()))
            .unwrap_or_else(|| time(now));
        let entry = Entry {
            api_version,
            kind: key.kind.clone(),
            metadata: EntryMeta {
                name: key.name.clone(),
                namespace: key.namespace.clone(),
                generation: meta.generation,
                creation_timestamp: created,
            },
            spec: raw(spec),
            status: old.map_or_else(|| raw(&Value::Null), |entry| entry.status.clone()),
        };
        self.entries.insert(key, Arc::new(entry));
    }

    /// Puts a status in; a condition that keeps its status keeps its transition time.
    pub(crate) fn status(&mut self, change: &StatusChange, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(&change.object) else { return };
        let entry = Arc::make_mut(entry);
        let mut status = change.json().unwrap_or_default();
        let old: Value = serde_json::from_str(entry.status.get()).unwrap_or_default();
        stamp(&mut status, &old, &time(now));
        entry.status = raw(&status);
    }

    pub(crate) fn page(&self) -> Page {
        Page { objects: self.entries.values().cloned().collect() }
    }
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("a JSON value has string keys and serialises")
}

fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What the columns of a kind show; `None` for kinds without a status.
fn columns(object: &Object) -> Option<(&'static str, Value)> {
    const GATEWAY: &str = "gateway.networking.k8s.io/v1";
    Some(match object {
        Object::GatewayClass(class) => (GATEWAY, json!({ "controllerName": class.spec.controller_name })),
        Object::Gateway(gateway) => (GATEWAY, json!({ "gatewayClassName": gateway.spec.gateway_class_name })),
        Object::ListenerSet(set) => (GATEWAY, json!({ "parentRef": set.spec.parent_ref })),
        Object::HTTPRoute(route) => {
            (GATEWAY, json!({ "hostnames": route.spec.hostnames, "parentRefs": route.spec.parent_refs }))
        }
        Object::Backend(_) => ("gateway.envoyproxy.io/v1alpha1", json!({})),
        _ => return None,
    })
}

/// Gives every condition in `new` its time: the old one's where the condition at the same place has the same status.
fn stamp(new: &mut Value, old: &Value, now: &str) {
    match new {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                if name == "conditions" {
                    stamp_conditions(value, &old["conditions"], now);
                } else {
                    stamp(value, &old[name], now);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let same = old.as_array().and_then(|old| old.iter().find(|other| same_entry(item, other)));
                let same = same.cloned().unwrap_or_default();
                stamp(item, &same, now);
            }
        }
        _ => {}
    }
}

/// Whether two entries of a list speak of the same listener or parent.
fn same_entry(a: &Value, b: &Value) -> bool {
    let identity = |v: &Value| (v["name"].clone(), v["parentRef"].clone(), v["controllerName"].clone());
    identity(a) == identity(b)
}

fn stamp_conditions(new: &mut Value, old: &Value, now: &str) {
    for condition in new.as_array_mut().into_iter().flatten() {
        let before = old
            .as_array()
            .into_iter()
            .flatten()
            .find(|other| other["type"] == condition["type"] && other["status"] == condition["status"]);
        let since = before.map_or_else(|| now.into(), |other| other["lastTransitionTime"].clone());
        condition["lastTransitionTime"] = since;
    }
}

#[cfg(test)]
mod tests;
