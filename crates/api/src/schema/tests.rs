use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn rules() -> impl Iterator<Item = &'static Rule> {
    table().nodes.iter().flat_map(|node| &node.rules)
}

#[test]
fn every_rule_compiles() {
    let failed: Vec<_> = rules()
        .filter_map(|rule| rule.program().err().map(|error| format!("{}: {error}", rule.text)))
        .collect();
    assert_eq!(failed, [""; 0]);
    assert!(rules().count() > 100, "{}", rules().count());
}

/// The compiler does not look functions up, so this list says which ones must work; the next test proves that they do.
#[test]
fn every_function_of_a_rule_is_known() {
    let known = [
        "contains",
        "dns1123Subdomain",
        "duration",
        "endsWith",
        "hasValue",
        "isIP",
        "matches",
        "qualifiedName",
        "size",
        "split",
        "startsWith",
        "substring",
        "upperAscii",
        "validate",
    ];
    let mut used = BTreeSet::new();
    for rule in rules() {
        let program = rule.program().unwrap();
        let functions: Vec<String> =
            program.references().functions().into_iter().map(str::to_owned).collect();
        used.extend(functions.into_iter().filter(|name| name.starts_with(|c: char| c.is_alphabetic())));
    }
    let known: BTreeSet<String> = known.into_iter().map(str::to_owned).collect();
    assert_eq!(used, known);
}

fn holds(rule: &str, value: &serde_json::Value) -> Result<bool, String> {
    let rule: Rule = serde_json::from_value(json!({ "rule": rule })).unwrap();
    rule.holds(&rule::context(table(), &Schema::default(), value))
}

