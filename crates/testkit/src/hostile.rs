//! Objects as nobody would write them: every leaf may hold what breaks parsers.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::events::{any_object, base};

/// Objects of all kinds with some leaves replaced, after [`base`], as JSON; not all can be read as their kind.
pub fn objects(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Value>> {
    proptest::collection::vec(object(), count).prop_map(|objects| base().into_iter().chain(objects).collect())
}

fn object() -> impl Strategy<Value = Value> {
    let change = (any::<Index>(), leaf());
    (any_object(), proptest::collection::vec(change, 0..4)).prop_map(|(mut object, changes)| {
        for (place, value) in changes {
            let mut leaves = Vec::new();
            collect(&mut object, &mut leaves);
            if !leaves.is_empty() {
                let place = place.index(leaves.len());
                *leaves.swap_remove(place) = value;
            }
        }
        object
    })
}

/// Leaves, but for the kind and version: another kind would only be ignored.
fn collect<'a>(value: &'a mut Value, leaves: &mut Vec<&'a mut Value>) {
    match value {
        Value::Object(fields) => fields
            .iter_mut()
            .filter(|(key, _)| !matches!(key.as_str(), "kind" | "apiVersion"))
            .for_each(|(_, value)| collect(value, leaves)),
        Value::Array(items) => items.iter_mut().for_each(|item| collect(item, leaves)),
        leaf => leaves.push(leaf),
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    let texts = vec![
        "",
        " ",
        "*",
        "*.",
        ".",
        "..",
        "*.*.example.com",
        "/",
        "//",
        "a/b",
        "%",
        "%ff",
        "\0",
        "a\0b",
        "\r\nx: y",
        "\u{202e}abc",
        "🚪.example.com",
        "xn--",
        "[::1]:80",
        "(((((",
        "[a-z",
        "(?P<x>a)\\1",
        "a{1,100000}",
        "9999999999999999999999h",
        "-1s",
        "1e9s",
        "{{ .Values.x }}",
        ":authority",
        "host",
        "transfer-encoding",
        "https://*.*",
    ];
    prop_oneof![
        6 => select(texts).prop_map(Value::from),
        2 => any::<String>().prop_map(Value::from),
        1 => "[a-z]{300}".prop_map(Value::from),
        2 => select(vec![json!(0), json!(-1), json!(65_535), json!(65_536), json!(u32::MAX), json!(u64::MAX),
            json!(i64::MIN), json!(1.5), json!(1e300)]),
        1 => select(vec![json!(null), json!(true), json!([]), json!({})]),
    ]
}
