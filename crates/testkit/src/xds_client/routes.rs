//! Route configurations and the virtual hosts that found a place in them.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::service::discovery::v3::Resource;

use super::{Client, Kind, Reading};

/// Route configurations with their virtual hosts.
#[derive(Debug, Default)]
pub(super) struct Routes(BTreeMap<String, Table>);

#[derive(Clone, Debug, Default)]
struct Table {
    reading: Reading,
    hosts: BTreeMap<String, Reading>,
}

impl Routes {
    pub(super) fn drop_table(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(super) fn serves(&self, virtual_host: &str) -> bool {
        let table = virtual_host.rsplit_once('/').and_then(|(table, _)| self.0.get(table));
        table.is_some_and(|table| table.hosts.contains_key(virtual_host))
    }

    /// Everything that names a cluster now.
    pub(super) fn naming(&self, cluster: &str) -> Vec<(Kind, String)> {
        let routes = self.0.iter().filter(|(_, table)| table.reading.clusters.contains(cluster));
        let hosts = self.0.values().flat_map(|table| &table.hosts);
        let hosts = hosts.filter(|(_, reading)| reading.clusters.contains(cluster));
        let routes = routes.map(|(name, _)| (Kind::Rds, name.clone()));
        routes.chain(hosts.map(|(name, _)| (Kind::Vhds, name.clone()))).collect()
    }

    fn hosts(&mut self, virtual_host: &str) -> Option<&mut BTreeMap<String, Reading>> {
        self.0.get_mut(virtual_host.rsplit_once('/')?.0).map(|table| &mut table.hosts)
    }

    /// A domain that two virtual hosts of one table would have.
    fn conflict(&self, read: &[(&Resource, Reading)], removed: &[String]) -> Option<String> {
        let mut tables = self.0.clone();
        for name in removed {
            for table in tables.values_mut() {
                table.hosts.remove(name);
            }
        }
        for (resource, reading) in read {
            let table = resource.name.rsplit_once('/').and_then(|(table, _)| tables.get_mut(table));
            if let Some(table) = table {
                table.hosts.insert(resource.name.clone(), reading.clone());
            }
        }
        tables.values().find_map(|table| {
            let mut seen = BTreeSet::new();
            table
                .hosts
                .values()
                .flat_map(|reading| &reading.domains)
                .find(|domain| !seen.insert(*domain))
                .cloned()
        })
    }
}

impl Client {
    pub(super) fn receive_routes(&mut self, read: &[(&Resource, Reading)]) -> Result<(), String> {
        if read.iter().any(|(_, reading)| reading.bad) {
            return Err("missing ): ((".to_owned());
        }
        for (resource, reading) in read {
            if !self.known[&Kind::Rds].subscribed.contains(&resource.name) {
                continue;
            }
            self.check(Kind::Rds, &resource.name, reading);
            self.routes.0.entry(resource.name.clone()).or_default().reading = reading.clone();
            if reading.vhds && !self.known[&Kind::Vhds].asked {
                self.ask(Kind::Vhds);
            }
        }
        Ok(())
    }

    pub(super) fn receive_virtual_hosts(
        &mut self,
        read: &[(&Resource, Reading)],
        removed: &[String],
    ) -> Result<(), String> {
        if read.iter().any(|(_, reading)| reading.bad) {
            return Err("missing ): ((".to_owned());
        }
        if let Some(domain) = self.routes.conflict(read, removed) {
            return Err(format!(
                "Only unique values for domains are permitted. Duplicate entry of domain {domain}"
            ));
        }
        for (resource, reading) in read {
            self.check(Kind::Vhds, &resource.name, reading);
            if let Some(hosts) = self.routes.hosts(&resource.name) {
                hosts.insert(resource.name.clone(), reading.clone());
            }
        }
        for name in removed {
            if let Some(hosts) = self.routes.hosts(name) {
                hosts.remove(name);
            }
        }
        Ok(())
    }
}
