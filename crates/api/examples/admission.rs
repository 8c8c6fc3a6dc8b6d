//! How long 10,000 HTTPRoutes take from text to objects: `cargo run --release -p gatehouse-api --example admission`.
#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::{fmt::Write, time::Instant};

use gatehouse_api::{admit, source};

const ROUTES: usize = 10_000;

fn main() {
    let text = routes();
    let started = Instant::now();
    let documents = source::parse(&text);
    let parsed = started.elapsed();
    let admitted = documents.iter().filter(|document| admit(document).is_ok()).count();
    let admission = started.elapsed().saturating_sub(parsed);
    println!("{} bytes, {admitted} of {ROUTES} admitted: parse {parsed:?}, admit {admission:?}", text.len());
}

fn routes() -> String {
    let mut text = String::new();
    for number in 0..ROUTES {
        write!(
            text,
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: route-{number}
  namespace: default
  labels:
    app: web
spec:
  parentRefs:
  - name: eg
  hostnames:
  - host-{number}.example.com
  rules:
  - matches:
    - path:
        type: PathPrefix
        value: /api
      headers:
      - name: x-version
        value: v2
    - path:
        type: Exact
        value: /health
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        add:
        - name: x-route
          value: route-{number}
    backendRefs:
    - name: a
      port: 3000
      weight: 90
    - name: b
      port: 3000
      weight: 10
    timeouts:
      request: 10s
      backendRequest: 2s
"
        )
        .expect("writing to a string cannot fail");
    }
    text
}
