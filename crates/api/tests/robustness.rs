//! Nothing that a file contains panics.

use gatehouse_api::{admit, source, to_yaml};
use proptest::prelude::*;
use serde_json::{Value, json};

const SEED: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: &meta
  name: web
  labels: {a: 'b', \"c\": d}
spec:
  parentRefs:
  - name: eg   # comment
  rules:
  - matches:
    - path: {type: Exact, value: /a}
    filters:
    - type: CORS
      cors: {allowOrigins: ['*'], maxAge: 0x10}
  text: |
    block
  <<: *meta
---
apiVersion: v1
kind: Secret
metadata: {name: s}
data: {a: eA==}
---
kind: List
items: [{kind: Service}]
";

fn run(text: &str) {
    for document in source::parse(text) {
        let lines = text.lines().count() + 1;
        let diagnostics = match admit(&document) {
            Ok(admitted) => admitted.warnings,
            Err(diagnostics) => {
                assert!(diagnostics.iter().any(gatehouse_api::Diagnostic::is_error));
                diagnostics
            }
        };
        for diagnostic in diagnostics {
            assert!((1..=lines).contains(&diagnostic.line) && diagnostic.column >= 1, "{diagnostic:?}");
        }
    }
}

/// Names that occur in schemas, so that trees reach deep into them.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "name",
        "rules",
        "matches",
        "path",
        "type",
        "value",
        "filters",
        "backendRefs",
        "parentRefs",
        "port",
        "weight",
        "listeners",
        "tls",
        "data",
        "ports",
        "endpoints",
        "addresses",
        "timeouts",
        "request",
        "labels",
        "namespace",
        "hostnames",
        "mode",
        "certificateRefs",
        "x",
    ];
    proptest::sample::select(words.to_vec()).prop_map(str::to_owned)
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,12}".prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(word(), inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

const KINDS: [(&str, &str); 11] = [
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
    ("gateway.networking.k8s.io/v1", "ListenerSet"),
    ("gateway.envoyproxy.io/v1alpha1", "Backend"),
    ("gateway.envoyproxy.io/v1alpha1", "EnvoyProxy"),
    ("gateway.networking.x-k8s.io/v1alpha1", "XBackend"),
    ("gateway.networking.x-k8s.io/v1alpha1", "XBackendTrafficPolicy"),
    ("v1", "Service"),
    ("v1", "Secret"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_bytes_do_not_panic(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..12)) {
        let mut bytes = SEED.as_bytes().to_vec();
        let special = b"\t\n :-[]{}&*!|>'\"%@`#,?<\\\0\xff\xef";
        for (at, byte, action) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match action {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, special[usize::from(byte) % special.len()]),
                2 => { bytes.remove(at); }
                _ => bytes.truncate(at.max(1)),
            }
        }
        run(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn arbitrary_text_does_not_panic(text in "[ -~\n\t\u{80}-\u{ff}]{0,200}") {
        run(&text);
    }

    #[test]
    fn arbitrary_trees_do_not_panic(kind in 0..KINDS.len(), spec in tree(), metadata in tree(), other in tree()) {
        let (api_version, kind) = KINDS[kind];
        let mut object = json!({"apiVersion": api_version, "kind": kind, "spec": spec, "metadata": {"name": "a"}});
        object["data"] = other.clone();
        object["endpoints"] = other;
        if metadata.is_object() {
            object["metadata"] = metadata;
        }
        run(&to_yaml(&object));
    }
}
