use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::status::own::Digest;

const OURS: &[&str] =
    &["gatehouse.dev/gatewayclass-controller", "gateway.envoyproxy.io/gatewayclass-controller"];
const THEN: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-11-21T10:00:00Z";

fn condition(kind: &str, status: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": "R", "message": "", "observedGeneration": 1 })
}

fn since(mut condition: Value, time: &str) -> Value {
    condition["lastTransitionTime"] = time.into();
    condition
}

fn parent(controller: &str, gateway: &str, conditions: &[Value]) -> Value {
    json!({ "parentRef": { "name": gateway }, "controllerName": controller, "conditions": conditions })
}

#[test]
fn condition_keeps_its_time_until_its_status_changes() {
    let live = json!({ "conditions": [
        since(condition("Accepted", "True"), THEN), since(condition("Programmed", "False"), THEN),
    ] });
    let desired = json!({ "conditions": [condition("Accepted", "True"), condition("Programmed", "True")] });
    let merged = merge(Shape::Whole, &live, Some(&desired), OURS, NOW);
    assert_eq!(merged["conditions"][0]["lastTransitionTime"], THEN);
    assert_eq!(merged["conditions"][1]["lastTransitionTime"], NOW);
}

#[test]
fn foreign_condition_types_stay_on_gateway_and_listener() {
    let foreign = since(condition("example.com/Audited", "True"), THEN);
    let live = json!({
        "conditions": [foreign, since(condition("Accepted", "Unknown"), THEN)],
        "listeners": [{ "name": "http", "attachedRoutes": 0, "conditions": [foreign] }],
        "example.com/unknown": 1,
    });
    let desired = json!({
        "conditions": [condition("Accepted", "True")],
        "listeners": [{ "name": "http", "attachedRoutes": 3, "conditions": [condition("Accepted", "True")] }],
    });
    let merged = merge(Shape::Whole, &live, Some(&desired), OURS, NOW);
    assert_eq!(merged["conditions"][0], foreign);
    assert_eq!(merged["listeners"][0]["conditions"][0], foreign);
    assert_eq!(merged["listeners"][0]["attachedRoutes"], 3);
    assert_eq!(merged["example.com/unknown"], 1);
}

#[test]
fn our_conditions_addresses_and_listeners_leave_when_they_are_not_desired() {
    let live = json!({
        "conditions": [since(condition("gatehouse.dev/Programmed", "False"), THEN)],
        "addresses": [{ "type": "IPAddress", "value": "192.0.2.1" }],
        "listeners": [{ "name": "gone", "conditions": [since(condition("example.com/X", "True"), THEN)] }],
    });
    let desired = json!({ "conditions": [condition("Accepted", "True")], "addresses": [] });
    let merged = merge(Shape::Whole, &live, Some(&desired), OURS, NOW);
    assert_eq!(merged, json!({ "conditions": [since(condition("Accepted", "True"), NOW)] }));
}

#[test]
fn entries_of_all_our_names_are_replaced_and_leave_with_their_parents() {
    let live = json!({ "parents": [
        parent(OURS[1], "a", &[since(condition("Accepted", "True"), THEN)]),
        parent(OURS[0], "gone", &[]),
    ] });
    let desired = json!({ "parents": [parent(OURS[0], "a", &[condition("Accepted", "True")])] });
    let merged = merge(Shape::Route, &live, Some(&desired), OURS, NOW);
    let expected = parent(OURS[0], "a", &[since(condition("Accepted", "True"), THEN)]);
    assert_eq!(merged, json!({ "parents": [expected] }));
}

#[test]
fn ancestors_of_a_policy_belong_to_their_controllers() {
    let ancestor = |controller: &str, name: &str, conditions: &[Value]| json!({ "controllerName": controller, "ancestorRef": { "name": name }, "conditions": conditions });
    let foreign = ancestor("example.com/other", "a", &[condition("Accepted", "False")]);
    let live = json!({ "ancestors": [
        foreign, ancestor(OURS[0], "a", &[since(condition("Warning", "True"), THEN)]), ancestor(OURS[0], "gone", &[]),
    ] });
    let desired = json!({ "ancestors": [ancestor(OURS[0], "a", &[condition("Accepted", "True")])] });
    let merged = merge(Shape::Policy, &live, Some(&desired), OURS, NOW);
    let ours = ancestor(OURS[0], "a", &[since(condition("Accepted", "True"), NOW)]);
    assert_eq!(merged, json!({ "ancestors": [foreign, ours] }));
    assert_eq!(
        Digest::of(Shape::Policy, &merged, OURS),
        Digest::of(Shape::Policy, &desired, OURS),
        "times and others make no difference"
    );
    assert_eq!(merge(Shape::Policy, &merged, None, OURS, NOW), json!({ "ancestors": [foreign] }));
    assert_eq!(Shape::of_kind("ClientTrafficPolicy"), Shape::Policy);
}

