//! How much memory a route takes: bytes that are allocated, as counted by the allocator, so the same in every run.
//!
//! What `gatehouse run` keeps of a route is put together here from its parts: the objects of the files, the world, the xDS
//! table. The texts of the files, the status document and what each proxy's stream keeps come on top.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gatehouse_model::ResourceType;
use gatehouse_standalone::digest::Digest;
use gatehouse_standalone::files::{BatchKind, FileBatch, FileChange, FileEvent};
use gatehouse_standalone::intake::{Intake, ObjectChange};
use gatehouse_testkit::scale::{self, Shape};
use gatehouse_translate::{Change, Config, World};
use gatehouse_xds::{Commit, FleetId, Resource, Server};

const ROUTES: usize = 2_000;

/// What lives after the start.
struct Loaded {
    _intake: Intake,
    _world: World,
    _server: Server,
}

fn files(shape: Shape, routes: usize) -> FileBatch {
    let file = |(index, object): (usize, gatehouse_api::Object)| {
        let text: Arc<str> = object.to_json().to_string().into();
        let hash = Digest::of(text.as_bytes());
        let path = Arc::from(Path::new(&format!("manifests/{index:06}.yaml")));
        FileEvent { path, change: FileChange::Content { text, hash } }
    };
    let events = scale::objects(shape, routes).into_iter().enumerate().map(file).collect();
    FileBatch { kind: BatchKind::InitialComplete, events }
}

/// A start as `gatehouse run` does it, until a proxy holds everything.
fn load(batch: &FileBatch) -> Loaded {
    let mut intake = Intake::default();
    let mut world = World::new(Config::default());
    let server = Server::new(gatehouse_xds::Config::default());
    for change in intake.apply(batch) {
        world.apply(match change {
            ObjectChange::Upsert(_, object) => Change::Upsert(Box::new(object)),
            ObjectChange::Remove(key) => Change::Remove(key),
        });
    }
    let outputs = world.settle();
    for (fleet, change) in outputs.fleets {
        for host in change.upserts.iter().filter(|r| r.kind == ResourceType::VirtualHost) {
            world.host_acknowledged(&fleet, &host.name, &host.version);
        }
        let upsert = |r: gatehouse_translate::Resource| (r.kind, Resource::new(r.name, r.version, r.body));
        let upserts = change.upserts.into_iter().map(upsert).collect();
        let seen = Some(Instant::now());
        let commit =
            Commit { upserts, removals: change.removals, edges: change.edges, watches: Vec::new(), seen };
        server.commit(&FleetId::new(fleet.to_string()), commit);
    }
    Loaded { _intake: intake, _world: world, _server: server }
}

/// Bytes per route: those that live after the start, and the most that lived during it.
fn bytes_per_route(shape: Shape) -> (u64, u64) {
    // What is made once, such as compiled patterns, is not a route's.
    drop(load(&files(shape, 1)));
    let batch = files(shape, ROUTES);
    let mut loaded = None;
    let counts = allocation_counter::measure(|| loaded = Some(load(&batch)));
    let live = u64::try_from(counts.bytes_current).expect("something was loaded");
    (live / ROUTES as u64, counts.bytes_max / ROUTES as u64)
}

/// Fails when a route takes a seventh more than it did when the bounds were set.
#[track_caller]
fn assert_takes(shape: Shape, live: u64, most: u64) {
    let taken = bytes_per_route(shape);
    let fits = taken.0 * 7 <= live * 8 && taken.1 * 7 <= most * 8;
    assert!(fits, "(live, most) bytes per route of {shape:?}: {taken:?}, they were {:?}", (live, most));
}

#[test]
fn a_route_with_its_own_hostname_takes_little_memory() {
    assert_takes(Shape::Hosts, 7_600, 8_000);
}

#[test]
fn a_route_among_many_on_one_hostname_takes_little_memory() {
    assert_takes(Shape::OneHost(1), 6_600, 7_000);
}