#[test]
fn functions_behave_as_in_kubernetes() {
    let cases = [
        ("duration(self) == duration('1h30m')", json!("90m"), true),
        ("duration(self) > duration('999ms')", json!("1s"), true),
        ("duration(self) != duration('0s')", json!("0h"), false),
        ("format.qualifiedName().validate(self).hasValue()", json!("example.com/app"), false),
        ("format.qualifiedName().validate(self).hasValue()", json!("-app"), true),
        ("isIP(self)", json!("192.0.2.1"), true),
        ("isIP(self)", json!("2001:db8::1"), true),
        ("isIP(self)", json!("::ffff:192.0.2.1"), false),
        ("isIP(self)", json!("fe80::1%eth0"), false),
        ("isIP(self)", json!("1.2.3"), false),
        ("format.dns1123Subdomain().validate(self).hasValue()", json!("a.b"), false),
        ("format.dns1123Subdomain().validate(self).hasValue()", json!("a_b"), true),
        ("self.split('/')[0] == 'a'", json!("a/b"), true),
        ("self.substring(2) == 'b'", json!("*.b"), true),
        ("self.matches('^(?i)A+$')", json!("aAa"), true),
        (r#"self.matches(r"""^\.$""")"#, json!("."), true),
        ("self.contains('%2f') && self.startsWith('/') && self.endsWith('x')", json!("/%2fx"), true),
        ("size(self) == 2 && self.size() == 2", json!("äö"), true),
        ("{'a': 1}[self] <= 1", json!("a"), true),
        (
            "self.exists_one(x, x == 1) && self.all(x, x > 0) && self.filter(x, x > 1).size() == 1",
            json!([1, 2]),
            true,
        ),
        ("has(self.a) || !has(self.b)", json!({}), true),
    ];
    for (rule, value, expected) in cases {
        assert_eq!(holds(rule, &value), Ok(expected), "{rule}");
    }
}

#[test]
fn what_cannot_be_evaluated_does_not_hold() {
    assert_eq!(holds("self.a == 1", &json!({})), Ok(false));
    assert!(holds("duration(self) > duration('1s')", &json!("soon")).is_err());
    assert!(holds("nothing(self)", &json!(1)).is_err());
    assert!(holds("self", &json!(1)).is_err());
    assert!(holds("self ==", &json!(1)).is_err());
}

#[test]
fn reserved_property_names_are_known_escaped_and_plain() {
    let kind = table().kinds.iter().find(|kind| kind.kind == "HTTPRoute").unwrap();
    let spec = table().node(table().node(kind.versions[0].node).property("spec").unwrap());
    let refs = table().node(spec.property("parentRefs").unwrap());
    let rule: Rule =
        serde_json::from_value(json!({"rule": "self[0].__namespace__ == 'x' && self[0].namespace == 'x'"}))
            .unwrap();
    let value = json!([{"namespace": "x"}]);
    assert_eq!(rule.holds(&rule::context(table(), refs, &value)), Ok(true));
}

#[test]
fn only_immutability_rules_are_skipped() {
    let skipped: BTreeSet<&str> =
        rules().filter(|rule| rule.is_transition()).map(|rule| rule.text.as_str()).collect();
    assert_eq!(skipped, BTreeSet::from(["self == oldSelf"]));
}

#[test]
fn every_pattern_compiles() {
    for node in &table().nodes {
        if let Some(pattern) = &node.pattern {
            assert!(Regex::new(pattern.as_str()).is_ok(), "{}", pattern.as_str());
        }
    }
}

#[test]
fn children_come_before_their_parents() {
    for (number, node) in table().nodes.iter().enumerate() {
        let single = [node.items, node.additional_properties, node.not];
        let several = node.all_of.iter().chain(&node.any_of).chain(&node.one_of);
        let children = node.properties.values().chain(single.iter().flatten()).chain(several);
        assert!(children.into_iter().all(|child| child.0 < number), "node {number}");
    }
}

#[test]
fn every_kind_that_is_read_is_in_the_table() {
    assert_eq!(table().kinds.len(), 22);
    assert_eq!(table().sources["sigs.k8s.io/gateway-api"], "v1.7.0");
    for kind in &table().kinds {
        let json = json!({"apiVersion": format!("{}/v1", kind.group), "kind": kind.kind, "spec": {}});
        let read = crate::Object::from_json(&json);
        let other = matches!(read, Ok(crate::Object::Other(_)));
        assert!(kind.group.is_empty() || !other, "{}/{}", kind.group, kind.kind);
    }
}

/// A value with every field that a schema knows, none of them at its default.
fn sample(id: NodeId) -> serde_json::Value {
    let node = table().node(id);
    if let Some(last) = node.allowed.last() {
        return last.clone();
    }
    match node.schema_type {
        Some(Type::Array) => json!([sample(node.items.unwrap())]),
        Some(Type::Boolean) => json!(true),
        Some(Type::Integer | Type::Number) => json!(node.minimum.unwrap_or_default().max(1)),
        Some(Type::Object) => {
            let properties = node.properties.iter().map(|(name, id)| (name.clone(), sample(*id)));
            let additional = node.additional_properties.map(|id| ("key".to_owned(), sample(id)));
            properties.chain(additional).collect()
        }
        Some(Type::String) | None => json!("text"),
    }
}

/// Paths of a value that another one has not.
fn lost(path: &str, value: &serde_json::Value, read: &serde_json::Value, out: &mut Vec<String>) {
    use serde_json::Value::{Array, Null, Object};
    match (value, read) {
        (_, Null) => out.push(path.to_owned()),
        (Object(fields), read) => {
            for (name, value) in fields {
                lost(&format!("{path}.{name}"), value, &read[name], out);
            }
        }
        (Array(items), read) => lost(&format!("{path}[]"), &items[0], &read[0], out),
        _ => {}
    }
}

#[test]
fn every_field_of_gateway_api_is_read() {
    let mut unread = Vec::new();
    let ours = ["gateway.networking.k8s.io", "gateway.networking.x-k8s.io"];
    for kind in table().kinds.iter().filter(|kind| ours.contains(&kind.group.as_str())) {
        let version = &kind.versions[0];
        let mut object = sample(version.node);
        object["apiVersion"] = json!(format!("{}/{}", kind.group, version.name));
        object["kind"] = json!(kind.kind);
        object["metadata"] = json!({ "name": "text" });
        object.as_object_mut().unwrap().remove("status");
        let read = crate::Object::from_json(&object).unwrap().to_json();
        lost(&kind.kind, &object, &read, &mut unread);
    }
    assert_eq!(unread, [""; 0]);
}
