//! The fleets, what they serve, and the edits: all as words that the testkit's client reads.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gatehouse_model::{Edge, ResourceType};
use gatehouse_xds::{Commit, FleetId, Resource, Watch, WatchChange};

/// How large the encoded resources are that `gatehouse` makes of a plain route and its Service.
const SIZES: [(ResourceType, usize); 5] = [
    (ResourceType::Cluster, 300),
    (ResourceType::Endpoint, 130),
    (ResourceType::VirtualHost, 400),
    (ResourceType::Listener, 1500),
    (ResourceType::RouteConfiguration, 200),
];

/// What is served.
pub(crate) struct World {
    pub(crate) fleets: usize,
    /// Virtual hosts of each fleet, and as many clusters and endpoints.
    pub(crate) hosts: usize,
}

/// A kind of edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// A route has another backend, which other routes use already.
    Route,
    /// The endpoints of a Service changed.
    Endpoints,
    /// A route has a backend that nobody used.
    Backend,
}

impl Edit {
    pub(crate) const ALL: [Self; 3] = [Self::Route, Self::Endpoints, Self::Backend];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Route => "route edit",
            Self::Endpoints => "endpoint change",
            Self::Backend => "new backend",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|edit| format!("{edit:?}") == word)
    }
}

impl World {
    pub(crate) fn fleet(fleet: usize) -> FleetId {
        FleetId::new(format!("default/gateway-{fleet}"))
    }

    pub(crate) fn socket(dir: &Path, fleet: usize) -> PathBuf {
        dir.join(format!("{fleet}.sock"))
    }

    /// The first snapshot of a fleet.
    pub(crate) fn snapshot(&self) -> Commit {
        let mut commit = Commit::default();
        let listener = resource(ResourceType::Listener, "listener", "route:table");
        let table = resource(ResourceType::RouteConfiguration, "table", "vhds");
        commit.upserts.extend([listener, table]);
        for n in 0..self.hosts {
            add_cluster(&mut commit, &cluster(n));
            add_host(&mut commit, n, &cluster(n), 0);
            commit.edges.push(edge(n, &cluster(n), 1));
        }
        commit
    }

    /// The edit of that number; each names another host or cluster.
    pub(crate) fn edit(&self, edit: Edit, number: usize) -> Commit {
        let mut commit = Commit::default();
        // Edits of a kind come fleet by fleet, and each kind takes hosts of its own.
        let host = (number * 3 + edit as usize) % self.hosts;
        match edit {
            Edit::Endpoints => {
                let body = format!("endpoints of edit {number}");
                commit.upserts.push(resource(ResourceType::Endpoint, &cluster(host), &body));
            }
            Edit::Route | Edit::Backend => {
                let new = match edit {
                    Edit::Route => cluster((host + 1) % self.hosts),
                    _ => format!("new-{number}"),
                };
                if edit == Edit::Backend {
                    add_cluster(&mut commit, &new);
                }
                add_host(&mut commit, host, &new, number + 1);
                commit.edges.extend([edge(host, &cluster(host), -1), edge(host, &new, 1)]);
            }
        }
        commit
    }
}

fn cluster(n: usize) -> String {
    format!("service/default/backend-{n}/8080")
}

fn host(n: usize) -> String {
    format!("table/host-{n}.example.com")
}

fn add_cluster(commit: &mut Commit, name: &str) {
    commit.upserts.push(resource(ResourceType::Cluster, name, "eds"));
    commit.upserts.push(resource(ResourceType::Endpoint, name, "endpoints"));
}

/// As `gatehouse` does: who acknowledges a host is watched.
fn add_host(commit: &mut Commit, n: usize, cluster: &str, edit: usize) {
    let body = format!("domain:host-{n}.example.com names:{cluster} edit {edit}");
    let (kind, host) = resource(ResourceType::VirtualHost, &host(n), &body);
    let needs = vec![(kind, host.name.clone(), host.version.clone())];
    commit.watches.push(WatchChange::Set(Watch { id: n as u64, needs }));
    commit.upserts.push((kind, host));
}

fn edge(n: usize, cluster: &str, delta: i32) -> Edge {
    let from = (ResourceType::VirtualHost, host(n).into());
    Edge { from, cluster: cluster.into(), delta, linger: Duration::from_secs(15) }
}

/// A resource whose body is as long as a real one.
fn resource(kind: ResourceType, name: &str, words: &str) -> (ResourceType, Resource) {
    let size = SIZES.iter().find(|(of, _)| *of == kind).map_or(0, |(_, size)| *size);
    let padding = size.saturating_sub(words.len() + 1);
    let body = format!("{words} {}", "-".repeat(padding));
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    (kind, Resource::new(name, format!("{:016x}", hasher.finish()), body))
}
