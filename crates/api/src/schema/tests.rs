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
