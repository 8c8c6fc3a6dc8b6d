//! A real Envoy behind a real server.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gatehouse_envoy::{Address, BootstrapOptions, bootstrap};
use gatehouse_model::{Edge, ResourceType};
use gatehouse_testkit::envoy::Envoy;
use gatehouse_translate::FleetChange;
use gatehouse_xds::{Commit, Event, FleetId, Notice, Resource, Server, Watch, WatchChange, What};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::support::{self, Fleet, decode, strings_at};

/// Longer than Envoy waits for anything: a case that takes this long is stuck.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    server: Server,
    events: UnboundedReceiver<Event>,
    fleet: FleetId,
    envoy: Envoy,
    admin: PathBuf,
    held: Fleet,
    watch: u64,
}

impl Rig {
    pub(crate) fn start(dir: &Path) -> Self {
        let server = Server::new(gatehouse_xds::Config::default());
        let (events, fleet) = (server.events(), FleetId::new("live/cases"));
        let socket = dir.join("xds.sock");
        let serve = server.serve_unix(&socket, &fleet).expect("serve");
        tokio::spawn(serve);
        let pipe = |path: PathBuf| Address::Pipe(path.display().to_string());
        let admin = dir.join("admin.sock");
        let options = BootstrapOptions::new("live", "live", pipe(admin.clone()), pipe(socket));
        let envoy = Envoy::start(dir, &bootstrap(&options));
        Self { server, events, fleet, envoy, admin, held: Fleet::default(), watch: 0 }
    }

    /// Replaces what Envoy holds and waits until it has all of it.
    pub(crate) async fn load(&mut self, next: Fleet, case: &str) {
        let mut commit = difference(&self.held, &next);
        commit.watches.push(WatchChange::Remove(self.watch));
        self.watch += 1;
        commit.watches.push(WatchChange::Set(Watch { id: self.watch, needs: needs(&next) }));
        self.held = next;
        self.server.commit(&self.fleet, commit);
        if needs(&self.held).is_empty() {
            return;
        }
        let taken = tokio::time::timeout(PATIENCE, self.taken(case)).await;
        assert!(taken.is_ok(), "{case}: Envoy does not take it; its log:\n{}", self.envoy.log());
    }

    /// Commits a change as it is, and waits for nothing.
    pub(crate) fn commit(&mut self, change: FleetChange) {
        let resource = |r: gatehouse_translate::Resource| {
            let gatehouse_translate::Resource { kind, name, version, body, interim } = r;
            (kind, Resource { name, version, body, interim })
        };
        let upserts = change.upserts.into_iter().map(resource).collect();
        let FleetChange { removals, edges, .. } = change;
        self.server.commit(&self.fleet, Commit { upserts, removals, edges, ..Commit::default() });
    }

    /// What Envoy says of itself; nothing before it is ready.
    pub(crate) fn admin(&self, path: &str) -> String {
        let mut answer = String::new();
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        let asked = UnixStream::connect(&self.admin).and_then(|mut socket| {
            socket.write_all(request.as_bytes())?;
            socket.read_to_string(&mut answer)
        });
        asked.map(|_| answer).unwrap_or_default()
    }

    async fn taken(&mut self, case: &str) {
        while let Some(event) = self.events.recv().await {
            match event.what {
                What::Held { watch, holders, .. } if watch == self.watch && holders > 0 => return,
                What::Resource(Notice::Refused { target, message, .. }) => {
                    panic!("{case}: {target:?} refused: {message}")
                }
                _ => {}
            }
        }
        panic!("{case}: the server ended");
    }
}

fn difference(old: &Fleet, new: &Fleet) -> Commit {
    let gone = old.resources.keys().filter(|name| !new.resources.contains_key(*name));
    let edges = |fleet: &Fleet, sign: i64| -> Vec<Edge> {
        fleet.edges.iter().map(|((from, cluster), count)| edge(from, cluster, sign * count)).collect()
    };
    let upsert = |((kind, name), resource): (&support::Name, &gatehouse_translate::Resource)| {
        (*kind, Resource::new(name.clone(), resource.version.clone(), resource.body.clone()))
    };
    Commit {
        upserts: new.resources.iter().map(upsert).collect(),
        removals: gone.cloned().collect(),
        edges: edges(old, -1).into_iter().chain(edges(new, 1)).collect(),
        ..Commit::default()
    }
}

fn edge(from: &support::Name, cluster: &Arc<str>, delta: i64) -> Edge {
    let delta = i32::try_from(delta).expect("few edges");
    Edge { from: from.clone(), cluster: cluster.clone(), delta, linger: Duration::ZERO }
}

/// What Envoy must hold in the end: everything but tables and secrets that no listener names.
fn needs(fleet: &Fleet) -> Vec<gatehouse_xds::Need> {
    let mut tables = BTreeSet::new();
    for ((kind, _), resource) in &fleet.resources {
        if *kind == ResourceType::Listener {
            tables.extend(strings_at(&decode(resource), "route_config_name"));
        }
    }
    let named = |(kind, name): &support::Name| match kind {
        ResourceType::RouteConfiguration => tables.contains(&**name),
        ResourceType::VirtualHost => name.rsplit_once('/').is_some_and(|(table, _)| tables.contains(table)),
        _ => true,
    };
    let needed = fleet.resources.iter().filter(|(name, _)| named(name));
    needed.map(|((kind, name), r)| (*kind, name.clone(), r.version.clone())).collect()
}
