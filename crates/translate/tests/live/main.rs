//! What a real Envoy does with the translation's output.
//!
//! Every golden case: it must take all of it, one case straight after the other. One Envoy holds one case at a time; the
//! change from case to case goes through the real delta ADS server. So each case is proven to load, and each pair of
//! neighbours to be a change that Envoy takes.
//!
//! Backends: pods come and go, sessions stay, budgets hold.
//!
//! Clients and backends that are shown, and must show, certificates.
//!
//! Random worlds: it answers as the specification says.
//!
//! Spans come and go with the policy that asks for them.
//!
//! A withdrawal: it takes effect at once, although the same change names a cluster that is not ready.

mod backends;
mod listener_filters;
mod mutual;
mod oracle;
mod rig;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod telemetry;
mod withdrawal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use gatehouse_api::Object;
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, Hosting, World};
use rig::Rig;
use support::Picture;

/// Ports that the cases' listeners are bound to; Envoy's drained listeners may linger on them.
const FIRST_PORT: u16 = 21_400;

#[tokio::test]
async fn every_golden_case_is_taken_by_a_real_envoy() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut rig = Rig::start(dir.path());
    let cases: Vec<_> = support::cases().into_iter().map(|path| (read(&path), path)).collect();
    let ports = port_map(cases.iter().flat_map(|(objects, _)| objects));
    for (objects, path) in cases {
        for (key, fleet) in translate(objects, &ports).fleets {
            let case = format!("{} ({key})", path.display());
            rig.load(fleet, &case).await;
        }
    }
}

fn read(path: &Path) -> Vec<Object> {
    let text = std::fs::read_to_string(path).expect("read a case");
    let input = text.split_once("---\nexpected:").map_or(&*text, |(input, _)| input);
    let documents = objects::documents(input).expect("the case is YAML");
    documents.into_iter().map(|d| objects::object(d).expect("an object")).collect()
}

/// The case's fleets, on ports and addresses that anybody may bind.
fn translate(objects: Vec<Object>, ports: &BTreeMap<u16, u16>) -> Picture {
    let mut world = World::new(Config {
        hosting: hosting(&objects),
        port_map: ports.clone(),
        assume_programmed: true,
        ..Config::default()
    });
    for object in objects {
        world.apply(Change::Upsert(Box::new(on_loopback(object))));
    }
    let mut picture = Picture::default();
    picture.absorb(world.settle());
    picture
}

/// In pods nobody is in another's way; but pods bind everything, and a case may be about addresses.
fn hosting(objects: &[Object]) -> Hosting {
    let binds =
        |object: &Object| matches!(object, Object::Gateway(gateway) if !gateway.spec.addresses.is_empty());
    if objects.iter().any(binds) { Hosting::default() } else { Hosting::Pods }
}

/// One for all cases: a listener keeps its address from case to case, as it does in a cluster.
fn port_map<'a>(objects: impl Iterator<Item = &'a Object>) -> BTreeMap<u16, u16> {
    let ports: BTreeSet<u16> = objects
        .flat_map(|object| match object {
            Object::Gateway(gateway) => gateway.spec.listeners.as_slice(),
            Object::ListenerSet(set) => set.spec.listeners.as_slice(),
            _ => &[],
        })
        .map(|listener| listener.port)
        .collect();
    ports.into_iter().zip(FIRST_PORT..).collect()
}

fn on_loopback(mut object: Object) -> Object {
    if let Object::Gateway(gateway) = &mut object {
        let addresses = &mut Arc::make_mut(gateway).spec.addresses;
        for (address, last) in addresses.iter_mut().zip(2u8..) {
            if address.value.as_deref().is_some_and(|value| value.parse::<std::net::IpAddr>().is_ok()) {
                address.value = Some(format!("127.0.0.{last}"));
            }
        }
    }
    object
}
