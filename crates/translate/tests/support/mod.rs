//! What a client of a world holds: outputs added up, and the rules that they must keep at every moment.

// Every test binary takes what it needs.
#![allow(dead_code)]

pub(crate) mod proxies;
pub(crate) mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatehouse_api::ObjectRef;
use gatehouse_model::{FleetKey, ResourceType};
use gatehouse_translate::{FleetPlan, Outputs, Resource, Watch, WatchKey};
use serde_json::Value;

/// Kind and name of a resource.
pub(crate) type Name = (ResourceType, Arc<str>);

/// What one fleet holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fleet {
    pub(crate) resources: BTreeMap<Name, Resource>,
    /// How often a resource says that it names a cluster; zero is not kept.
    pub(crate) edges: BTreeMap<(Name, Arc<str>), i64>,
    pub(crate) watches: BTreeMap<WatchKey, Watch>,
}

/// Everything that outputs added up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Picture {
    pub(crate) fleets: BTreeMap<FleetKey, Fleet>,
    pub(crate) statuses: BTreeMap<ObjectRef, Value>,
    /// With proxies in pods; `None` leaves alone what stands.
    pub(crate) plans: BTreeMap<FleetKey, Option<Arc<FleetPlan>>>,
}

impl Picture {
    /// Adds the outputs of a settle.
    pub(crate) fn absorb(&mut self, outputs: Outputs) {
        for fleet in &outputs.removed_fleets {
            assert!(self.fleets.remove(fleet).is_some(), "{fleet}: removed and never there");
            assert!(!outputs.fleets.contains_key(fleet), "{fleet}: removed and changed at once");
            self.plans.remove(fleet);
        }
        self.plans.extend(outputs.plans);
        for (key, change) in outputs.fleets {
            let fleet = self.fleets.entry(key).or_default();
            for name in change.removals {
                fleet.resources.remove(&name);
            }
            for mut resource in change.upserts {
                // It depends on what was before; nothing that is held does.
                resource.interim = None;
                fleet.resources.insert((resource.kind, resource.name.clone()), resource);
            }
            for edge in change.edges {
                let key = (edge.from, edge.cluster);
                let count = fleet.edges.entry(key.clone()).or_default();
                *count += i64::from(edge.delta);
                if *count == 0 {
                    fleet.edges.remove(&key);
                }
            }
            for (key, watch) in change.watches {
                match watch {
                    Some(watch) => drop(fleet.watches.insert(key, watch)),
                    None => drop(fleet.watches.remove(&key)),
                }
            }
        }
        for change in outputs.statuses {
            match change.json() {
                Some(status) => drop(self.statuses.insert(change.object, status)),
                None => drop(self.statuses.remove(&change.object)),
            }
        }
    }

    /// Everything that is wrong with the references among the resources; empty when nothing is.
    pub(crate) fn dangling(&self) -> Vec<String> {
        self.fleets.iter().flat_map(|(key, fleet)| fleet.dangling(key)).collect()
    }
}

impl Fleet {
    fn has(&self, kind: ResourceType, name: &str) -> bool {
        self.resources.contains_key(&(kind, name.into()))
    }

    fn dangling(&self, key: &FleetKey) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut named: BTreeSet<(Name, Arc<str>)> = BTreeSet::new();
        for (name, resource) in &self.resources {
            let json = decode(resource);
            let mut refer = |kind: ResourceType, target: &str| {
                if !self.has(kind, target) {
                    wrong.push(format!("{key}: {name:?} names {kind:?} {target}, which is not there"));
                }
            };
            match resource.kind {
                ResourceType::VirtualHost => {
                    for cluster in clusters_of(&json) {
                        refer(ResourceType::Cluster, &cluster);
                        named.insert((name.clone(), cluster.into()));
                    }
                    let table = resource.name.rsplit_once('/').map_or("", |(table, _)| table);
                    refer(ResourceType::RouteConfiguration, table);
                }
                ResourceType::Listener => {
                    for cluster in clusters_of(&json) {
                        refer(ResourceType::Cluster, &cluster);
                        named.insert((name.clone(), cluster.into()));
                    }
                    for table in strings_at(&json, "route_config_name") {
                        refer(ResourceType::RouteConfiguration, &table);
                    }
                    for secret in secrets_of(&json) {
                        refer(ResourceType::Secret, &secret);
                    }
                }
                ResourceType::Cluster => {
                    if json["type"] == "EDS" {
                        refer(ResourceType::Endpoint, &resource.name);
                    }
                    for secret in secrets_of(&json) {
                        refer(ResourceType::Secret, &secret);
                    }
                }
                ResourceType::Endpoint => refer(ResourceType::Cluster, &resource.name),
                ResourceType::RouteConfiguration => {
                    let prefix = format!("{}/", resource.name);
                    let hosts = self.resources.keys().filter(|(kind, host)| {
                        *kind == ResourceType::VirtualHost && host.starts_with(&prefix)
                    });
                    if hosts.count() == 0 {
                        wrong.push(format!("{key}: table {} has no virtual host", resource.name));
                    }
                }
                ResourceType::Secret => {}
            }
        }
        let counted: BTreeSet<_> = self.edges.keys().cloned().collect();
        for edge in named.symmetric_difference(&counted) {
            wrong.push(format!("{key}: edges and bytes differ in {edge:?}"));
        }
        wrong.extend(self.edges.iter().filter(|(_, n)| **n < 0).map(|edge| format!("{key}: {edge:?}")));
        for watch in self.watches.values() {
            for (kind, name, version) in &watch.needs {
                let held = self.resources.get(&(*kind, name.clone()));
                if held.is_none_or(|resource| resource.version != *version) {
                    wrong.push(format!("{key}: watch needs {kind:?} {name} {version}"));
                }
            }
        }
        wrong
    }
}

/// A resource as readable JSON.
pub(crate) fn decode(resource: &Resource) -> Value {
    gatehouse_envoy::json::decode(resource.kind.type_url(), &resource.body).expect("what we encode decodes")
}

/// Clusters that a virtual host or a listener names.
fn clusters_of(json: &Value) -> BTreeSet<String> {
    // The second is how a gRPC service is named.
    let mut found: BTreeSet<String> =
        ["cluster", "cluster_name"].iter().flat_map(|field| strings_at(json, field)).collect();
    visit(json, &mut |key, value| {
        if key == "weighted_clusters" {
            let clusters = value["clusters"].as_array().into_iter().flatten();
            found.extend(clusters.filter_map(|c| Some(c["name"].as_str()?.to_owned())));
        }
    });
    found
}

fn secrets_of(json: &Value) -> Vec<String> {
    let mut found = Vec::new();
    visit(json, &mut |key, value| {
        if key == "tls_certificate_sds_secret_configs" {
            let configs = value.as_array().into_iter().flatten();
            found.extend(configs.filter_map(|c| Some(c["name"].as_str()?.to_owned())));
        }
        if key == "validation_context_sds_secret_config" {
            found.extend(value["name"].as_str().map(str::to_owned));
        }
    });
    found
}

pub(crate) fn strings_at(json: &Value, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    visit(json, &mut |key, value| {
        if key == name {
            found.extend(value.as_str().map(str::to_owned));
        }
    });
    found
}

fn visit(json: &Value, look: &mut impl FnMut(&str, &Value)) {
    match json {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            look(key, value);
            visit(value, look);
        }),
        Value::Array(items) => items.iter().for_each(|item| visit(item, look)),
        _ => {}
    }
}

/// The files of all golden cases, sorted.
pub(crate) fn cases() -> Vec<PathBuf> {
    case_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"))
}

fn case_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of cases").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(case_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    files
}
