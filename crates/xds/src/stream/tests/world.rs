//! A small world of listeners, tables, virtual hosts and clusters, which makes commits as the translation would.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatehouse_model::{Body, Edge, Interim, ResourceType, Target};

use crate::resource::Resource;
use crate::table::Commit;

/// Bodies of words by type and name; what a body names exists.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// Extra words of each thing that is wanted.
    pub(super) listeners: BTreeMap<String, String>,
    /// Virtual hosts: table and identity to the clusters and extra words.
    pub(super) hosts: BTreeMap<(String, String), (BTreeSet<String>, String)>,
    /// Extra words of clusters and their endpoints; a cluster exists while something names it.
    pub(super) clusters: BTreeMap<String, String>,
    pub(super) endpoints: BTreeMap<String, String>,
    pub(super) secrets: BTreeMap<String, String>,
    committed: BTreeMap<(ResourceType, String), String>,
    /// Whether changed virtual hosts come with what may stand there meanwhile.
    interims: bool,
}

impl World {
    pub(super) fn with_interims(interims: bool) -> Self {
        Self { interims, ..Self::default() }
    }

    pub(super) fn host(&mut self, table: &str, id: &str, clusters: &[&str], extra: &str) {
        let clusters = clusters.iter().map(ToString::to_string).collect();
        self.hosts.insert((table.to_owned(), id.to_owned()), (clusters, extra.to_owned()));
    }

    pub(super) fn unhost(&mut self, table: &str, id: &str) {
        self.hosts.remove(&(table.to_owned(), id.to_owned()));
    }

    /// A listener `l<n>` with the table `r<n>`.
    pub(super) fn listener(&mut self, n: &str, extra: &str) {
        self.listeners.insert(format!("l{n}"), format!("route:r{n} {extra}"));
    }

    fn bodies(&self) -> BTreeMap<(ResourceType, String), String> {
        let mut bodies = BTreeMap::new();
        for (name, words) in &self.listeners {
            bodies.insert((ResourceType::Listener, name.clone()), words.clone());
            for table in named(words, "route:") {
                bodies.insert((ResourceType::RouteConfiguration, table.clone()), "vhds".to_owned());
                let default = format!("domain:* table:{table}");
                bodies.insert((ResourceType::VirtualHost, format!("{table}/default")), default);
            }
        }
        for ((table, id), (clusters, extra)) in &self.hosts {
            if bodies.contains_key(&(ResourceType::RouteConfiguration, table.clone())) {
                let names: Vec<String> = clusters.iter().map(|name| format!("names:{name}")).collect();
                let words = format!("{} {extra}", names.join(" "));
                bodies.insert((ResourceType::VirtualHost, format!("{table}/{id}")), words);
            }
        }
        let clusters: BTreeSet<String> = bodies.values().flat_map(|words| named(words, "names:")).collect();
        for name in clusters {
            let words = self.clusters.get(&name).cloned().unwrap_or_else(|| "eds".to_owned());
            if words.contains("eds") {
                let endpoints = self.endpoints.get(&name).cloned().unwrap_or_default();
                bodies.insert((ResourceType::Endpoint, name.clone()), endpoints);
            }
            bodies.insert((ResourceType::Cluster, name), words);
        }
        let secrets: BTreeSet<String> = bodies.values().flat_map(|words| named(words, "secret:")).collect();
        for name in secrets {
            let words = self.secrets.get(&name).cloned().unwrap_or_default();
            bodies.insert((ResourceType::Secret, name), words);
        }
        bodies
    }

    /// The difference to what was committed last.
    pub(super) fn commit(&mut self) -> Commit {
        let new = self.bodies();
        let old = std::mem::replace(&mut self.committed, new.clone());
        let mut commit = Commit::default();
        for (target, words) in &new {
            if old.get(target) != Some(words) {
                let mut changed = resource(&target.1, words);
                changed.interim = old.get(target).and_then(|old| self.interim(target, old, words));
                commit.upserts.push((target.0, changed));
            }
        }
        for target in old.keys().filter(|target| !new.contains_key(*target)) {
            commit.removals.push((target.0, target.1.as_str().into()));
        }
        let edges = |bodies: &BTreeMap<(ResourceType, String), String>| -> BTreeSet<(Target, String)> {
            let all = bodies.iter().flat_map(|((kind, name), words)| {
                named(words, "names:")
                    .into_iter()
                    .map(move |cluster| ((*kind, name.as_str().into()), cluster))
            });
            all.collect()
        };
        let (before, after) = (edges(&old), edges(&new));
        commit.edges.extend(before.difference(&after).map(|edge_| edge(edge_, -1)));
        commit.edges.extend(after.difference(&before).map(|edge_| edge(edge_, 1)));
        commit
    }

    /// Every change of a virtual host takes something away; what may stand there meanwhile names what the version before
    /// named, or nothing.
    fn interim(&self, (kind, _): &(ResourceType, String), old: &str, new: &str) -> Option<Arc<Interim>> {
        if !self.interims || *kind != ResourceType::VirtualHost {
            return None;
        }
        let (before, after) = (named(old, "names:"), named(new, "names:"));
        if after.iter().all(|cluster| before.contains(cluster)) {
            return Some(Arc::new(Interim::Whole));
        }
        let kept = if new.contains("v1") { &before[..] } else { &[] };
        let names: Vec<_> = kept.iter().map(|cluster| format!("names:{cluster}")).collect();
        let domains: Vec<_> = named(new, "domain:").iter().map(|domain| format!("domain:{domain}")).collect();
        Some(instead(&format!("{} {}", names.join(" "), domains.join(" "))))
    }

    /// Makes everything good again.
    pub(super) fn mend(&mut self) {
        let all = [&mut self.listeners, &mut self.clusters, &mut self.endpoints, &mut self.secrets];
        let words = all.into_iter().flat_map(BTreeMap::values_mut);
        for words in words.chain(self.hosts.values_mut().map(|(_, words)| words)) {
            *words = words.replace("bad", "mended");
        }
    }
}

/// Interim bytes of words.
pub(super) fn instead(words: &str) -> Arc<Interim> {
    let clusters = named(words, "names:").into_iter().map(Arc::from).collect();
    let Resource { version, body: bytes, .. } = resource("", words);
    Arc::new(Interim::Instead { body: Body { version, bytes }, clusters })
}

pub(super) fn resource(name: &str, words: &str) -> Resource {
    let version: Arc<str> = format!("v({words})").into();
    Resource::new(name, version, Bytes::copy_from_slice(words.as_bytes()))
}

fn edge((from, cluster): &(Target, String), delta: i32) -> Edge {
    let linger = Duration::from_secs(if cluster == "c1" { 40 } else { 15 });
    Edge { from: from.clone(), cluster: cluster.as_str().into(), delta, linger }
}

fn named(words: &str, prefix: &str) -> Vec<String> {
    words.split_whitespace().filter_map(|word| word.strip_prefix(prefix)).map(ToOwned::to_owned).collect()
}
