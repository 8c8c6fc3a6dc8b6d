//! A proxy refuses a virtual host: only the bad rules stay behind, and their routes say so.

mod random;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use gatehouse_testkit::scale;
use gatehouse_translate::Change;
use scene::{SHAPE, Scene};

#[test]
fn one_bad_edit_among_many_keeps_its_last_good_bytes_and_the_others_serve() {
    let mut scene = Scene::new(200, "poison");
    for index in 0..100 {
        scene.edit(index, if index == 42 { "poison" } else { "second" });
    }
    let refusals = scene.run();
    assert!((1..=12).contains(&refusals), "{refusals} refusals");
    assert_eq!(scene.does(42).as_deref(), Some("first"));
    assert!(
        (0..100).filter(|index| *index != 42).all(|index| scene.does(index).as_deref() == Some("second"))
    );
    assert_eq!(scene.refused_routes(), ["route-42"]);

    scene.edit(7, "third");
    assert_eq!(scene.run(), 0, "the others stay editable");
    assert_eq!(scene.does(7).as_deref(), Some("third"));

    scene.edit(42, "mended");
    assert_eq!(scene.run(), 0);
    assert_eq!(scene.does(42).as_deref(), Some("mended"));
    assert_eq!(scene.refused_routes(), Vec::<String>::new());
}

#[test]
fn new_bad_rules_answer_500() {
    let mut scene = Scene::new(5, "poison");
    for index in 10..40 {
        scene.edit(index, if index % 10 == 3 { "poison" } else { "new" });
    }
    scene.run();
    for index in 10..40 {
        let expected = if index % 10 == 3 { "500" } else { "new" };
        assert_eq!(scene.does(index).as_deref(), Some(expected), "route {index}");
    }
    assert_eq!(scene.refused_routes(), ["route-13", "route-23", "route-33"]);
}

#[test]
fn bad_match_leaves_nothing_behind() {
    let mut scene = Scene::new(5, "/route-23/");
    for index in 10..40 {
        scene.edit(index, "new");
    }
    scene.run();
    assert!((10..40).filter(|index| *index != 23).all(|index| scene.does(index).as_deref() == Some("new")));
    assert_eq!(scene.does(23), None);
    assert_eq!(scene.refused_routes(), ["route-23"]);
}

#[test]
fn edits_during_the_search_are_worked_in() {
    let mut scene = Scene::new(100, "poison");
    for index in 0..60 {
        scene.edit(index, if index == 33 { "poison" } else { "second" });
    }
    for round in 0..4 {
        assert!(scene.step().is_some(), "the search goes on");
        scene.edit(70 + round, "meanwhile");
    }
    scene.world.apply(Change::Remove(scale::route(SHAPE, 50, "second").key()));
    scene.run();
    assert_eq!(scene.does(33).as_deref(), Some("first"));
    assert_eq!(scene.does(50), None);
    assert!(
        (0..60).filter(|i| ![33, 50].contains(i)).all(|index| scene.does(index).as_deref() == Some("second"))
    );
    assert!((70..74).all(|index| scene.does(index).as_deref() == Some("meanwhile")));
    assert_eq!(scene.refused_routes(), ["route-33"]);
}

#[test]
fn known_bad_bytes_are_not_sent_again() {
    let mut scene = Scene::new(20, "poison");
    scene.edit(5, "poison");
    assert!(scene.run() > 0);
    scene.edit(5, "good");
    scene.run();
    scene.edit(5, "poison");
    assert_eq!(scene.run(), 0);
    assert_eq!(scene.does(5).as_deref(), Some("good"));
    assert_eq!(scene.refused_routes(), ["route-5"]);
}

#[test]
fn bad_bytes_that_nobody_has_any_more_are_forgotten_in_the_end() {
    let mut scene = Scene::new(3, "poison");
    scene.edit(1, "poison that stays");
    scene.run();
    for edit in 0..280 {
        scene.edit(2, &format!("poison {edit}"));
        assert!(scene.run() > 0);
    }
    let remembered = scene.world.refused_fragments();
    assert!((2..200).contains(&remembered), "{remembered}");
    assert_eq!(scene.refused_routes(), ["route-1", "route-2"]);
    assert_eq!(scene.does(1).as_deref(), Some("first"));
    assert_eq!(scene.does(2).as_deref(), Some("first"));
    scene.edit(2, "good");
    assert_eq!(scene.run(), 0);
    assert_eq!(scene.refused_routes(), ["route-1"]);
    // Forgotten, it is refused once more.
    scene.edit(2, "poison 0");
    assert!(scene.run() > 0);
    assert_eq!(scene.does(2).as_deref(), Some("good"));
}

#[test]
fn withdrawn_match_of_the_same_length_serves_no_more() {
    let mut scene = Scene::new(5, "poison");
    scene.rules(3, &[("/old", "first")]);
    scene.run();
    scene.rules(3, &[("/new", "poison")]);
    assert!(scene.run() > 0);
    assert_eq!(scene.serves("/old"), None);
    assert_eq!(scene.serves("/new").as_deref(), Some("500"));
    assert_eq!(scene.refused_routes(), ["route-3"]);

    scene.rules(3, &[("/old", "second")]);
    scene.run();
    scene.rules(3, &[("/new", "poison")]);
    assert_eq!(scene.run(), 0, "it is known to be bad");
    assert_eq!(scene.serves("/old"), None);
    assert_eq!(scene.serves("/new").as_deref(), Some("500"));
}

