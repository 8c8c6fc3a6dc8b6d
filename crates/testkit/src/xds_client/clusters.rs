//! Clusters: active, warming, and what they wait for.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::service::discovery::v3::Resource;

use super::{Client, Kind, Reading};

#[derive(Debug, Default)]
struct Cluster {
    /// The version in use.
    active: Option<Reading>,
    /// The endpoints of the version in use were refused or removed: it serves 503.
    hollow: bool,
    warming: Option<Warming>,
}

#[derive(Debug)]
struct Warming {
    reading: Reading,
    /// It waits for endpoints, then for secrets.
    endpoints: bool,
    hollow: bool,
    secrets: BTreeSet<String>,
}

/// All clusters of a client.
#[derive(Debug, Default)]
pub(super) struct Clusters(BTreeMap<String, Cluster>);

impl Clusters {
    pub(super) fn warming(&self) -> Vec<String> {
        let warming = self.0.iter().filter(|(_, cluster)| cluster.warming.is_some());
        warming.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn usable(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|cluster| cluster.active.is_some() && !cluster.hollow)
    }

    /// Secrets of active clusters, and of those that got as far as to need them.
    pub(super) fn secrets(&self) -> BTreeSet<String> {
        let active = self.0.values().filter_map(|cluster| cluster.active.as_ref());
        let warming = self.0.values().filter_map(|cluster| cluster.warming.as_ref()).filter(|w| !w.endpoints);
        active
            .chain(warming.map(|warming| &warming.reading))
            .flat_map(|reading| reading.secrets.clone())
            .collect()
    }

    pub(super) fn secret(&mut self, name: &str) {
        for cluster in self.0.values_mut() {
            if let Some(warming) = &mut cluster.warming {
                warming.secrets.remove(name);
            }
            cluster.finish();
        }
    }

    /// Endpoints came, or are known not to come.
    fn endpoints(&mut self, name: &str, hollow: bool) {
        let Some(cluster) = self.0.get_mut(name) else { return };
        match &mut cluster.warming {
            Some(warming) => {
                let hollow = hollow && warming.reading.eds;
                warming.endpoints = false;
                warming.hollow = hollow;
            }
            None => cluster.hollow = hollow && cluster.active.as_ref().is_some_and(|reading| reading.eds),
        }
        cluster.finish();
    }
}

impl Cluster {
    fn finish(&mut self) {
        if let Some(warming) = self.warming.take_if(|w| !w.endpoints && w.secrets.is_empty()) {
            self.active = Some(warming.reading);
            self.hollow = warming.hollow;
        }
    }
}

impl Client {
    pub(super) fn receive_clusters(
        &mut self,
        read: &[(&Resource, Reading)],
        removed: &[String],
    ) -> Result<(), String> {
        for (resource, reading) in read.iter().filter(|(_, reading)| !reading.bad) {
            self.add_cluster(&resource.name, reading);
        }
        for name in removed {
            if self.clusters.0.remove(name).is_some() {
                self.unsubscribe(Kind::Eds, name);
                self.check_removal(name);
            }
        }
        self.follow_secrets();
        let bad = read.iter().find(|(_, reading)| reading.bad);
        bad.map_or(Ok(()), |(resource, _)| {
            Err(format!("Error adding/updating cluster(s) {}: bad", resource.name))
        })
    }

    fn add_cluster(&mut self, name: &str, reading: &Reading) {
        let cluster = self.clusters.0.entry(name.to_owned()).or_default();
        let newest = cluster.warming.as_ref().map(|warming| &warming.reading).or(cluster.active.as_ref());
        if newest == Some(reading) {
            return;
        }
        let secrets = reading.secrets.difference(&self.secrets).cloned().collect();
        let endpoints = reading.eds;
        cluster.warming = Some(Warming { reading: reading.clone(), endpoints, hollow: false, secrets });
        cluster.finish();
        if reading.eds {
            // No request if it is subscribed already: a changed cluster waits in silence.
            self.subscribe(Kind::Eds, name);
        } else {
            self.unsubscribe(Kind::Eds, name);
        }
    }

    pub(super) fn receive_endpoints(
        &mut self,
        read: &[(&Resource, Reading)],
        removed: &[String],
    ) -> Result<(), String> {
        let bad = read.iter().any(|(_, reading)| reading.bad);
        for (resource, _) in read {
            // A refused response ends the warming of all its clusters, with no hosts.
            let warming =
                self.clusters.0.get(&resource.name).is_some_and(|cluster| cluster.warming.is_some());
            if !bad || warming {
                self.clusters.endpoints(&resource.name, bad);
            }
        }
        for name in removed {
            self.clusters.endpoints(name, true);
        }
        self.follow_secrets();
        if bad { Err("malformed IP address: not-an-ip".to_owned()) } else { Ok(()) }
    }
}
