//! The status document: every Gateway API object with its status, as `kubectl get -o json` would show them.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_api::{Object, ObjectRef};
use gatehouse_kube::status::transition_time;
use gatehouse_standalone::intake::ObjectChange;
use gatehouse_translate::{StatusChange, Texts};
use jiff::Timestamp;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// One object with its status: there may be tens of thousands, and they are rarely looked at. The object is shared with the
/// intake, the status with the objects that have the same.
#[derive(Clone, Debug)]
struct Entry {
    object: Object,
    api_version: &'static str,
    /// Its creation, where nobody wrote one.
    first_seen: Timestamp,
    /// JSON.
    status: Arc<str>,
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let meta = self.object.meta();
        let status: &RawValue = serde_json::from_str(&self.status).map_err(S::Error::custom)?;
        let row = Row {
            api_version: self.api_version,
            kind: self.object.group_kind().1,
            metadata: EntryMeta {
                name: meta.name.clone(),
                namespace: meta.namespace().to_owned(),
                generation: meta.generation,
                creation_timestamp: meta.creation_timestamp.clone().unwrap_or_else(|| time(self.first_seen)),
            },
            spec: columns(&self.object),
            status,
        };
        row.serialize(serializer)
    }
}

/// An [`Entry`] as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    api_version: &'static str,
    kind: &'a str,
    metadata: EntryMeta,
    /// The parts of the spec that columns show.
    spec: Value,
    status: &'a RawValue,
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
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// By kind, namespace and name.
    entries: BTreeMap<Arc<ObjectRef>, Arc<Entry>>,
    statuses: Texts,
}

impl Document {
    /// Follows an object of a kind that has a status.
    pub(crate) fn object(&mut self, change: &ObjectChange, now: Timestamp) {
        match change {
            ObjectChange::Remove(key) => {
                self.entries.remove(key);
            }
            ObjectChange::Upsert(key, object) => {
                if let Some(api_version) = api_version(object) {
                    self.upsert(key, object, api_version, now);
                }
            }
        }
    }

    fn upsert(&mut self, key: &Arc<ObjectRef>, object: &Object, api_version: &'static str, now: Timestamp) {
        let old = self.entries.get(key);
        let entry = Entry {
            object: object.clone(),
            api_version,
            first_seen: old.map_or(now, |entry| entry.first_seen),
            status: old.map_or_else(|| self.statuses.share("null"), |entry| entry.status.clone()),
        };
        self.entries.insert(key.clone(), Arc::new(entry));
    }

    /// Puts a status in; a condition that keeps its status keeps its transition time.
    pub(crate) fn status(&mut self, change: &StatusChange, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(&change.object) else { return };
        let mut status = change.json().unwrap_or_default();
        let old: Value = serde_json::from_str(&entry.status).unwrap_or_default();
        stamp(&mut status, &old, &time(now));
        Arc::make_mut(entry).status = self.statuses.share(&status.to_string());
    }

    pub(crate) fn page(&self) -> Page {
        Page { objects: self.entries.values().cloned().collect() }
    }
}

fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The version in which objects of a kind are shown; `None` for kinds without a status.
fn api_version(object: &Object) -> Option<&'static str> {
    match object {
        Object::GatewayClass(_)
        | Object::Gateway(_)
        | Object::ListenerSet(_)
        | Object::HTTPRoute(_)
        | Object::GRPCRoute(_)
        | Object::BackendTLSPolicy(_)
        | Object::TLSRoute(_)
        | Object::TCPRoute(_)
        | Object::UDPRoute(_) => Some("gateway.networking.k8s.io/v1"),
        Object::XTelemetryPolicy(_) => Some("gateway.networking.x-k8s.io/v1alpha1"),
        Object::Backend(_) | Object::ClientTrafficPolicy(_) => Some("gateway.envoyproxy.io/v1alpha1"),
        Object::XBackend(_) | Object::XBackendTrafficPolicy(_) => {
            Some("gateway.networking.x-k8s.io/v1alpha1")
        }
        _ => None,
    }
}

/// What the columns of a kind show.
fn columns(object: &Object) -> Value {
    match object {
        Object::GatewayClass(class) => json!({ "controllerName": class.spec.controller_name }),
        Object::Gateway(gateway) => json!({ "gatewayClassName": gateway.spec.gateway_class_name }),
        Object::ListenerSet(set) => json!({ "parentRef": set.spec.parent_ref }),
        Object::HTTPRoute(route) => {
            json!({ "hostnames": route.spec.hostnames, "parentRefs": route.spec.parent_refs })
        }
        Object::GRPCRoute(route) => {
            json!({ "hostnames": route.spec.hostnames, "parentRefs": route.spec.parent_refs })
        }
        Object::TLSRoute(route) => {
            json!({ "hostnames": route.spec.hostnames, "parentRefs": route.spec.parent_refs })
        }
        Object::TCPRoute(route) => json!({ "parentRefs": route.spec.parent_refs }),
        Object::UDPRoute(route) => json!({ "parentRefs": route.spec.parent_refs }),
        _ => json!({}),
    }
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
    let identity = |v: &Value| {
        (v["name"].clone(), v["parentRef"].clone(), v["ancestorRef"].clone(), v["controllerName"].clone())
    };
    identity(a) == identity(b)
}

fn stamp_conditions(new: &mut Value, old: &Value, now: &str) {
    for condition in new.as_array_mut().into_iter().flatten() {
        let before = old.as_array().into_iter().flatten().find(|other| other["type"] == condition["type"]);
        let since = transition_time(before.unwrap_or(&Value::Null), condition, now).to_owned();
        condition["lastTransitionTime"] = since.into();
    }
}

#[cfg(test)]
mod tests;
