use super::Hostname;

fn h(text: &str) -> Hostname {
    Hostname::parse(text)
}

#[test]
fn wildcard_matches_one_or_more_labels_but_not_the_suffix_itself() {
    assert!(h("*.example.com").matches("a.example.com"));
    assert!(h("*.example.com").matches("a.b.example.com"));
    assert!(!h("*.example.com").matches("example.com"));
    assert!(!h("*.example.com").matches(".example.com"));
    assert!(!h("*.example.com").matches("badexample.com"));
}

#[test]
fn intersection_is_the_narrower_pattern() {
    assert_eq!(h("").intersect(&h("a.com")), Some(h("a.com")));
    assert_eq!(h("*.foo.com").intersect(&h("*.com")), Some(h("*.foo.com")));
    assert_eq!(h("*.foo.com").intersect(&h("a.foo.com")), Some(h("a.foo.com")));
    assert_eq!(h("*.foo.com").intersect(&h("foo.com")), None);
    assert_eq!(h("*.foo.com").intersect(&h("*.bar.com")), None);
}

#[test]
fn names_are_case_insensitive() {
    assert_eq!(h("WWW.Example.COM"), h("www.example.com"));
}

#[test]
fn specificity_orders_exact_over_wildcard_over_any() {
    let mut all = [h("*"), h("a.com"), h("*.long.example.com"), h("*.com"), h("b.example.com")];
    all.sort_by_key(Hostname::specificity);
    let text: Vec<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["*", "*.com", "*.long.example.com", "a.com", "b.example.com"]);
}

#[test]
fn ancestors_go_from_narrow_to_wide() {
    let text: Vec<_> = h("a.b.com").ancestors().map(|p| p.to_string()).collect();
    assert_eq!(text, ["a.b.com", "*.b.com", "*.com", "*"]);
}
