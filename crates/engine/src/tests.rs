//! The engine against a model: any sequence of changes ends where a fresh run over the final facts ends.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{Fact, Graph, Index, Missing, Reads, Stage, Table, Tally};

/// A toy world: items belong to owners; an owner's total is the sum of its items times a global factor;
/// `secrets` is fetched on demand.
struct World {
    graph: Graph,
    factor: Table<(), u32>,
    items: Table<u8, (u8, u32)>,
    secrets: Table<u8, u32>,
    scaled: Stage<u8, (u8, u32)>,
    by_owner: Index<u8, u8, u8, u32>,
    totals: Stage<u8, u32>,
    sealed: Stage<u8, u32>,
}

impl World {
    fn new() -> Self {
        let mut graph = Graph::default();
        Self {
            factor: Table::new(&mut graph, "factor", Missing::Absent),
            items: Table::new(&mut graph, "items", Missing::Absent),
            secrets: Table::new(&mut graph, "secrets", Missing::Unknown),
            scaled: Stage::new(&mut graph, "scaled"),
            by_owner: Index::new(&mut graph, "by_owner"),
            totals: Stage::new(&mut graph, "totals"),
            sealed: Stage::new(&mut graph, "sealed"),
            graph,
        }
    }

    fn settle(&mut self) {
        let Self { graph, factor, items, secrets, scaled, by_owner, totals, sealed } = self;
        for key in items.take_changed() {
            scaled.mark(graph, key);
        }
        scaled.settle(graph, |reads, key| {
            let (owner, amount) = items.get(reads, key)?;
            let factor = factor.get(reads, &()).copied().unwrap_or(1);
            Some((*owner, amount * factor))
        });
        for key in scaled.take_changed() {
            let entries = scaled.peek(&key).map(|(owner, amount)| (*owner, key, *amount));
            if let Some((owner, ..)) = entries {
                totals.mark(graph, owner);
            }
            by_owner.set(graph, key, entries.into_iter().collect());
        }
        totals.settle(graph, |reads, owner| Some(by_owner.get(reads, owner)?.values().sum()));
        for owner in totals.take_changed() {
            sealed.mark(graph, owner);
        }
        sealed.settle(graph, |reads, owner| {
            let total = *totals.get(reads, owner)?;
            Some(total + secrets.want(reads, owner).copied().unwrap_or(0))
        });
    }

    fn totals(&self) -> BTreeMap<u8, u32> {
        self.totals.iter().map(|(k, v)| (*k, *v)).collect()
    }

    fn sealed(&self) -> BTreeMap<u8, u32> {
        self.sealed.iter().map(|(k, v)| (*k, *v)).collect()
    }
}

#[derive(Clone, Debug)]
enum Event {
    Item(u8, u8, u32),
    Drop(u8),
    Factor(u32),
    Secret(u8, Option<u32>),
    Settle,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..12u8, 0..4u8, 0..9u32).prop_map(|(k, o, a)| Event::Item(k, o, a)),
        2 => (0..12u8).prop_map(Event::Drop),
        1 => (1..4u32).prop_map(Event::Factor),
        2 => (0..4u8, proptest::option::of(0..5u32)).prop_map(|(k, v)| Event::Secret(k, v)),
        2 => Just(Event::Settle),
    ]
}

fn apply(world: &mut World, event: &Event) {
    let graph = &mut world.graph;
    match *event {
        Event::Item(key, owner, amount) => drop(world.items.set(graph, key, (owner, amount))),
        Event::Drop(key) => drop(world.items.set_absent(graph, key)),
        Event::Factor(factor) => drop(world.factor.set(graph, (), factor)),
        Event::Secret(key, Some(value)) => drop(world.secrets.set(graph, key, value)),
        Event::Secret(key, None) => drop(world.secrets.set_absent(graph, key)),
        Event::Settle => world.settle(),
    }
}

/// The same final facts, put into a new world at once.
fn fresh(world: &World) -> World {
    let mut copy = World::new();
    for (key, value) in world.items.iter() {
        copy.items.set(&mut copy.graph, *key, *value);
    }
    for ((), value) in world.factor.iter() {
        copy.factor.set(&mut copy.graph, (), *value);
    }
    for key in 0..4 {
        match world.secrets.fact(&mut Reads::default(), &key) {
            Fact::Present(value) => drop(copy.secrets.set(&mut copy.graph, key, *value)),
            Fact::Absent => drop(copy.secrets.set_absent(&mut copy.graph, key)),
            Fact::Unknown => {}
        }
    }
    copy.settle();
    copy
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_from_scratch(events in prop::collection::vec(event(), 1..60)) {
        let mut world = World::new();
        for event in &events {
            apply(&mut world, event);
        }
        world.settle();
        let scratch = fresh(&world);
        prop_assert_eq!(world.totals(), scratch.totals());
        prop_assert_eq!(world.sealed(), scratch.sealed());
    }
}

#[test]
fn one_edit_among_many_runs_one_key() {
    let mut world = World::new();
    for key in 0..200 {
        world.items.set(&mut world.graph, key, (key % 4, 1));
    }
    world.settle();
    let before = (world.graph.counters("scaled").computed, world.graph.counters("totals").computed);
    world.items.set(&mut world.graph, 7, (3, 5));
    world.settle();
    let after = (world.graph.counters("scaled").computed, world.graph.counters("totals").computed);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1));
}