#[test]
fn nothing_to_say_leaves_other_objects_alone() {
    let live = json!({ "conditions": [since(condition("Accepted", "True"), THEN)] });
    assert_eq!(merge(Shape::Whole, &live, None, OURS, NOW), live);
}

#[test]
fn what_was_seen_of_a_newer_object_is_not_overwritten() {
    let mut newer = since(condition("Accepted", "False"), THEN);
    newer["observedGeneration"] = json!(2);
    let live = json!({ "conditions": [newer] });
    let desired = json!({ "conditions": [condition("Accepted", "True"), condition("Programmed", "True")] });
    let merged = merge(Shape::Whole, &live, Some(&desired), OURS, NOW);
    assert_eq!(merged["conditions"][0], newer);
    assert_eq!(merged["conditions"][1]["type"], "Programmed");
}

#[test]
fn no_more_is_said_than_there_is_room_for() {
    let foreign: Vec<Value> =
        (0..5).map(|i| since(condition(&format!("example.com/{i}"), "True"), THEN)).collect();
    let live = json!({ "conditions": foreign });
    let ours = ["Accepted", "AddressesAssigned", "DefaultGateway", "Programmed", "ResolvedRefs"];
    let ours: Vec<Value> = ours.iter().map(|kind| condition(kind, "True")).collect();
    let desired = json!({ "conditions": ours });
    let merged = merge(Shape::Whole, &live, Some(&desired), OURS, NOW);
    let types: Vec<&str> = items(&merged["conditions"]).skip(5).filter_map(|c| c["type"].as_str()).collect();
    assert_eq!(types, ["Accepted", "Programmed", "ResolvedRefs"]);
    assert_eq!(merge(Shape::Whole, &merged, Some(&desired), OURS, NOW), merged);

    let ancestors = |controller: &str, from: usize, to: usize| -> Vec<Value> {
        let ancestor = |i: usize| json!({ "ancestorRef": { "name": i }, "controllerName": controller, "conditions": [] });
        (from..to).map(ancestor).collect()
    };
    let live = json!({ "ancestors": ancestors("example.com/other", 0, 14) });
    let desired = json!({ "ancestors": ancestors(OURS[0], 0, 5) });
    let merged = |shape| merge(shape, &live, Some(&desired), OURS, NOW)["ancestors"].as_array().map(Vec::len);
    assert_eq!((merged(Shape::Policy), merged(Shape::Backend)), (Some(16), Some(19)));
}

fn any_condition() -> impl Strategy<Value = Value> {
    let kind =
        prop::sample::select(vec!["Accepted", "ResolvedRefs", "gatehouse.dev/Programmed", "example.com/A"]);
    (kind, prop::sample::select(vec!["True", "False"]), "[a-z]{0,4}").prop_map(|(kind, status, reason)| {
        json!({ "type": kind, "status": status, "reason": reason, "message": "", "observedGeneration": 1 })
    })
}

fn conditions(timed: bool) -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(any_condition(), 0..4).prop_map(move |conditions| {
        let mut unique: Vec<Value> = Vec::new();
        for condition in conditions {
            if unique.iter().all(|other| other["type"] != condition["type"]) {
                unique.push(if timed { since(condition, THEN) } else { condition });
            }
        }
        unique
    })
}

fn entry(controllers: Vec<&'static str>, timed: bool) -> impl Strategy<Value = Value> {
    (prop::sample::select(controllers), "[a-d]", prop::option::of(0..3), conditions(timed)).prop_map(
        |(controller, gateway, section, conditions)| {
            let mut entry = parent(controller, &gateway, &conditions);
            if let Some(section) = section {
                entry["parentRef"]["sectionName"] = format!("s{section}").into();
            }
            entry
        },
    )
}

