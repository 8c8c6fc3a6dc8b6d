//! Certificates and authorities that come, change and go.

use gatehouse_model::{NamespacedName, ResourceType};
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, SecretSource};
use serde_json::{Value, json};

use crate::support::scene::{SCENE, Scene, fleet};

/// An HTTPS listener whose clients are checked by the authorities in ConfigMap `ca`.
fn checked(scene: &Scene) -> Value {
    let mut gateway = scene.document("Gateway");
    gateway["spec"]["listeners"] = json!([{ "name": "https", "port": 443, "protocol": "HTTPS",
        "tls": { "certificateRefs": [{ "name": "cert" }] } }]);
    gateway["spec"]["tls"] = json!({ "frontend": { "default": { "validation": {
        "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": "ca" }] } } } });
    gateway
}

pub(crate) fn pair_and_authorities() -> (Value, Value) {
    let (chain, key) = gatehouse_testkit::certificates::FIRST;
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cert" },
        "stringData": { "tls.crt": chain, "tls.key": key } });
    let authorities = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "ca" },
        "data": { "ca.crt": chain } });
    (secret, authorities)
}

#[test]
fn other_authorities_of_clients_change_a_secret_and_no_listener() {
    let mut scene = Scene::new();
    let (pair, mut authorities) = pair_and_authorities();
    scene.put(pair);
    scene.put(authorities.clone());
    scene.put(checked(&scene));
    scene.settle();
    let before = scene.picture.clone();

    authorities["data"]["ca.crt"] = json!(gatehouse_testkit::certificates::SECOND.0);
    scene.put(authorities.clone());
    let outputs = scene.settle();
    let change = &outputs.fleets[&fleet()];
    let names: Vec<_> = change.upserts.iter().map(|resource| (resource.kind, &*resource.name)).collect();
    assert_eq!(names, [(ResourceType::Secret, "default/gw/443/clients")]);
    assert_eq!(change.removals, []);

    authorities["data"]["ca.crt"] = json!("none");
    scene.put(authorities);
    scene.settle();
    assert!(!scene.has(ResourceType::Listener) && !scene.has(ResourceType::Secret), "nobody may be let in");
    scene.put(pair_and_authorities().1);
    scene.settle();
    assert_eq!(scene.picture, before);
}

#[test]
fn port_is_closed_until_the_authorities_of_its_clients_are_known() {
    let config = Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    let (pair, authorities) = pair_and_authorities();
    let gateway = checked(&scene);
    let mut open = gateway.clone();
    open["spec"]["tls"] = json!({});
    scene.put(pair);
    scene.put(open);
    scene.settle();
    assert!(scene.has(ResourceType::Listener));
    let before = scene.picture.clone();

    scene.put(gateway);
    scene.settle();
    assert_eq!(scene.world.take_config_map_wants(), [(NamespacedName::new("default", "ca"), true)]);
    assert!(!scene.has(ResourceType::Listener), "who was asked for nothing must not be let in");
    assert!(!scene.world.is_settled(&fleet()));
    assert_eq!(scene.picture.statuses, before.statuses, "nothing is said before it is known");
    scene.put(authorities.clone());
    scene.settle();
    assert!(scene.has(ResourceType::Listener) && scene.world.is_settled(&fleet()));
    let checked = scene.picture.clone();

    // Who lost sight of them keeps them.
    scene.world.apply(Change::Forget(objects::written(authorities).key()));
    scene.settle();
    assert_eq!(scene.picture, checked);
}

/// A backend over TLS, and a Gateway that shows it the certificate in this Secret.
pub(crate) fn shown(scene: &Scene, secret: &str) -> Vec<Value> {
    let api = "gateway.networking.k8s.io/v1";
    let mut gateway = scene.document("Gateway");
    gateway["spec"]["tls"] = json!({ "backend": { "clientCertificateRef": { "name": secret } } });
    vec![
        gateway,
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "secure" },
            "spec": { "ports": [{ "port": 443 }] } }),
        json!({ "apiVersion": api, "kind": "BackendTLSPolicy", "metadata": { "name": "secure" }, "spec": {
            "targetRefs": [{ "group": "", "kind": "Service", "name": "secure" }],
            "validation": { "hostname": "a.example.com", "wellKnownCACertificates": "System" } } }),
        scene.edited("HTTPRoute", "/spec/rules/0/backendRefs/0", json!({ "name": "secure", "port": 443 })),
    ]
}