#[test]
fn known_bad_bytes_after_an_edit_without_an_answer_keep_what_was_accepted() {
    let mut scene = Scene::new(5, "poison");
    scene.edit(3, "poison");
    scene.run();
    scene.edit(3, "good");
    scene.run();
    scene.edit(3, "more poison");
    assert!(scene.send().is_some(), "nobody answers that");
    scene.edit(3, "poison");
    scene.run();
    assert_eq!(scene.does(3).as_deref(), Some("good"));
    assert_eq!(scene.refused_routes(), ["route-3"]);
}

#[test]
fn refusal_told_while_another_version_was_current_counts_when_it_is_told_again() {
    let mut scene = Scene::new(5, "poison");
    scene.edit(3, "poison");
    let bad = scene.send().expect("a host");
    scene.edit(3, "second");
    assert!(scene.send().is_some());
    assert!(!scene.refuse(&bad), "it is about another version");
    scene.edit(3, "poison");
    assert_eq!(scene.send().expect("a host").version, bad.version);
    assert!(scene.refuse(&bad));
    scene.run();
    assert_eq!(scene.does(3).as_deref(), Some("first"));
    assert_eq!(scene.refused_routes(), ["route-3"]);
}

#[test]
fn rule_that_moves_up_while_its_edit_is_refused_keeps_its_last_good_bytes() {
    let mut scene = Scene::new(5, "poison");
    scene.rules(3, &[("/gone", "first"), ("/kept", "first")]);
    scene.run();
    scene.rules(3, &[("/kept", "poison")]);
    assert!(scene.run() > 0);
    assert_eq!(scene.serves("/gone"), None);
    assert_eq!(scene.serves("/kept").as_deref(), Some("first"));
}

#[test]
fn search_goes_on_when_its_next_question_was_answered_before() {
    let mut scene = Scene::new(0, "poison");
    let answer = |scene: &mut Scene| scene.host().is_some_and(|host| scene.answer(&host));
    scene.forward(2, &[("/c", "one", "svc-1"), ("/a", "three", "svc-1")]);
    scene.send();
    scene.forward(0, &[("/longer", "poison-one", "svc-1")]);
    answer(&mut scene);
    scene.forward(1, &[("/d", "one", "svc-1")]);
    scene.send();
    answer(&mut scene);
    for rules in [&[("/b", "one", "svc-1")][..], &[("/longer", "one", "svc-1"), ("/a", "three", "svc-1")]] {
        scene.forward(2, rules);
        scene.send();
    }
    scene.forward(0, &[("/a", "poison-one", "svc-1")]);
    scene.run();
    scene.forward(0, &[("/a", "one", "svc-1"), ("/c", "one", "svc-1"), ("/d", "poison-last", "svc-1")]);
    scene.run();
    assert_eq!(scene.does_rule(0, 2).as_deref(), Some("500"));
}

#[test]
fn new_bad_rule_answers_500_although_a_rule_without_replacement_joins_the_search() {
    let mut scene = Scene::new(3, "poison");
    scene.rules(1, &[("/new", "poison")]);
    let bad = scene.send().expect("a host");
    assert!(scene.refuse(&bad));
    // It answers 500 by itself, so nothing can stand in for it.
    scene.forward(2, &[("/poison", "one", "svc-missing")]);
    scene.run();
    assert_eq!(scene.serves("/new").as_deref(), Some("500"));
    assert_eq!(scene.serves("/poison"), None);
    assert_eq!(scene.refused_routes(), ["route-1", "route-2"]);
}

#[test]
fn edits_beside_a_bad_match_are_not_blamed() {
    for steps in 0..6 {
        let mut scene = Scene::new(5, "/bad");
        scene.rules(3, &[("/bad", "new")]);
        for _ in 0..steps {
            scene.step();
        }
        scene.edit(1, "second");
        scene.run();
        assert_eq!(scene.does(1).as_deref(), Some("second"), "edited after {steps} answers");
        assert_eq!(scene.does(3), None);
        assert_eq!(scene.refused_routes(), ["route-3"]);
    }
}

#[test]
fn bad_match_costs_three_versions() {
    let mut scene = Scene::new(5, "/bad");
    scene.rules(3, &[("/bad", "new")]);
    assert_eq!(scene.run(), 2, "itself, and what answers 500 in its stead");
    scene.edit(1, "second");
    assert_eq!(scene.run(), 0);
}

#[test]
fn new_bad_rule_answers_500_beside_one_with_a_bad_match() {
    for steps in 0..8 {
        let mut scene = Scene::new(5, "poison");
        scene.rules(3, &[("/new", "poison")]);
        for _ in 0..steps {
            scene.step();
        }
        scene.rules(4, &[("/poison", "new")]);
        scene.run();
        assert_eq!(scene.serves("/new").as_deref(), Some("500"), "joined after {steps} answers");
        assert_eq!(scene.serves("/poison"), None);
        assert_eq!(scene.refused_routes(), ["route-3", "route-4"]);
    }
}

#[test]
fn known_bad_rule_that_moves_keeps_its_last_good_bytes() {
    let mut scene = Scene::new(5, "poison");
    scene.rules(3, &[("/kept", "poison")]);
    scene.run();
    scene.rules(3, &[("/gone", "first"), ("/kept", "first")]);
    scene.run();
    // The same bytes as those that were refused first.
    scene.rules(3, &[("/kept", "poison")]);
    assert_eq!(scene.run(), 0);
    assert_eq!(scene.serves("/gone"), None);
    assert_eq!(scene.serves("/kept").as_deref(), Some("first"));
}