/// Parents as a user lists them: no two alike.
fn distinct(entries: Vec<Value>) -> Vec<Value> {
    let mut distinct: Vec<Value> = Vec::new();
    for entry in entries {
        let alike = |other: &Value| {
            (&other["parentRef"], &other["controllerName"]) == (&entry["parentRef"], &entry["controllerName"])
        };
        if !distinct.iter().any(alike) {
            distinct.push(entry);
        }
    }
    distinct
}

fn live_parents() -> impl Strategy<Value = Vec<Value>> {
    let names = vec!["example.com/other", "example.net/third", OURS[0], OURS[1]];
    prop::collection::vec(entry(names, true), 0..6).prop_map(distinct)
}

fn our_parents() -> impl Strategy<Value = Vec<Value>> {
    let own = |conditions: Vec<Value>| conditions.into_iter().filter(is_our_condition).collect::<Vec<_>>();
    prop::collection::vec(entry(vec![OURS[0]], false), 0..4).prop_map(move |entries| {
        let mut entries = distinct(entries);
        for entry in &mut entries {
            entry["conditions"] = own(entry["conditions"].as_array().cloned().unwrap_or_default()).into();
        }
        entries
    })
}

#[test]
fn a_proxy_that_has_not_answered_yet_makes_nothing_untrue() {
    let condition =
        |status: &str, reason: &str| json!({ "type": "Programmed", "status": status, "reason": reason });
    let gateway = |condition: Value| json!({ "conditions": [condition], "listeners": [{ "name": "a", "conditions": [condition] }] });
    let mut live = gateway(condition("True", "Programmed"));
    live["addresses"] = json!([{ "type": "IPAddress", "value": "192.0.2.1" }]);
    let merged = |new: Value| merge(Shape::Whole, &live, Some(&new), OURS, NOW);
    assert_eq!(merged(gateway(condition("False", "Pending"))), live);
    let refused = merged(gateway(condition("False", "Invalid")));
    assert_eq!(refused["conditions"][0]["reason"], "Invalid");
    assert_eq!(refused["listeners"][0]["conditions"][0]["reason"], "Invalid");
    let mut gone = gateway(condition("True", "Programmed"));
    gone["addresses"] = json!([]);
    assert_eq!(merged(gone)["addresses"], Value::Null);
}

proptest! {
    #[test]
    fn foreign_entries_stay_byte_identical_and_in_order(live in live_parents(), desired in our_parents()) {
        let (live, desired) = (json!({ "parents": live }), json!({ "parents": desired }));
        let merged = merge(Shape::Route, &live, Some(&desired), OURS, NOW);
        let foreign = |status: &Value| {
            let foreign = items(&status["parents"]).filter(|entry| !is_our_entry(entry, OURS));
            foreign.map(ToString::to_string).collect::<Vec<_>>()
        };
        prop_assert_eq!(foreign(&live), foreign(&merged));
    }

    #[test]
    fn merged_status_says_what_is_desired_and_merging_again_changes_nothing(
        live in live_parents(),
        desired in our_parents(),
    ) {
        let (live, desired) = (json!({ "parents": live }), json!({ "parents": desired }));
        let merged = merge(Shape::Route, &live, Some(&desired), OURS, NOW);
        prop_assert_eq!(&merge(Shape::Route, &merged, Some(&desired), OURS, "2027-01-01T00:00:00Z"), &merged);
        let ours = items(&merged["parents"]).filter(|entry| is_our_entry(entry, OURS)).count();
        prop_assert_eq!(ours, items(&desired["parents"]).count());
        let none = merge(Shape::Route, &merged, None, OURS, NOW);
        prop_assert_eq!(Digest::of(Shape::Route, &none, OURS), Digest::nothing());
    }

    #[test]
    fn digest_of_a_merged_gateway_is_that_of_the_desired_one(old in conditions(true), new in conditions(false)) {
        let new: Vec<_> = new.into_iter().filter(is_our_condition).collect();
        let live = json!({ "conditions": old, "listeners": [{ "name": "a", "conditions": old }] });
        let desired = json!({ "conditions": new, "listeners": [{ "name": "a", "conditions": new }] });
        let merged = merge(Shape::Whole, &live, Some(&desired), OURS, NOW);
        prop_assert_eq!(
            Digest::of(Shape::Whole, &merged, OURS),
            Digest::of(Shape::Whole, &desired, OURS)
        );
    }
}