#[test]
fn unknown_fact_holds_the_last_value_and_is_wanted() {
    let mut world = World::new();
    world.items.set(&mut world.graph, 1, (1, 10));
    world.settle();
    assert_eq!(world.sealed(), BTreeMap::new(), "the secret is unknown: nothing yet");
    assert_eq!(world.sealed.holding().collect::<Vec<_>>(), [&1]);
    assert_eq!(world.secrets.take_want_changes(&mut world.graph), vec![(1, true)]);
    world.secrets.set(&mut world.graph, 1, 5);
    world.settle();
    assert_eq!(world.sealed(), BTreeMap::from([(1, 15)]));
    assert_eq!(world.sealed.holding().count(), 0);
    world.secrets.forget(&mut world.graph, &1);
    world.items.set(&mut world.graph, 1, (1, 20));
    world.settle();
    assert_eq!(world.sealed(), BTreeMap::from([(1, 15)]), "unknown again: the last value stays");
    world.secrets.set_absent(&mut world.graph, 1);
    world.settle();
    assert_eq!(world.sealed(), BTreeMap::from([(1, 20)]));
    world.items.set_absent(&mut world.graph, 1);
    world.settle();
    assert_eq!(world.secrets.take_want_changes(&mut world.graph), vec![(1, false)]);
}

#[test]
fn readers_that_do_not_want_a_key_neither_keep_it_wanted_nor_hide_that_it_is_wanted_again() {
    let mut graph = Graph::default();
    let mut secrets: Table<u8, u8> = Table::new(&mut graph, "secrets", Missing::Unknown);
    let mut pairs: Stage<u8, u8> = Stage::new(&mut graph, "pairs");
    let mut users: Stage<u8, u8> = Stage::new(&mut graph, "users");
    pairs.mark(&mut graph, 1);
    pairs.settle(&mut graph, |reads, key| secrets.get(reads, key).copied());
    assert_eq!(secrets.take_want_changes(&mut graph), []);
    for _ in 0..2 {
        users.mark(&mut graph, 7);
        users.settle(&mut graph, |reads, _| secrets.want(reads, &1).copied());
        assert_eq!(secrets.take_want_changes(&mut graph), [(1, true)]);
        assert!(secrets.is_wanted(&1));
        users.forget(&mut graph, &7);
        assert_eq!(secrets.take_want_changes(&mut graph), [(1, false)]);
        assert!(!secrets.is_wanted(&1));
    }
}

#[test]
fn panic_in_one_key_keeps_its_value_and_spares_the_others() {
    let mut graph = Graph::default();
    let mut facts: Table<u8, u8> = Table::new(&mut graph, "facts", Missing::Absent);
    let mut stage: Stage<u8, u8> = Stage::new(&mut graph, "stage");
    let run = |reads: &mut Reads, key: &u8, facts: &Table<u8, u8>| {
        let value = *facts.get(reads, key)?;
        assert!(value != 9, "nine is bad");
        Some(value)
    };
    for key in [1, 2] {
        facts.set(&mut graph, key, key);
        stage.mark(&mut graph, key);
    }
    stage.settle(&mut graph, |r, k| run(r, k, &facts));
    facts.set(&mut graph, 1, 9);
    facts.set(&mut graph, 2, 3);
    stage.settle(&mut graph, |r, k| run(r, k, &facts));
    assert_eq!((stage.peek(&1), stage.peek(&2)), (Some(&1), Some(&3)));
    let panics = graph.take_panics();
    assert_eq!(panics.len(), 1);
    assert!(panics[0].message.contains("nine is bad"));
    facts.set(&mut graph, 1, 4);
    stage.settle(&mut graph, |r, k| run(r, k, &facts));
    assert_eq!(stage.peek(&1), Some(&4), "its reads were kept, so it recovers");
}

#[test]
fn index_logs_only_real_changes() {
    let mut graph = Graph::default();
    let mut index: Index<&str, u8, (u8, &str), u32> = Index::with_log(&mut graph, "index");
    index.set(&mut graph, "a", vec![(1, (5, "a"), 10), (2, (1, "a"), 20)]);
    index.set(&mut graph, "b", vec![(1, (3, "b"), 30)]);
    index.take_changes();
    index.set(&mut graph, "a", vec![(1, (5, "a"), 10), (3, (1, "a"), 20)]);
    let groups: Vec<_> = index.take_changes().into_iter().map(|c| (c.group, c.old, c.new)).collect();
    assert_eq!(groups, [(2, Some(20), None), (3, None, Some(20))]);
    let order: Vec<_> = index.peek(&1).unwrap().values().copied().collect();
    assert_eq!(order, [30, 10]);
}

#[test]
fn tally_counts_sources_and_wakes_readers_of_changed_counts() {
    let mut graph = Graph::default();
    let mut tally: Tally<&str, u8> = Tally::new(&mut graph, "tally");
    let mut counts: Stage<u8, usize> = Stage::new(&mut graph, "counts");
    for group in [1, 2] {
        counts.mark(&mut graph, group);
    }
    let mut settled = |graph: &mut Graph, tally: &Tally<&str, u8>| {
        counts.settle(graph, |reads, group| Some(tally.count(reads, group)));
        let mut changed = counts.take_changed();
        changed.sort_unstable();
        (changed, [1, 2].map(|group| counts.peek(&group).copied().unwrap_or_default()))
    };
    tally.set(&mut graph, "a", [1, 2].into());
    tally.set(&mut graph, "b", [1].into());
    assert_eq!(settled(&mut graph, &tally), (vec![1, 2], [2, 1]));
    tally.set(&mut graph, "a", [1].into());
    assert_eq!(settled(&mut graph, &tally), (vec![2], [2, 0]));
    tally.set(&mut graph, "a", [].into());
    assert_eq!(settled(&mut graph, &tally), (vec![1], [1, 0]));
}
