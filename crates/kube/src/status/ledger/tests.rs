use serde_json::{Value, json};

use super::*;

const OURS: &[&str] = &["ours"];

fn key(name: &str) -> Key {
    Key { kind: "HTTPRoute", object: NamespacedName::new("ns", name) }
}

fn status(reason: &str) -> Value {
    let conditions = json!([{ "type": "Accepted", "status": "True", "reason": reason }]);
    json!({ "parents": [{ "parentRef": { "name": "g" }, "controllerName": "ours", "conditions": conditions }] })
}

fn desired(reason: &str) -> Desired {
    let digest = Digest::of(Shape::Route, &status(reason), OURS);
    Desired { status: Some(status(reason).to_string().into()), generation: 1, digest }
}

fn nothing() -> Desired {
    Desired { status: None, generation: 1, digest: Digest::nothing() }
}

fn seen(version: u64, reason: &str) -> Seen {
    Seen { version, digest: Digest::of(Shape::Route, &status(reason), OURS) }
}

fn unsaid(version: u64) -> Seen {
    Seen { version, digest: Digest::nothing() }
}

fn leading() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.lead(true);
    ledger
}

/// Takes what is next and ends it as written; returns how long that object waits.
fn write(ledger: &mut Ledger, version: u64) -> Duration {
    let (key, desired) = ledger.next().expect("something to write");
    let seen = Seen { version, digest: desired.digest };
    ledger.done(&key, &desired, &Outcome::Written(seen)).unwrap_or_default()
}

#[test]
fn status_that_the_live_object_has_costs_nothing() {
    let mut ledger = leading();
    ledger.see(&key("a"), Some(seen(1, "A")));
    ledger.desire(&key("a"), desired("A"));
    assert!(ledger.next().is_none());
}

#[test]
fn many_changes_of_one_object_are_one_write_of_the_last() {
    let mut ledger = leading();
    for reason in ["A", "B", "C"] {
        ledger.desire(&key("a"), desired(reason));
    }
    assert_eq!(ledger.next().map(|(_, desired)| desired), Some(desired("C")));
    assert!(ledger.next().is_none());
}

#[test]
fn change_during_a_write_is_written_after_it() {
    let mut ledger = leading();
    ledger.desire(&key("a"), desired("A"));
    let (busy, first) = ledger.next().expect("queued");
    ledger.desire(&key("a"), desired("B"));
    assert!(ledger.next().is_none(), "one write per object at a time");
    ledger.done(&busy, &first, &Outcome::Written(seen(2, "A")));
    assert_eq!(ledger.next().map(|(_, desired)| desired), Some(desired("B")));
}

#[test]
fn standby_writes_nothing_and_a_new_leader_only_what_differs() {
    let mut ledger = Ledger::default();
    for (name, live) in [("same", "A"), ("other", "B")] {
        ledger.see(&key(name), Some(seen(1, live)));
        ledger.desire(&key(name), desired("A"));
    }
    assert!(ledger.next().is_none());
    ledger.lead(true);
    assert_eq!(ledger.next().map(|(key, _)| key), Some(key("other")));
    assert!(ledger.next().is_none());
}

#[test]
fn leadership_lost_empties_the_queue() {
    let mut ledger = leading();
    ledger.desire(&key("a"), desired("A"));
    ledger.lead(false);
    assert!(ledger.next().is_none());
    ledger.lead(true);
    assert!(ledger.next().is_some());
}

#[test]
fn overwritten_status_is_repaired_at_once_and_then_ever_more_slowly() {
    let mut ledger = leading();
    ledger.desire(&key("a"), desired("A"));
    assert_eq!(write(&mut ledger, 2), Duration::ZERO);
    ledger.see(&key("a"), Some(seen(3, "B")));
    let first = write(&mut ledger, 4);
    ledger.see(&key("a"), Some(seen(5, "B")));
    assert!(ledger.next().is_none(), "it waits");
    ledger.retry(&key("a"));
    let second = write(&mut ledger, 6);
    assert!(second > first && first > Duration::ZERO);
}

#[test]
fn older_sight_does_not_undo_a_write() {
    let mut ledger = leading();
    ledger.desire(&key("a"), desired("A"));
    assert_eq!(write(&mut ledger, 7), Duration::ZERO);
    ledger.see(&key("a"), Some(unsaid(6)));
    assert!(ledger.next().is_none());
}

#[test]
fn difference_that_is_not_ours_to_change_is_looked_at_once() {
    let mut ledger = leading();
    ledger.see(&key("a"), Some(seen(1, "B")));
    ledger.desire(&key("a"), desired("A"));
    let (busy, wanted) = ledger.next().expect("differs");
    ledger.done(&busy, &wanted, &Outcome::Unchanged(seen(1, "B")));
    ledger.see(&key("a"), Some(seen(2, "B")));
    assert!(ledger.next().is_none());
    ledger.see(&key("a"), Some(seen(3, "C")));
    assert!(ledger.next().is_some());
}

#[test]
fn route_of_others_is_not_even_remembered() {
    let mut ledger = leading();
    ledger.see(&key("a"), Some(unsaid(1)));
    ledger.desire(&key("a"), nothing());
    assert!(ledger.next().is_none());
    ledger.see(&key("a"), Some(unsaid(2)));
    assert!(ledger.entries.is_empty());
}

#[test]
fn entries_left_by_an_earlier_run_are_taken_away() {
    let mut ledger = leading();
    ledger.see(&key("a"), Some(seen(1, "A")));
    ledger.desire(&key("a"), nothing());
    assert_eq!(ledger.next().map(|(_, desired)| desired), Some(nothing()));
}

#[test]
fn object_that_is_gone_is_not_written_until_it_is_back() {
    let mut ledger = leading();
    ledger.desire(&key("a"), desired("A"));
    let (busy, wanted) = ledger.next().expect("queued");
    ledger.done(&busy, &wanted, &Outcome::Gone);
    assert!(ledger.next().is_none());
    ledger.see(&key("a"), Some(unsaid(9)));
    assert!(ledger.next().is_some());
}

#[test]
fn failed_write_is_tried_again_after_a_growing_wait() {
    let mut ledger = leading();
    ledger.desire(&key("a"), desired("A"));
    let mut last = Duration::ZERO;
    for _ in 0..3 {
        let (busy, wanted) = ledger.next().expect("queued");
        let wait = ledger.done(&busy, &wanted, &Outcome::Failed).expect("waits");
        assert!(wait > last);
        assert!(ledger.next().is_none());
        last = wait;
        ledger.retry(&busy);
    }
}

#[test]
fn what_is_kept_costs_nothing_until_proxies_have_answered() {
    let mut ledger = leading();
    ledger.see(&key("a"), Some(seen(1, "A and a refusal")));
    ledger.desire(&key("a"), desired("A"));
    let (of, wanted) = ledger.next().expect("they differ");
    assert_eq!(ledger.done(&of, &wanted, &Outcome::Kept(seen(1, "A and a refusal"))), None);
    assert!(ledger.next().is_none());
    ledger.heard();
    assert_eq!(ledger.next(), Some((key("a"), desired("A"))));
    ledger.done(&of, &wanted, &Outcome::Written(seen(2, "A")));
    ledger.heard();
    assert!(ledger.next().is_none());
}
