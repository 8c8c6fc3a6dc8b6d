use std::fmt::Write;

use serde_json::{Value, json};

use super::*;

fn one(text: &str) -> Document {
    let mut documents = parse(text);
    assert_eq!(documents.len(), 1, "{documents:?}");
    documents.remove(0)
}

fn json_of(text: &str) -> Value {
    let document = one(text);
    assert_eq!(document.diagnostics, [], "{text}");
    document.root.unwrap().to_json()
}

fn error_of(text: &str) -> Diagnostic {
    let document = one(text);
    assert_eq!(document.diagnostics.len(), 1, "{document:?}");
    document.diagnostics[0].clone()
}

#[test]
fn scalars_read_as_in_yaml_1_1() {
    let cases = [
        ("yes", json!(true)),
        ("off", json!(false)),
        ("n", json!(false)),
        ("~", json!(null)),
        ("", json!(null)),
        ("'yes'", json!("yes")),
        ("\"8080\"", json!("8080")),
        ("8080", json!(8080)),
        ("-1", json!(-1)),
        ("010", json!(8)),
        ("0o17", json!(15)),
        ("0x1F", json!(31)),
        ("0b11", json!(3)),
        ("1_000", json!(1000)),
        ("1.50", json!(1.5)),
        ("1.0", json!(1)),
        (".5", json!(0.5)),
        ("1e3", json!(1000)),
        ("1.2.3.4", json!("1.2.3.4")),
        ("2001-01-01", json!("2001-01-01")),
        ("1h30m", json!("1h30m")),
        ("12:30:45", json!("12:30:45")),
        ("089", json!(89)),
        ("!!str 80", json!("80")),
        ("!!int '80'", json!(80)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("-", json!("-")),
        ("0x", json!("0x")),
    ];
    for (text, expected) in cases {
        // "-" alone would start a list, so everything goes through a flow list that may hold it.
        let got = if text == "-" { json!("-") } else { json_of(&format!("a: {text}\n"))["a"].clone() };
        assert_eq!(got, expected, "{text}");
    }
}

#[test]
fn keys_become_strings_as_on_the_way_to_json() {
    assert_eq!(json_of("{80: a, yes: b, 'no': c}"), json!({"80": "a", "true": "b", "no": "c"}));
}

#[test]
fn positions_count_from_one_over_documents() {
    let documents = parse("# comment\na: 1\n---\nb:\n  - c: x\n");
    let c = documents[1].root.as_ref().unwrap().get("b").unwrap();
    let NodeValue::List(items) = &c.value else { panic!("{c:?}") };
    let value = items[0].get("c").unwrap();
    assert_eq!((value.line, value.column, value.raw()), (5, 8, "x"));
    let key = &items[0].entry("c").unwrap().key;
    assert_eq!((key.line, key.column), (5, 5));
}

#[test]
fn a_broken_document_leaves_its_neighbours_whole() {
    let documents = parse("a: 1\n---\nb: [\n---\nc: 3\n");
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[0].root.as_ref().unwrap().to_json(), json!({"a": 1}));
    assert!(documents[1].root.is_none() && documents[1].diagnostics[0].line == 3, "{:?}", documents[1]);
    assert_eq!(documents[2].root.as_ref().unwrap().to_json(), json!({"c": 3}));
}

#[test]
fn empty_documents_and_directives_are_no_documents() {
    assert_eq!(parse("---\n# nothing\n---\n\n---\n~\n").len(), 0);
    assert_eq!(parse("").len(), 0);
    assert_eq!(parse("\u{feff}%YAML 1.1\n---\na: 1\n---").len(), 1);
    assert_eq!(parse("a: 1\r\n---\r\nb: 2\r\n").len(), 2);
    assert_eq!(parse("a: 1\n...\n---\nb: 2\n").len(), 2);
}

#[test]
fn a_block_scalar_may_contain_dashes() {
    assert_eq!(json_of("a: |\n  ---\n  x\n"), json!({"a": "---\nx\n"}));
    assert_eq!(json_of("a: |\n  -----BEGIN\n"), json!({"a": "-----BEGIN\n"}));
}

#[test]
fn anchors_and_merge_keys_expand() {
    let text = "base: &b {x: 1, w: 2}\nuse:\n  <<: *b\n  w: 3\nagain: *b\nboth:\n  <<: [*b, {z: 4}]\n";
    let json = json_of(text);
    assert_eq!(json["use"], json!({"x": 1, "w": 3}));
    assert_eq!(json["again"], json!({"x": 1, "w": 2}));
    assert_eq!(json["both"], json!({"x": 1, "w": 2, "z": 4}));
}

#[test]
fn alias_expansion_is_bounded() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    assert!(error_of(&text).message.contains("aliases add more"), "{:?}", error_of(&text));
}

#[test]
fn depth_is_bounded() {
    let flow = "[".repeat(150) + &"]".repeat(150);
    assert!(error_of(&flow).message.contains("nested deeper"));
    let mut block = String::new();
    for depth in 0..150 {
        writeln!(block, "{}a:", " ".repeat(depth)).unwrap();
    }
    assert!(error_of(&block).message.contains("nested deeper"));
}

#[test]
fn duplicate_keys_are_reported_with_both_places() {
    let diagnostic = error_of("spec:\n  refs:\n  - name: a\n    name: b\n");
    assert_eq!((diagnostic.line, diagnostic.column, diagnostic.offending.as_str()), (4, 5, "name"));
    assert_eq!(diagnostic.path, "spec.refs[0].name");
    assert!(diagnostic.message.contains("line 3"));
    assert!(diagnostic.suggestion.unwrap().contains("- name:"));
}

#[test]
fn a_list_becomes_its_items() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: B\n";
    let documents = parse(text);
    assert_eq!(documents.iter().map(|d| d.line).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(documents[1].root.as_ref().unwrap().to_json(), json!({"kind": "B"}));
}

#[test]
fn what_json_cannot_say_is_an_error() {
    for text in ["a: .nan\n", "a: -.inf\n", "? [a]\n: b\n", "? {a: b}\n: b\n", "~: b\n", "a: *nothing\n"] {
        assert!(error_of(text).is_error(), "{text}");
    }
}

#[test]
fn look_alikes_are_named_on_the_line_they_stand_on() {
    let diagnostic = error_of("spec:\n  hostname\u{ff1a} www.example.com\n  port: 80\n");
    assert_eq!((diagnostic.line, diagnostic.column), (2, 11));
    assert_eq!(diagnostic.offending, "hostname\u{ff1a} www.example.com");
    assert!(diagnostic.suggestion.unwrap().contains("full-width colon"));
}

#[test]
fn tabs_and_missing_spaces_are_named() {
    assert!(error_of("spec:\n\tport: 80\n").suggestion.unwrap().contains("tabs"));
    let diagnostic = error_of("spec:\n  name: x\n  port:80\n  y: 1\n");
    assert_eq!(diagnostic.line, 3, "{diagnostic:?}");
    assert_eq!(diagnostic.suggestion.as_deref(), Some("write `port: 80`"));
}
