//! An xDS client that behaves like Envoy 1.40 where a server can go wrong.
//!
//! ```text
//! connect() --> requests            what Envoy asks first, with the versions that it has
//! receive(response) --> requests    subscriptions, ACK or NACK, in Envoy's order
//! ```
//!
//! It withholds the CDS acknowledgement while a cluster warms (not before it is initialised), needs the endpoints of a
//! cluster again after every change of that cluster, does not ask for them again, drops virtual hosts of tables that it
//! does not have, and refuses whole responses. It is pure: no time, no sockets. What would make Envoy wait for its
//! 15-second timeout shows as a cluster that [`Client::warming`] never loses.

mod body;
mod clusters;
mod routes;

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
};
use envoy_types::pb::google::rpc::Status;

pub use self::body::{Reader, Reading, words};
use self::clusters::Clusters;
use self::routes::Routes;

/// The types that the client knows, by the short names that Envoy's documentation gives their protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Cds,
    Eds,
    Sds,
    Lds,
    Rds,
    Vhds,
}

impl Kind {
    /// In the order in which Envoy asks after it connects.
    pub const ALL: [Self; 6] = [Self::Cds, Self::Eds, Self::Sds, Self::Lds, Self::Rds, Self::Vhds];

    /// The type URL.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cds => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Eds => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Sds => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Lds => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Rds => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Vhds => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
        }
    }

    fn from_type_url(url: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url).expect("the server sends types that exist")
    }

    fn wildcard(self) -> bool {
        matches!(self, Self::Cds | Self::Lds | Self::Vhds)
    }
}

/// Something that was named while it could not be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The type of the resource that names it.
    pub kind: Kind,
    /// The resource.
    pub name: String,
    /// The cluster that was not warm.
    pub cluster: String,
}

/// What the client believes to have of one type: this is what it presents when it connects again.
#[derive(Debug, Default)]
struct Known {
    asked: bool,
    subscribed: BTreeSet<String>,
    versions: BTreeMap<String, String>,
}

/// The client.
#[derive(Debug)]
pub struct Client {
    reader: Reader,
    known: BTreeMap<Kind, Known>,
    clusters: Clusters,
    listeners: BTreeMap<String, Reading>,
    secrets: BTreeSet<String>,
    routes: Routes,
    /// The first answer about clusters came.
    begun: bool,
    /// The first clusters are warm: listeners were asked for.
    initialised: bool,
    /// CDS requests that wait until nothing warms.
    withheld: Vec<DeltaDiscoveryRequest>,
    out: Vec<DeltaDiscoveryRequest>,
    /// Each time that a resource named a cluster that could not be used.
    pub violations: Vec<Violation>,
    /// How many responses were refused.
    pub refused: usize,
}

impl Client {
    /// A client without configuration, which reads bodies with `reader`.
    pub fn new(reader: Reader) -> Self {
        Self {
            reader,
            known: Kind::ALL.into_iter().map(|kind| (kind, Known::default())).collect(),
            clusters: Clusters::default(),
            listeners: BTreeMap::new(),
            secrets: BTreeSet::new(),
            routes: Routes::default(),
            begun: false,
            initialised: false,
            withheld: Vec::new(),
            out: Vec::new(),
            violations: Vec::new(),
            refused: 0,
        }
    }

    /// Opens a new stream; whatever was not acknowledged on the old one is lost.
    pub fn connect(&mut self) -> Vec<DeltaDiscoveryRequest> {
        self.out.clear();
        self.withheld.clear();
        for kind in Kind::ALL {
            let known = self.known(kind);
            let named = !known.subscribed.is_empty();
            let again = known.asked;
            if kind == Kind::Cds || named || (again && kind.wildcard()) {
                self.ask(kind);
            }
        }
        self.flush()
    }

