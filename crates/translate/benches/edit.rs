//! What a change costs: cold translation, one edited route in both shapes, one endpoint change.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gatehouse_api::Object;
use gatehouse_testkit::scale::{self, Shape};
use gatehouse_translate::{Change, Config, World};

fn settled(objects: Vec<Object>) -> World {
    let mut world = World::new(Config { assume_programmed: true, ..Config::default() });
    for object in objects {
        world.apply(Change::Upsert(Box::new(object)));
    }
    black_box(world.settle());
    world
}

fn cold(c: &mut Criterion) {
    let mut group = c.benchmark_group("cold");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for routes in [1_000, 10_000] {
        let objects = scale::objects(Shape::Hosts, routes);
        group.bench_function(format!("{routes} routes"), |b| {
            b.iter_batched(|| objects.clone(), settled, criterion::BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// Flips between two states of an object and settles each time.
fn flip(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    world: &mut World,
    states: &[Object; 2],
) {
    let mut turn = 0;
    group.bench_function(name, |b| {
        b.iter_batched(
            || {
                turn += 1;
                states[turn % 2].clone()
            },
            |object| {
                world.apply(Change::Upsert(Box::new(object)));
                world.settle()
            },
            criterion::BatchSize::PerIteration,
        );
    });
}

fn one_edit(c: &mut Criterion) {
    let mut group = c.benchmark_group("one edit");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for routes in [1_000, 10_000, 50_000] {
        for (name, shape) in [("hostnames", Shape::Hosts), ("rules of one hostname", Shape::OneHost(1))] {
            let mut world = settled(scale::objects(shape, routes));
            let states = ["second", "third"].map(|value| scale::route(shape, routes / 2, value));
            flip(&mut group, &format!("{routes} {name}"), &mut world, &states);
        }
    }
    let shape = Shape::OneHost(16);
    let mut world = settled(scale::objects(shape, 625));
    let states = ["second", "third"].map(|value| scale::route(shape, 300, value));
    flip(&mut group, "625 routes of 16 rules of one hostname", &mut world, &states);
    group.finish();
}

fn other_changes(c: &mut Criterion) {
    let mut group = c.benchmark_group("at 10000 routes");
    group.sample_size(50).measurement_time(Duration::from_secs(3));
    let mut world = settled(scale::objects(Shape::Hosts, 10_000));
    flip(&mut group, "endpoint change", &mut world, &[2, 3].map(|host| scale::slice(7, host)));
    let pairs = [gatehouse_testkit::certificates::FIRST, gatehouse_testkit::certificates::SECOND];
    flip(&mut group, "certificate rotation", &mut world, &pairs.map(scale::certificate));
    let gateways = [scale::gateway(&[]), scale::gateway(&["new.example.org"])];
    flip(&mut group, "one more listener", &mut world, &gateways);
    group.finish();
}

criterion_group!(benches, cold, one_edit, other_changes);
criterion_main!(benches);
