//! Nothing that an object contains makes translation panic, or gives bytes that are no message.

mod support;

use std::time::{Duration, Instant};

use gatehouse_api::Object;
use gatehouse_testkit::hostile;
use gatehouse_translate::{Change, Config, World};
use proptest::prelude::*;
use serde_json::Value;
use support::Picture;

/// All objects that can be read, as they are and without defaults: older schemas let more through.
fn readable(objects: &[Value]) -> Vec<Object> {
    objects.iter().filter_map(|json| Object::from_json(json).ok()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_objects_never_panic(objects in hostile::objects(10..80)) {
        let objects = readable(&objects);
        let started = Instant::now();
        let mut world = World::new(Config::default());
        let mut picture = Picture::default();
        for half in objects.chunks(objects.len().div_ceil(2).max(1)) {
            for object in half {
                world.apply(Change::Upsert(Box::new(object.clone())));
            }
            picture.absorb(world.settle());
        }
        prop_assert_eq!(world.take_panics(), []);
        prop_assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
        for resource in picture.fleets.values().flat_map(|fleet| fleet.resources.values()) {
            let checked = gatehouse_envoy::validate::message(resource.kind.type_url(), &resource.body);
            prop_assert!(checked.is_ok(), "{:?} {}: {:?}", resource.kind, resource.name, checked);
            support::decode(resource);
        }
    }
}