    /// Takes a response and says what Envoy would answer.
    pub fn receive(&mut self, response: &DeltaDiscoveryResponse) -> Vec<DeltaDiscoveryRequest> {
        let kind = Kind::from_type_url(&response.type_url);
        let read: Vec<(&Resource, Reading)> = response.resources.iter().map(|r| (r, self.read(r))).collect();
        let result = match kind {
            Kind::Cds => self.receive_clusters(&read, &response.removed_resources),
            Kind::Eds => self.receive_endpoints(&read, &response.removed_resources),
            Kind::Sds => self.receive_secrets(&read),
            Kind::Lds => self.receive_listeners(&read, &response.removed_resources),
            Kind::Rds => self.receive_routes(&read),
            Kind::Vhds => self.receive_virtual_hosts(&read, &response.removed_resources),
        };
        self.begun |= kind == Kind::Cds;
        let mut reply = request(kind);
        reply.response_nonce.clone_from(&response.nonce);
        match result {
            Ok(()) => self.record(kind, response),
            Err(message) => {
                self.refused += 1;
                reply.error_detail = Some(Status { code: 13, message, details: Vec::new() });
            }
        }
        self.send(reply);
        self.settle();
        self.flush()
    }

    /// Clusters that wait for something. When nothing is on its way, each of them is a stall of 15 seconds in Envoy.
    pub fn warming(&self) -> Vec<String> {
        self.clusters.warming()
    }

    /// Names and versions of what the client would use.
    pub fn effective(&self, kind: Kind) -> BTreeMap<String, String> {
        let mut versions = self.known[&kind].versions.clone();
        match kind {
            Kind::Vhds => versions.retain(|name, _| self.routes.serves(name)),
            Kind::Rds | Kind::Eds | Kind::Sds => {
                versions.retain(|name, _| self.known[&kind].subscribed.contains(name));
            }
            Kind::Cds | Kind::Lds => {}
        }
        versions
    }

    /// Names that the client is subscribed to.
    pub fn subscribed(&self, kind: Kind) -> &BTreeSet<String> {
        &self.known[&kind].subscribed
    }

    /// Whether a request could reach a cluster now.
    pub fn usable(&self, cluster: &str) -> bool {
        self.clusters.usable(cluster)
    }

    fn read(&self, resource: &Resource) -> Reading {
        let body = resource.resource.as_ref().map_or(&[][..], |any| &any.value[..]);
        (self.reader)(&resource.name, body)
    }

    fn known(&mut self, kind: Kind) -> &mut Known {
        self.known.entry(kind).or_default()
    }

    /// Envoy records versions only of responses that it accepts whole.
    fn record(&mut self, kind: Kind, response: &DeltaDiscoveryResponse) {
        let known = self.known(kind);
        for resource in &response.resources {
            if kind.wildcard() || known.subscribed.contains(&resource.name) {
                known.versions.insert(resource.name.clone(), resource.version.clone());
            }
        }
        for name in &response.removed_resources {
            known.versions.remove(name);
        }
    }

    /// The first request of a type on a stream.
    fn ask(&mut self, kind: Kind) {
        let known = self.known(kind);
        known.asked = true;
        let mut asked = request(kind);
        asked.resource_names_subscribe = known.subscribed.iter().cloned().collect();
        asked.initial_resource_versions = known.versions.clone().into_iter().collect();
        self.send(asked);
    }

    fn subscribe(&mut self, kind: Kind, name: &str) {
        let known = self.known(kind);
        if !known.subscribed.insert(name.to_owned()) {
            return;
        }
        known.asked = true;
        let mut asked = request(kind);
        asked.resource_names_subscribe.push(name.to_owned());
        self.send(asked);
    }

    fn unsubscribe(&mut self, kind: Kind, name: &str) {
        let known = self.known(kind);
        if !known.subscribed.remove(name) {
            return;
        }
        known.versions.remove(name);
        let mut asked = request(kind);
        asked.resource_names_unsubscribe.push(name.to_owned());
        self.send(asked);
    }

