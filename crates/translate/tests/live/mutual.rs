//! Certificates of clients: who is let in, and who is turned away.

use gatehouse_testkit::certificates::{EXPIRED, FIRST, Pair, SECOND};
use serde_json::{Value, json};

use crate::streams::clients::{Answer, tcp_backend, tls_exchange_as};
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
