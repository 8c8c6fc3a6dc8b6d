//! Certificates of clients: who is let in, who is turned away, and what the Gateway itself shows.

use gatehouse_testkit::certificates::{EXPIRED, FIRST, Pair, SECOND};
use serde_json::{Value, json};

use crate::streams::clients::{Answer, exchange, tcp_backend, tls_backend, tls_exchange_as};
use crate::streams::{Scene, backend, route, tls, until};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: www.example.com\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A Gateway with an HTTPS listener and a route to a backend that always answers 200.
fn scene() -> Scene {
    let mut scene = Scene::start(&json!([tls("https", "*.example.com", "Terminate")]));
    scene.put(backend("ok", tcp_backend(OK)));
    scene.put(route("HTTPRoute", "ok", &["www.example.com"], &[("ok", 1)]));
    scene
}

fn gateway(tls_of_gateway: &Value) -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": "gw" },
        "spec": { "gatewayClassName": "c", "tls": tls_of_gateway,
            "listeners": [tls("https", "*.example.com", "Terminate")] } })
}

fn checked(mode: &str) -> Value {
    gateway(&json!({ "frontend": { "default": { "validation": {
        "mode": mode, "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": "ca" }] } } } }))
}

fn authorities(pem: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "ca" }, "data": { "ca.crt": pem } })
}

/// Whether a client with this certificate gets an answer from the backend.
fn served(scene: &Scene, certificate: Option<Pair>) -> bool {
    let answer = tls_exchange_as(scene.port, "www.example.com", certificate, REQUEST);
    matches!(answer, Answer::Text(text) if text.starts_with("HTTP/1.1 200"))
}

fn becomes(scene: &Scene, what: &str, certificate: Option<Pair>, wanted: bool) {
    let answer = |served| Answer::Text(if served { "served" } else { "rejected" }.to_owned());
    until(what, &answer(wanted), || answer(served(scene, certificate)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_clients_with_a_valid_certificate_are_served() {
    let mut scene = scene();
    scene.settle();
    becomes(&scene, "unchecked", None, true);

    scene.put(authorities(FIRST.0));
    scene.put(checked("AllowValidOnly"));
    scene.settle();
    becomes(&scene, "without a certificate", None, false);
    assert!(served(&scene, Some(FIRST)), "signed by the authority");
    assert!(!served(&scene, Some(SECOND)), "signed by somebody else");

    // Nothing but the secret changes.
    scene.put(authorities(SECOND.0));
    scene.settle();
    becomes(&scene, "signed by the new authority", Some(SECOND), true);
    assert!(!served(&scene, Some(FIRST)), "signed by an authority of the past");
    scene.put(authorities(&[FIRST.0, SECOND.0, EXPIRED.0].concat()));
    scene.settle();
    becomes(&scene, "signed by one of three", Some(FIRST), true);
    assert!(served(&scene, Some(SECOND)), "signed by another of them");
    assert!(!served(&scene, Some(EXPIRED)), "too old");

    // The last authority goes: nobody is let in.
    scene.put(authorities("none"));
    scene.settle();
    becomes(&scene, "without an authority", Some(FIRST), false);
    assert!(!served(&scene, Some(SECOND)) && !served(&scene, None));
    scene.put(authorities(FIRST.0));
    scene.settle();
    becomes(&scene, "with an authority again", Some(FIRST), true);
    assert!(!served(&scene, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lenient_check_asks_for_certificates_and_serves_everybody() {
    let mut scene = scene();
    scene.put(authorities(FIRST.0));
    scene.put(checked("AllowValidOnly"));
    scene.settle();
    becomes(&scene, "with a valid one", Some(FIRST), true);
    assert!(!served(&scene, None));

    scene.put(checked("AllowInsecureFallback"));
    scene.settle();
    becomes(&scene, "without a certificate", None, true);
    for (what, certificate) in [("valid", FIRST), ("of somebody else", SECOND), ("too old", EXPIRED)] {
        assert!(served(&scene, Some(certificate)), "{what}");
    }
    scene.put(checked("AllowValidOnly"));
    scene.settle();
    becomes(&scene, "without a certificate", None, false);
    assert!(!served(&scene, Some(SECOND)) && served(&scene, Some(FIRST)));
}

/// A Service whose backend speaks TLS, and what it takes to reach it.
fn protected_backend(scene: &mut Scene) {
    let port = tls_backend(FIRST, &[("first", FIRST), ("second", SECOND)]);
    scene.put(json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "secure" },
        "spec": { "ports": [{ "port": 443 }] } }));
    scene.put(json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "secure", "labels": { "kubernetes.io/service-name": "secure" } },
        "ports": [{ "port": port }], "endpoints": [{ "addresses": ["127.0.0.1"] }] }));
    scene.put(authorities(FIRST.0));
    scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
        "metadata": { "name": "secure" }, "spec": {
            "targetRefs": [{ "group": "", "kind": "Service", "name": "secure" }],
            "validation": { "hostname": "www.example.com",
                "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": "ca" }] } } }));
    scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": "secure" }, "spec": { "parentRefs": [{ "name": "gw" }],
            "rules": [{ "backendRefs": [{ "name": "secure", "port": 443 }] }] } }));
}

