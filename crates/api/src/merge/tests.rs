use serde_json::{Value, json};

use super::{ENVOY_PROXY_SPEC, json as json_merge, of_kind, strategic};

fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, without_empty(value)))
            .filter(|(_, value)| {
                !value.is_null() && value.as_object().is_none_or(|fields| !fields.is_empty())
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(without_empty).collect(),
        scalar => scalar,
    }
}

#[test]
fn strategic_merges_give_what_kubectl_gives() {
    let cases: Value = serde_yaml::from_str(include_str!("cases.yaml")).unwrap();
    let cases = (cases["originals"].clone(), cases["cases"].as_array().unwrap().clone());
    assert!(cases.1.len() > 30);
    for case in cases.1 {
        let kind = case["kind"].as_str().unwrap();
        let original = cases.0[kind].clone();
        let merged = strategic(original.clone(), &case["patch"], of_kind(kind)).unwrap();
        assert_eq!(without_empty(merged), json_merge(original, &case["difference"]), "{}", case["name"]);
    }
}

#[test]
fn json_merge_follows_rfc_7386() {
    let cases = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a"]), json!({"a": {"b": null}}), json!({"a": {}})),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!({"a": 1}), json!(["c"]), json!(["c"])),
    ];
    for (original, patch, expected) in cases {
        assert_eq!(json_merge(original, &patch), expected, "{patch}");
    }
}

#[test]
fn faulty_patches_name_the_field() {
    let pod = json!({"spec": {"template": {"spec": {"containers": [{"name": "envoy"}]}}}});
    let in_pod = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let faults = [
        (in_pod(json!([{"image": "x"}])), "spec.template.spec.containers", "each item must have \"name\""),
        (in_pod(json!([{"$patch": "delete"}])), "spec.template.spec.containers", "needs \"name\""),
        (in_pod(json!([{"$patch": "merge", "name": "a"}])), "spec.template.spec.containers", "\"merge\""),
        (json!({"spec": {"$patch": "remove"}}), "spec", "\"remove\""),
        (json!({"spec": {"$retainKeys": ["a"], "b": 1}}), "spec", "\"b\" is set but not among"),
        (json!({"spec": {"$retainKeys": "a"}}), "spec", "a list is expected"),
        (json!([]), "", "must be an object"),
    ];
    for (patch, at, why) in faults {
        let fault = strategic(pod.clone(), &patch, of_kind("Deployment")).unwrap_err();
        assert_eq!(fault.at, at);
        assert!(fault.why.contains(why), "{fault}");
    }
}

#[test]
fn env_of_an_envoy_proxy_merges_by_name() {
    let spec =
        |env: Value| json!({"provider": {"kubernetes": {"envoyDeployment": {"container": {"env": env}}}}});
    let merged = strategic(
        spec(json!([{"name": "A", "value": "1"}])),
        &spec(json!([{"name": "B", "value": "2"}])),
        &ENVOY_PROXY_SPEC,
    );
    assert_eq!(merged.unwrap(), spec(json!([{"name": "B", "value": "2"}, {"name": "A", "value": "1"}])));
}