#[test]
fn cluster_that_waits_for_a_certificate_names_none_that_is_gone() {
    let config = Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    let (mut pair, _) = pair_and_authorities();
    pair["metadata"]["name"] = json!("old");
    scene.put(pair.clone());
    for document in shown(&scene, "old") {
        scene.put(document);
    }
    scene.settle();
    assert!(scene.has(ResourceType::Secret) && scene.world.is_settled(&fleet()));
    assert_eq!(scene.picture.dangling(), Vec::<String>::new());
    scene.put(shown(&scene, "unknown").remove(0));
    scene.settle();
    assert!(scene.has(ResourceType::Secret), "the last certificate is shown meanwhile");
    assert!(!scene.world.is_settled(&fleet()));
    scene.world.apply(Change::Remove(objects::written(pair).key()));
    scene.settle();
    assert!(!scene.has(ResourceType::Secret));
    assert_eq!(scene.picture.dangling(), Vec::<String>::new());
}

#[test]
fn gateway_that_shows_nothing_any_more_leaves_nothing_behind() {
    let mut scene = Scene::new();
    scene.put(pair_and_authorities().0);
    let documents = shown(&scene, "cert");
    for document in &documents[1..] {
        scene.put(document.clone());
    }
    scene.settle();
    let before = scene.picture.clone();
    scene.put(documents[0].clone());
    let outputs = scene.settle();
    let change = &outputs.fleets[&fleet()];
    let kinds: Vec<_> = change.upserts.iter().map(|resource| resource.kind).collect();
    assert_eq!(
        kinds,
        [ResourceType::Secret, ResourceType::Cluster],
        "the one that is over TLS, and no listener"
    );
    scene.put(scene.document("Gateway"));
    scene.settle();
    assert_eq!(scene.picture, before);
    scene.put(documents[0].clone());
    scene.settle();
    scene.remove("Gateway");
    scene.settle();
    scene.put(scene.document("Gateway"));
    scene.settle();
    assert_eq!(scene.picture, before);
}

#[test]
fn trust_bundles_count_and_are_claimed_while_there_is_such_a_kind() {
    let mut scene = Scene::new();
    let mut documents = shown(&scene, "cert");
    documents[2]["spec"]["validation"] = json!({ "hostname": "a.example.com", "caCertificateRefs": [
        { "group": "certificates.k8s.io", "kind": "ClusterTrustBundle", "name": "corporate" }] });
    for document in documents.drain(1..) {
        scene.put(document);
    }
    scene.put(json!({ "apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle",
        "metadata": { "name": "corporate" },
        "spec": { "trustBundle": gatehouse_testkit::certificates::FIRST.0 } }));
    scene.settle();
    let text = |scene: &Scene, kind: &str| {
        let found = scene.picture.statuses.iter().find(|(object, _)| object.kind == kind);
        found.expect("a status").1.to_string()
    };
    let told = |scene: &Scene, reason: &str| text(scene, "BackendTLSPolicy").contains(reason);
    let claimed = |scene: &Scene| text(scene, "GatewayClass").contains("\"ClusterTrustBundle\"");
    assert!(claimed(&scene) && !told(&scene, "InvalidKind"));
    let before = scene.picture.clone();

    scene.world.apply(Change::TrustBundles(false));
    scene.settle();
    assert!(!claimed(&scene) && told(&scene, "InvalidKind") && told(&scene, "NoValidCACertificate"));
    scene.world.apply(Change::TrustBundles(true));
    scene.settle();
    assert_eq!(scene.picture, before);
}

#[test]
fn tables_list_all_hostnames_of_a_port_up_to_as_many_as_a_gateway_has() {
    let mut scene = Scene::new();
    scene.put(pair_and_authorities().0);
    for (listeners, hosts_of_each, elsewhere) in [(2_usize, 3_usize, false), (64, 65, false), (65, 2, true)] {
        let listener = |i: usize| {
            json!({ "name": format!("l{i}"), "port": 443, "protocol": "HTTPS", "hostname": format!("h{i}.example.com"),
                "tls": { "certificateRefs": [{ "name": "cert" }] } })
        };
        let all: Vec<Value> = (0..listeners).map(listener).collect();
        scene.put(scene.edited("Gateway", "/spec/listeners", json!(all)));
        scene.settle();
        let hosts: Vec<_> = scene.picture.fleets[&fleet()]
            .resources
            .values()
            .filter(|resource| resource.kind == ResourceType::VirtualHost)
            .collect();
        assert_eq!(hosts.len(), listeners * hosts_of_each, "{listeners} listeners");
        let catch_all = hosts.iter().find(|host| host.name.ends_with("/*")).expect("a host for the rest");
        let misdirected = crate::support::decode(catch_all).to_string().contains("421");
        assert_eq!(misdirected, elsewhere, "{listeners} listeners");
    }
}