fn client_pair((chain, key): Pair) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "client" },
        "stringData": { "tls.crt": chain, "tls.key": key } })
}

/// Waits until the backend sees this certificate. On the way no request may fail.
fn backend_sees(scene: &Scene, wanted: &str) {
    until("the certificate that the backend sees", &Answer::from(wanted), || {
        match exchange(scene.port, REQUEST.as_bytes()) {
            Answer::Text(text) if text.starts_with("HTTP/1.1 200") => {
                Answer::from(text.rsplit("\r\n\r\n").next().unwrap_or_default())
            }
            other => panic!("a request failed: {other:?}"),
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_shows_its_certificate_to_protected_backends() {
    let listeners = json!([{ "name": "http", "port": 443, "protocol": "HTTP" }]);
    let gateway = |tls: Value| {
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": "gw" },
            "spec": { "gatewayClassName": "c", "tls": tls, "listeners": listeners } })
    };
    let showing = gateway(json!({ "backend": { "clientCertificateRef": { "name": "client" } } }));
    let mut scene = Scene::start(&listeners);
    protected_backend(&mut scene);
    scene.put(route("HTTPRoute", "served", &["served.example.com"], &[("one", 1)]));
    scene.settle();
    let ready = "HTTP/1.1 200";
    until("the backend", &Answer::from(ready), || match exchange(scene.port, REQUEST.as_bytes()) {
        Answer::Text(text) if text.starts_with(ready) => Answer::from(ready),
        other => other,
    });
    backend_sees(&scene, "nothing");

    scene.put(client_pair(FIRST));
    scene.put(showing);
    scene.settle();
    backend_sees(&scene, "first");
    scene.put(client_pair(SECOND));
    scene.settle();
    backend_sees(&scene, "second");
    // Without it the backend is asked all the same, and may refuse.
    scene.put(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "client" } }));
    scene.settle();
    backend_sees(&scene, "nothing");
    scene.put(client_pair(FIRST));
    scene.settle();
    backend_sees(&scene, "first");
    scene.put(gateway(json!({})));
    scene.settle();
    backend_sees(&scene, "nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn xbackend_is_shown_what_it_says_and_not_what_the_gateway_shows() {
    let port = tls_backend(FIRST, &[("first", FIRST), ("second", SECOND)]);
    let listeners = json!([{ "name": "http", "port": 443, "protocol": "HTTP" }]);
    let xbackend = |mode: &str| {
        let mut tls = json!({ "mode": mode, "validation": { "hostname": "www.example.com",
            "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": "ca" }] } });
        if mode == "ClientAndServer" {
            tls["clientCertificateRef"] = json!({ "name": "client" });
        }
        json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackend", "metadata": { "name": "x" },
            "spec": { "type": "ExternalHostname", "port": { "number": port },
                "externalHostname": { "hostname": "localhost" }, "tls": tls } })
    };
    let mut scene = Scene::start(&listeners);
    scene.put(authorities(FIRST.0));
    scene.put(xbackend("ServerOnly"));
    scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": "x" }, "spec": { "parentRefs": [{ "name": "gw" }],
            "rules": [{ "backendRefs": [{ "group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": "x" }] }] } }));
    scene.settle();
    let ready = "HTTP/1.1 200";
    until("the backend", &Answer::from(ready), || match exchange(scene.port, REQUEST.as_bytes()) {
        Answer::Text(text) if text.starts_with(ready) => Answer::from(ready),
        other => other,
    });
    backend_sees(&scene, "nothing");

    scene.put(client_pair(FIRST));
    scene.put(xbackend("ClientAndServer"));
    scene.settle();
    backend_sees(&scene, "first");
    scene.put(client_pair(SECOND));
    scene.settle();
    backend_sees(&scene, "second");
    scene.put(
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": "gw" },
        "spec": { "gatewayClassName": "c", "listeners": listeners,
            "tls": { "backend": { "clientCertificateRef": { "name": "client" } } } } }),
    );
    scene.put(xbackend("ServerOnly"));
    scene.settle();
    backend_sees(&scene, "nothing");
}
