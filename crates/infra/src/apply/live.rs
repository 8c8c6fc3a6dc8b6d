//! What is live of ours, as the watches tell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use gatehouse_model::{FleetKey, NamespacedName};
use serde_json::{Value, json};

use super::client::MANAGER;
use crate::names::{CONTROLLER_LABEL, GATEWAY_ANNOTATION};
use crate::objects::Kind;

/// A kind that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watched {
    /// An object that we make.
    Object(Kind),
    /// A proxy's pod.
    Pod,
}

impl Watched {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Kind::ALL.into_iter().map(Self::Object).chain([Self::Pod])
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Object(kind) => kind.plural(),
            Self::Pod => "pods",
        }
    }

    pub(super) fn group_version(self) -> (&'static str, &'static str) {
        match self {
            Self::Object(kind) => (kind.group(), kind.version()),
            Self::Pod => ("", "v1"),
        }
    }
}

/// An object by kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) watched: Watched,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.watched {
            Watched::Object(kind) => kind.as_str(),
            Watched::Pod => "Pod",
        };
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

/// A live object, without what nobody here reads.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) uid: String,
    /// The Gateway that its annotation names.
    pub(super) fleet: Option<FleetKey>,
    /// Our label on it.
    pub(super) controller: String,
    pub(super) deleting: bool,
    pub(super) body: Arc<Value>,
    pub(super) replicas: Replicas,
    version: u64,
}

/// Who owns `spec.replicas`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Replicas {
    /// We applied it.
    pub(super) ours: bool,
    /// An autoscaler set it.
    pub(super) scaled: bool,
}

impl Live {
    pub(super) fn new(watched: Watched, object: Value) -> Self {
        let meta = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let gateway = meta["annotations"][GATEWAY_ANNOTATION].as_str();
        Self {
            uid: text(&meta["uid"]),
            fleet: gateway
                .and_then(|gateway| gateway.split_once('/'))
                .map(|(namespace, name)| FleetKey(NamespacedName::new(namespace, name))),
            controller: text(&meta["labels"][CONTROLLER_LABEL]),
            deleting: !meta["deletionTimestamp"].is_null(),
            version: meta["resourceVersion"]
                .as_str()
                .and_then(|version| version.parse().ok())
                .unwrap_or_default(),
            replicas: replicas(meta),
            body: Arc::new(if watched == Watched::Pod { trimmed_pod(&object) } else { trimmed(object) }),
        }
    }
}

fn trimmed(mut object: Value) -> Value {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
    object
}

fn trimmed_pod(pod: &Value) -> Value {
    let status = &pod["status"];
    let parts =
        ["containerStatuses", "initContainerStatuses", "conditions", "reason", "message", "hostIP", "phase"];
    let parts: serde_json::Map<String, Value> =
        parts.iter().map(|part| ((*part).to_owned(), status[*part].clone())).collect();
    json!({"metadata": {"name": pod["metadata"]["name"]}, "status": parts})
}

fn replicas(meta: &Value) -> Replicas {
    let mut found = Replicas::default();
    for entry in meta["managedFields"].as_array().into_iter().flatten() {
        if entry.pointer("/fieldsV1/f:spec/f:replicas").is_none() {
            continue;
        }
        let manager = entry["manager"].as_str().unwrap_or_default();
        found.ours |= manager == MANAGER;
        // People scale by hand with kubectl; that is an edit like any other.
        found.scaled |= entry["subresource"] == "scale" && !manager.starts_with("kubectl");
    }
    found
}

/// All live objects of ours.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<Id, Live>,
    /// Ids by the fleet that their annotation names; kept true by `put` and `remove`.
    fleets: BTreeMap<FleetKey, BTreeSet<Id>>,
    /// Uids of objects that were seen to go, the last ones. The answer to a request of ours may come in after the end of what
    /// it made: nothing would ever remove that again.
    gone: VecDeque<String>,
}

/// Far more than go while one request is under way.
const GONE: usize = 1024;

impl Store {
    pub(super) fn get(&self, id: &Id) -> Option<&Live> {
        self.objects.get(id)
    }

    pub(super) fn fleets(&self) -> impl Iterator<Item = &FleetKey> {
        self.fleets.keys()
    }

    pub(super) fn of_fleet(&self, fleet: &FleetKey) -> impl Iterator<Item = (&Id, &Live)> {
        let ids = self.fleets.get(fleet).into_iter().flatten();
        ids.filter_map(|id| Some((id, self.objects.get(id)?)))
    }

    /// Takes an object in, unless a newer one is known: watches lag behind the answers to our own requests. Returns the
    /// fleets that it belongs or belonged to.
    pub(super) fn put(&mut self, id: Id, live: Live) -> Vec<FleetKey> {
        if self.objects.get(&id).is_some_and(|known| known.version > live.version)
            || self.gone.contains(&live.uid)
        {
            return Vec::new();
        }
        let mut touched = self.unlink(&id);
        if let Some(fleet) = &live.fleet {
            self.fleets.entry(fleet.clone()).or_default().insert(id.clone());
            touched.push(fleet.clone());
        }
        self.objects.insert(id, live);
        touched
    }

    /// Removes an object, whichever has the name if no uid is given.
    pub(super) fn remove(&mut self, id: &Id, uid: &str) -> Vec<FleetKey> {
        if !uid.is_empty() {
            self.gone.truncate(GONE - 1);
            self.gone.push_front(uid.to_owned());
        }
        if self.objects.get(id).is_some_and(|known| known.uid != uid && !uid.is_empty()) {
            return Vec::new();
        }
        let touched = self.unlink(id);
        self.objects.remove(id);
        touched
    }

    /// Removes what a list of a kind in a namespace (or everywhere) did not hold.
    pub(super) fn retain(
        &mut self,
        watched: Watched,
        namespace: Option<&str>,
        listed: &BTreeSet<Id>,
    ) -> Vec<FleetKey> {
        let gone = self.objects.keys().filter(|id| {
            id.watched == watched
                && namespace.is_none_or(|namespace| namespace == id.namespace)
                && !listed.contains(id)
        });
        let gone: Vec<Id> = gone.cloned().collect();
        gone.iter().flat_map(|id| self.remove(id, "")).collect()
    }

    fn unlink(&mut self, id: &Id) -> Vec<FleetKey> {
        let Some(fleet) = self.objects.get(id).and_then(|known| known.fleet.clone()) else {
            return Vec::new();
        };
        if let Some(ids) = self.fleets.get_mut(&fleet) {
            ids.remove(id);
            if ids.is_empty() {
                self.fleets.remove(&fleet);
            }
        }
        vec![fleet]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_does_not_bring_back_what_has_gone_meanwhile() {
        let id = Id {
            watched: Watched::Object(Kind::ConfigMap),
            namespace: "shop".to_owned(),
            name: "eg-eg".to_owned(),
        };
        let live = |uid: &str, version: &str| {
            let meta = json!({ "uid": uid, "resourceVersion": version });
            Live::new(id.watched, json!({ "metadata": meta }))
        };
        let mut store = Store::default();
        store.put(id.clone(), live("a", "1"));
        store.remove(&id, "a");
        store.put(id.clone(), live("a", "2"));
        assert!(store.get(&id).is_none(), "it went after it was applied");
        store.put(id.clone(), live("b", "3"));
        assert!(store.get(&id).is_some(), "another one of the name");
        // A list may be older than what it lacks.
        store.remove(&id, "");
        store.put(id.clone(), live("b", "3"));
        assert!(store.get(&id).is_some());
    }
}