    fn send(&mut self, request: DeltaDiscoveryRequest) {
        let cds = request.type_url == Kind::Cds.type_url();
        let warming = self.initialised && !self.clusters.warming().is_empty();
        if cds && (warming || !self.withheld.is_empty()) {
            self.withheld.push(request);
        } else {
            self.out.push(request);
        }
    }

    /// Nothing warms any more: withheld requests go, and the first listeners are asked for.
    fn settle(&mut self) {
        if !self.clusters.warming().is_empty() {
            return;
        }
        self.out.append(&mut self.withheld);
        if !self.initialised && self.begun {
            self.initialised = true;
            self.ask(Kind::Lds);
        }
    }

    fn flush(&mut self) -> Vec<DeltaDiscoveryRequest> {
        std::mem::take(&mut self.out)
    }

    fn receive_secrets(&mut self, read: &[(&Resource, Reading)]) -> Result<(), String> {
        if read.iter().any(|(_, reading)| reading.bad) {
            return Err("Failed to load certificate chain from <inline>".to_owned());
        }
        for (resource, _) in read {
            self.secrets.insert(resource.name.clone());
            self.clusters.secret(&resource.name);
        }
        Ok(())
    }

    fn receive_listeners(&mut self, read: &[(&Resource, Reading)], removed: &[String]) -> Result<(), String> {
        for (resource, reading) in read.iter().filter(|(_, reading)| !reading.bad) {
            self.check(Kind::Lds, &resource.name, reading);
            self.listeners.insert(resource.name.clone(), reading.clone());
        }
        for name in removed {
            self.listeners.remove(name);
        }
        self.follow_listeners();
        let bad = read.iter().find(|(_, reading)| reading.bad);
        bad.map_or(Ok(()), |(resource, _)| {
            Err(format!("Error adding/updating listener(s) {}: bad", resource.name))
        })
    }

    /// Subscribes to what the listeners name, and no more.
    fn follow_listeners(&mut self) {
        let routes: BTreeSet<String> = self.listeners.values().flat_map(|l| l.routes.clone()).collect();
        for name in self.known[&Kind::Rds].subscribed.clone() {
            if !routes.contains(&name) {
                self.unsubscribe(Kind::Rds, &name);
                self.routes.drop_table(&name);
            }
        }
        for name in &routes {
            self.subscribe(Kind::Rds, name);
        }
        self.follow_secrets();
    }

    /// Subscribes to the secrets that listeners and clusters need now, and no more.
    fn follow_secrets(&mut self) {
        let mut secrets: BTreeSet<String> = self.listeners.values().flat_map(|l| l.secrets.clone()).collect();
        secrets.extend(self.clusters.secrets());
        for name in self.known[&Kind::Sds].subscribed.clone() {
            if !secrets.contains(&name) {
                self.unsubscribe(Kind::Sds, &name);
                self.secrets.remove(&name);
            }
        }
        for name in &secrets {
            self.subscribe(Kind::Sds, name);
        }
    }

    /// Notes what still names a cluster that was removed.
    fn check_removal(&mut self, cluster: &str) {
        let listeners = self.listeners.iter().filter(|(_, reading)| reading.clusters.contains(cluster));
        let mut naming: Vec<_> = listeners.map(|(name, _)| (Kind::Lds, name.clone())).collect();
        naming.extend(self.routes.naming(cluster));
        let violations =
            naming.into_iter().map(|(kind, name)| Violation { kind, name, cluster: cluster.to_owned() });
        self.violations.extend(violations);
    }

    /// Notes when a resource names a cluster that cannot be used.
    fn check(&mut self, kind: Kind, name: &str, reading: &Reading) {
        for cluster in &reading.clusters {
            if !self.clusters.usable(cluster) {
                let (name, cluster) = (name.to_owned(), cluster.clone());
                self.violations.push(Violation { kind, name, cluster });
            }
        }
    }
}

fn request(kind: Kind) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.type_url().to_owned(), ..DeltaDiscoveryRequest::default() }
}
