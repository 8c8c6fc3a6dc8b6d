//! Refusals that a route tells of since an earlier leader, which the proxies may still stand by.

use serde_json::Value;

use super::own::is_our_entry;

/// The condition by which a proxy's refusal is told.
const REFUSAL: &str = "gatehouse.dev/Programmed";

/// Takes into a route's desired status what the live one tells of refusals of this generation, where it says nothing of
/// its own. Returns whether there was any.
pub(super) fn keep_refusals(
    live: &Value,
    desired: &mut Value,
    controllers: &[impl AsRef<str>],
    generation: i64,
) -> bool {
    let live: Vec<&Value> =
        items(&live["parents"]).filter(|entry| is_our_entry(entry, controllers)).collect();
    let mut kept = false;
    for entry in desired["parents"].as_array_mut().into_iter().flatten() {
        let said = live.iter().find(|live| live["parentRef"] == entry["parentRef"]);
        let refusal = said.and_then(|said| items(&said["conditions"]).find(|c| stands(c, generation)));
        if let (Some(refusal), Value::Array(conditions)) = (refusal, &mut entry["conditions"])
            && conditions.iter().all(|condition| condition["type"] != REFUSAL)
        {
            conditions.push(refusal.clone());
            kept = true;
        }
    }
    kept
}

fn stands(condition: &Value, generation: i64) -> bool {
    condition["type"] == REFUSAL
        && condition["status"] == "False"
        && condition["observedGeneration"].as_i64() == Some(generation)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::keep_refusals;

    fn condition(kind: &str, status: &str) -> Value {
        json!({ "type": kind, "status": status, "reason": "R", "message": "", "observedGeneration": 2 })
    }

    fn route(controller: &str, conditions: &[Value]) -> Value {
        json!({ "parents": [
            { "parentRef": { "name": "g" }, "controllerName": controller, "conditions": conditions },
        ] })
    }

    fn kept(live: &Value, desired: &Value, generation: i64) -> Option<Value> {
        let mut desired = desired.clone();
        keep_refusals(live, &mut desired, &["ours"], generation).then_some(desired)
    }

    #[test]
    fn only_a_refusal_of_ours_of_this_generation_of_which_nothing_else_is_said_is_kept() {
        let (refused, accepted) =
            (condition("gatehouse.dev/Programmed", "False"), condition("Accepted", "True"));
        let live = route("ours", &[accepted.clone(), refused.clone()]);
        let desired = route("ours", std::slice::from_ref(&accepted));
        assert_eq!(kept(&live, &desired, 2), Some(live.clone()));
        assert_eq!(kept(&live, &desired, 3), None, "it spoke of an earlier generation");
        assert_eq!(kept(&live, &json!({ "parents": [] }), 2), None, "its parent is gone");
        assert_eq!(kept(&route("theirs", std::slice::from_ref(&refused)), &desired, 2), None);
        for status in ["True", "False"] {
            let said = route("ours", &[condition("gatehouse.dev/Programmed", status)]);
            assert_eq!(kept(&live, &said, 2), None, "something newer is said");
        }
        assert_eq!(kept(&route("ours", &[accepted]), &desired, 2), None);
    }
}
