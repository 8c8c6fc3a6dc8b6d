use super::*;

fn status(kind: &str, status: &str, reason: &str) -> Value {
    json!({"parents": [{
        "parentRef": {"name": "g"}, "controllerName": "c",
        "conditions": [{"type": kind, "status": status, "reason": reason}],
    }]})
}

#[test]
fn transition_time_stays_while_the_status_does() {
    let mut old = status("Accepted", "True", "Accepted");
    stamp(&mut old, &Value::Null, "t1");
    assert_eq!(old["parents"][0]["conditions"][0]["lastTransitionTime"], "t1");
    let mut same = status("Accepted", "True", "Other");
    stamp(&mut same, &old, "t2");
    assert_eq!(same["parents"][0]["conditions"][0]["lastTransitionTime"], "t1");
    let mut turned = status("Accepted", "False", "NoMatchingParent");
    stamp(&mut turned, &same, "t3");
    assert_eq!(turned["parents"][0]["conditions"][0]["lastTransitionTime"], "t3");
}
