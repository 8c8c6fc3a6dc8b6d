//! What goes and comes back: parents, classes, fleets, backends.

mod support;

use gatehouse_api::ObjectRef;
use gatehouse_model::{FleetKey, NamespacedName, ResourceType};
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, Outputs, SecretSource};
use serde_json::{Value, json};
use support::scene::{SCENE, Scene, fleet};

#[test]
fn route_survives_its_gateway_vanishing_and_returning() {
    let mut scene = Scene::new();
    let before = scene.picture.clone();
    scene.remove("Gateway");
    assert_eq!(scene.settle().removed_fleets, [fleet()]);
    assert!(!scene.has_status("HTTPRoute") && !scene.has_status("Gateway"));
    scene.put(scene.document("Gateway"));
    scene.settle();
    assert_eq!(scene.picture, before);
}

#[test]
fn class_that_changes_its_controller_takes_its_gateways_along() {
    let mut scene = Scene::new();
    let before = scene.picture.clone();
    scene.put(scene.edited("GatewayClass", "/spec/controllerName", json!("example.com/other")));
    assert_eq!(scene.settle().removed_fleets, [fleet()]);
    assert!(
        !scene.has_status("GatewayClass") && !scene.has_status("Gateway") && !scene.has_status("HTTPRoute")
    );
    scene.put(scene.document("GatewayClass"));
    scene.settle();
    assert_eq!(scene.picture, before);
}

#[test]
fn deleted_class_takes_its_gateways_along() {
    let mut scene = Scene::new();
    let before = scene.picture.clone();
    scene.remove("GatewayClass");
    assert_eq!(scene.settle().removed_fleets, [fleet()]);
    assert!(!scene.has_status("Gateway") && !scene.has_status("HTTPRoute"));
    scene.put(scene.document("GatewayClass"));
    scene.settle();
    assert_eq!(scene.picture, before);
}

#[test]
fn fleet_deleted_and_made_again_in_one_settle_is_not_touched() {
    let mut scene = Scene::new();
    for kind in ["Gateway", "GatewayClass", "HTTPRoute", "Backend"] {
        scene.remove(kind);
    }
    for document in scene.documents.clone() {
        scene.put(document);
    }
    assert_eq!(scene.settle(), Outputs::default());
}

#[test]
fn fleet_made_again_differently_in_one_settle_is_changed_in_place() {
    let mut scene = Scene::new();
    scene.remove("Gateway");
    scene.put(scene.edited("Gateway", "/spec/listeners/0/port", json!(8080)));
    let outputs = scene.settle();
    assert!(outputs.removed_fleets.is_empty());
    let names: Vec<_> =
        scene.picture.fleets[&fleet()].resources.keys().map(|(_, name)| name.clone()).collect();
    assert!(names.contains(&"default/gw/8080/tcp".into()) && !names.contains(&"default/gw/80/tcp".into()));
}

#[test]
fn backend_that_turns_from_a_name_to_an_address_gets_endpoints() {
    let mut scene = Scene::new();
    let before = scene.picture.clone();
    let by_name = json!([{ "fqdn": { "hostname": "up.example.com", "port": 80 } }]);
    scene.put(scene.edited("Backend", "/spec/endpoints", by_name));
    scene.settle();
    assert!(!scene.has(ResourceType::Endpoint), "Envoy resolves the name itself");
    scene.put(scene.document("Backend"));
    scene.settle();
    assert_eq!(scene.picture, before);
}

#[test]
fn statuses_wait_for_secrets_that_are_unknown() {
    let config = Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    assert!(scene.has_status("Gateway"));
    let before = scene.picture.statuses.clone();
    let https = json!([{ "name": "https", "port": 443, "protocol": "HTTPS",
        "tls": { "certificateRefs": [{ "name": "cert" }] } }]);
    scene.put(scene.edited("Gateway", "/spec/listeners", https));
    scene.settle();
    let gateway = |statuses: &std::collections::BTreeMap<ObjectRef, Value>| {
        statuses.iter().find(|(object, _)| object.kind == "Gateway").map(|(_, status)| status.clone())
    };
    assert_eq!(
        gateway(&scene.picture.statuses),
        gateway(&before),
        "nothing is said before the Secret is known"
    );
    let wants = scene.world.take_secret_wants();
    assert_eq!(wants, [(NamespacedName::new("default", "cert"), true)]);
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cert" } });
    scene.world.apply(Change::Remove(objects::written(secret).key()));
    scene.settle();
    let text = gateway(&scene.picture.statuses).expect("a status").to_string();
    assert!(text.contains("InvalidCertificateRef"), "{text}");
}

#[test]
fn listener_that_waits_for_a_secret_names_none_that_is_gone() {
    let config = Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    let listener = |secret: &str| {
        json!([{ "name": "https", "port": 443, "protocol": "HTTPS",
            "tls": { "certificateRefs": [{ "name": secret }] } }])
    };
    let (chain, key) = gatehouse_testkit::certificates::FIRST;
    let old = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "old" },
        "stringData": { "tls.crt": chain, "tls.key": key } });
    scene.put(old.clone());
    scene.put(scene.edited("Gateway", "/spec/listeners", listener("old")));
    scene.settle();
    scene.put(scene.edited("Gateway", "/spec/listeners", listener("unknown")));
    scene.settle();
    assert!(scene.has(ResourceType::Secret), "the last certificate serves meanwhile");
    scene.world.apply(Change::Remove(objects::written(old).key()));
    scene.settle();
    assert!(!scene.has(ResourceType::Secret) && !scene.has(ResourceType::Listener));
}

#[test]
fn port_is_served_when_it_can_be_had_and_only_then() {
    use gatehouse_translate::PortSource;

    let config = Config { assume_programmed: true, ports: PortSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    assert!(!scene.has_status("Gateway") && !scene.has(ResourceType::Listener), "nobody answered yet");
    let wants = scene.world.take_port_wants();
    let [(port, true)] = &wants[..] else { panic!("one port is wanted: {wants:?}") };
    assert_eq!(port.port, 80);

    scene.world.port_asked(port.clone(), Some("a stranger has it".into()));
    scene.settle();
    assert!(scene.has_status("Gateway") && !scene.has(ResourceType::Listener));
    let accepted = |scene: &Scene| {
        let (_, status) = scene.picture.statuses.iter().find(|(object, _)| object.kind == "Gateway").unwrap();
        let conditions = status["listeners"][0]["conditions"].as_array().unwrap();
        let accepted = conditions.iter().find(|condition| condition["type"] == "Accepted").unwrap();
        (accepted["reason"].clone(), accepted["message"].clone())
    };
    assert_eq!(accepted(&scene), (json!("PortUnavailable"), json!("a stranger has it")));

    scene.world.port_asked(port.clone(), None);
    scene.settle();
    assert!(scene.has(ResourceType::Listener), "the stranger went away");
    assert_eq!(accepted(&scene).0, json!("Accepted"));

    scene.remove("Gateway");
    scene.settle();
    assert_eq!(scene.world.take_port_wants(), [(port.clone(), false)]);
    let gateway = scene.document("Gateway");
    scene.put(gateway);
    scene.settle();
    assert!(!scene.has(ResourceType::Listener), "somebody may have taken it meanwhile");
}

fn https(names: &[&str]) -> Value {
    let listener = |name: &&str| {
        json!({ "name": name, "port": 443, "protocol": "HTTPS", "hostname": format!("{name}.example.com"),
            "tls": { "certificateRefs": [{ "name": name }] } })
    };
    let plain = json!({ "name": "http", "port": 80, "protocol": "HTTP" });
    names.iter().map(listener).chain([plain]).collect()
}

fn certificate(name: &str) -> Value {
    let (chain, key) = gatehouse_testkit::certificates::FIRST;
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
        "stringData": { "tls.crt": chain, "tls.key": key } })
}

#[test]
fn fleet_is_settled_when_every_secret_that_it_wants_is_known() {
    let config = Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    let mut other = scene.edited("Gateway", "/metadata/name", json!("other"));
    other["spec"]["listeners"][0]["port"] = json!(81);
    scene.put(other);
    scene.put(scene.edited("Gateway", "/spec/listeners", https(&["a", "b"])));
    scene.settle();
    let other = FleetKey(NamespacedName::new("default", "other"));
    assert!(!scene.world.is_settled(&fleet()) && scene.world.is_settled(&other));
    scene.put(certificate("a"));
    scene.settle();
    assert!(!scene.world.is_settled(&fleet()), "one of two");
    scene.world.apply(Change::Remove(objects::written(certificate("b")).key()));
    scene.settle();
    assert!(scene.world.is_settled(&fleet()), "known not to be there");
    let before = scene.picture.clone();
    scene.world.apply(Change::Forget(objects::written(certificate("a")).key()));
    scene.settle();
    assert!(!scene.world.is_settled(&fleet()));
    assert_eq!(scene.picture, before, "what was known serves on");
    scene.put(scene.edited("Gateway", "/spec/listeners", https(&[])));
    scene.settle();
    assert!(scene.world.is_settled(&fleet()), "nobody wants it any more");
}

#[test]
fn secret_is_wanted_while_a_gateway_needs_it_and_again_when_the_gateway_is_back() {
    let config = Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    let key = NamespacedName::new("default", "a");
    let gateway = scene.edited("Gateway", "/spec/listeners", https(&["a"]));
    for _ in 0..2 {
        scene.put(gateway.clone());
        scene.settle();
        assert_eq!(scene.world.take_secret_wants(), [(key.clone(), true)]);
        scene.put(certificate("a"));
        scene.settle();
        assert!(scene.has(ResourceType::Secret));
        scene.remove("Gateway");
        scene.settle();
        assert_eq!(scene.world.take_secret_wants(), [(key.clone(), false)]);
        scene.world.apply(Change::Forget(objects::written(certificate("a")).key()));
        scene.settle();
    }
    scene.put(gateway);
    scene.settle();
    assert!(!scene.has(ResourceType::Secret), "what it was before says nothing");
}

#[test]
fn changes_until_a_fleet_is_settled_add_up_to_a_complete_first_commit() {
    let objects = |scene: &mut Scene| {
        scene.put(scene.edited("Gateway", "/spec/listeners", https(&["a", "b"])));
        scene.put(certificate("a"));
    };
    let config = |secrets| Config { assume_programmed: true, secrets, ..Config::default() };
    let take = |scene: &mut Scene| scene.settle().fleets.remove(&fleet()).unwrap_or_default();

    let mut waiting = Scene::with(config(SecretSource::OnDemand), "{}");
    waiting.documents = objects::documents(SCENE).expect("YAML");
    let mut complete = Scene::with(config(SecretSource::Complete), "{}");
    complete.documents = waiting.documents.clone();
    for scene in [&mut waiting, &mut complete] {
        for document in scene.documents.clone() {
            scene.put(document);
        }
        objects(scene);
    }
    let mut merged = take(&mut waiting);
    assert!(!waiting.world.is_settled(&fleet()));
    let renamed = json!([{ "name": "gw" }, { "name": "gw", "sectionName": "b" }]);
    waiting.put(waiting.edited("HTTPRoute", "/spec/parentRefs", renamed));
    merged.absorb(take(&mut waiting));
    waiting.put(waiting.document("HTTPRoute"));
    waiting.put(certificate("b"));
    merged.absorb(take(&mut waiting));
    assert!(waiting.world.is_settled(&fleet()));

    complete.put(certificate("b"));
    let mut once = take(&mut complete);
    for change in [&mut merged, &mut once] {
        change.upserts.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        change.watches.sort_by(|a, b| a.0.cmp(&b.0));
    }
    assert_eq!(
        (merged.upserts, merged.removals, merged.watches),
        (once.upserts, once.removals, once.watches)
    );
}

#[test]
fn a_route_to_selected_pods_waits_until_they_have_been_told() {
    use gatehouse_translate::{Hosting, PodSelection};

    let config = Config {
        hosting: Hosting::Pods,
        assume_programmed: true,
        secrets: SecretSource::OnDemand,
        ..Config::default()
    };
    let mut scene = Scene::with(config, &SCENE.replace("127.0.0.1", "192.0.2.1"));
    let backend = |app: &str| {
        json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackend", "metadata": { "name": "x" },
            "spec": { "type": "EndpointSelector", "port": { "number": 80 },
                "endpointSelector": { "matchLabels": { "app": app } } } })
    };
    let pod = |name: &str, ip: &str| {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": name } },
            "status": { "podIP": ip, "conditions": [{ "type": "Ready", "status": "True" }] } })
    };
    let reference = json!([{ "group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": "x" }]);
    let selection =
        |app: &str| PodSelection { namespace: "default".into(), labels: [("app".into(), app.into())].into() };
    let shown = |scene: &Scene, text: &str| {
        let fleets = scene.picture.fleets.values();
        fleets
            .flat_map(|fleet| fleet.resources.values())
            .any(|r| support::decode(r).to_string().contains(text))
    };

    scene.put(backend("one"));
    scene.put(scene.edited("HTTPRoute", "/spec/rules/0/backendRefs", reference));
    scene.settle();
    assert_eq!(scene.world.take_pod_wants(), [(selection("one"), true)]);
    assert!(!scene.world.is_settled(&fleet()));
    assert!(shown(&scene, "backend/default/be") && !shown(&scene, "xbackend/"), "the route is as it was");

    scene.put(pod("one", "10.0.0.1"));
    scene.settle();
    assert!(!shown(&scene, "xbackend/"), "there may be more of them");
    scene.world.apply(Change::Selected(selection("one")));
    scene.settle();
    assert!(scene.world.is_settled(&fleet()) && shown(&scene, "10.0.0.1"));

    scene.put(backend("two"));
    scene.settle();
    let mut wants = scene.world.take_pod_wants();
    wants.sort();
    assert_eq!(wants, [(selection("one"), false), (selection("two"), true)]);
    scene.world.apply(Change::Selected(selection("one")));
    scene.put(pod("two", "10.0.0.2"));
    scene.settle();
    assert!(shown(&scene, "10.0.0.1"), "the old pods serve until the new ones are known");
    scene.world.apply(Change::Selected(selection("two")));
    scene.settle();
    assert!(shown(&scene, "10.0.0.2") && !shown(&scene, "10.0.0.1"));

    scene.put(backend("one"));
    scene.settle();
    let mut wants = scene.world.take_pod_wants();
    wants.sort();
    assert_eq!(wants, [(selection("one"), true), (selection("two"), false)], "an old answer counts no more");
    assert!(!scene.world.is_settled(&fleet()));
}

/// An HTTPS listener whose clients are checked by the authorities in ConfigMap `ca`.
fn checked(scene: &Scene) -> Value {
    let mut gateway = scene.document("Gateway");
    gateway["spec"]["listeners"] = json!([{ "name": "https", "port": 443, "protocol": "HTTPS",
        "tls": { "certificateRefs": [{ "name": "cert" }] } }]);
    gateway["spec"]["tls"] = json!({ "frontend": { "default": { "validation": {
        "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": "ca" }] } } } });
    gateway
}

fn pair_and_authorities() -> (Value, Value) {
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
fn shown(scene: &Scene, secret: &str) -> Vec<Value> {
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
fn route_that_waits_for_what_a_policy_names_has_its_status_when_it_is_known() {
    let config = Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    scene.remove("HTTPRoute");
    scene.settle();
    let mut documents = shown(&scene, "cert").split_off(1);
    documents[1]["spec"]["validation"] = json!({ "hostname": "a.example.com", "caCertificateRefs": [
        { "group": "", "kind": "ConfigMap", "name": "ca" }] });
    for document in documents {
        scene.put(document);
    }
    scene.settle();
    assert!(!scene.has_status("HTTPRoute"));
    scene.put(pair_and_authorities().1);
    scene.settle();
    assert!(scene.has_status("HTTPRoute") && scene.has_status("BackendTLSPolicy"));
}

#[test]
fn backend_that_goes_while_its_route_waits_for_something_else_stays_until_then() {
    let config = Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    let documents = shown(&scene, "cert");
    scene.put(documents[1].clone());
    scene.put(documents[3].clone());
    scene.settle();
    let before = scene.picture.fleets.clone();

    let mut policy = documents[2].clone();
    policy["spec"]["validation"] = json!({ "hostname": "a.example.com", "caCertificateRefs": [
        { "group": "", "kind": "ConfigMap", "name": "ca" }] });
    scene.put(policy);
    scene.world.apply(Change::Remove(objects::written(documents[1].clone()).key()));
    scene.settle();
    assert_eq!(scene.picture.fleets, before);
    scene.put(pair_and_authorities().1);
    scene.settle();
    assert!(!scene.has(ResourceType::Cluster) && !scene.has(ResourceType::Endpoint));
}

#[test]
fn policy_of_a_set_that_moves_to_another_gateway_has_its_status() {
    let mut scene = Scene::new();
    let mut other = scene.edited("Gateway", "/metadata/name", json!("gx"));
    other["spec"]["listeners"][0]["port"] = json!(81);
    for (gateway, port) in [(scene.document("Gateway"), 80), (other, 81)] {
        let mut gateway = gateway;
        gateway["spec"]["allowedListeners"] = json!({ "namespaces": { "from": "All" } });
        gateway["spec"]["listeners"][0]["port"] = json!(port);
        scene.put(gateway);
    }
    let set = |gateway: &str| {
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet", "metadata": { "name": "set" },
            "spec": { "parentRef": { "name": gateway }, "listeners": [{ "name": "l", "port": 90, "protocol": "HTTP" }] } })
    };
    scene.put(json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "ClientTrafficPolicy",
        "metadata": { "name": "policy" }, "spec": { "headers": { "requestID": "Preserve" }, "targetRefs": [
            { "group": "gateway.networking.k8s.io", "kind": "ListenerSet", "name": "set" }] } }));
    for gateway in ["gx", "gw", "gx", "gw"] {
        scene.put(set(gateway));
        scene.settle();
        assert!(scene.has_status("ClientTrafficPolicy"), "under {gateway}");
    }
}

#[test]
fn collector_of_spans_comes_and_goes_with_its_policy() {
    let mut scene = Scene::new();
    let before = scene.picture.fleets.clone();
    let policy = json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XTelemetryPolicy",
        "metadata": { "name": "spans" }, "spec": {
            "targetRefs": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw" }],
            "tracing": { "mode": "Enabled", "provider": { "backendRef": { "name": "otel", "port": 4317 } } } } });
    scene.put(policy.clone());
    scene.settle();
    assert_eq!(scene.picture.fleets, before, "nobody to send spans to");
    let status = |scene: &Scene| {
        scene.picture.statuses.iter().find(|(o, _)| o.kind == "XTelemetryPolicy").map(|(_, s)| s.to_string())
    };
    assert!(status(&scene).expect("a status").contains("BackendNotFound"));

    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "otel" },
        "spec": { "ports": [{ "port": 4317 }] } });
    scene.put(service.clone());
    let outputs = scene.settle();
    let change = &outputs.fleets[&fleet()];
    let kinds: Vec<_> = change.upserts.iter().map(|r| (r.kind, r.interim.is_some())).collect();
    assert!(kinds.contains(&(ResourceType::Listener, false)), "it waits for the collector: {kinds:?}");
    assert!(!kinds.iter().any(|(kind, _)| *kind == ResourceType::VirtualHost), "{kinds:?}");
    assert!(!status(&scene).expect("a status").contains("False"));

    scene.world.apply(Change::Remove(objects::written(service).key()));
    scene.settle();
    assert_eq!(scene.picture.fleets, before, "what is gone is named no more");
    scene.world.apply(Change::Remove(objects::written(policy).key()));
    scene.settle();
    assert_eq!((&scene.picture.fleets, status(&scene)), (&before, None));
}

#[test]
fn nothing_passes_a_listeners_filter_by_while_its_server_is_not_known() {
    use gatehouse_translate::{Hosting, PodSelection};

    let config = Config {
        hosting: Hosting::Pods,
        assume_programmed: true,
        secrets: SecretSource::OnDemand,
        ..Config::default()
    };
    let mut scene = Scene::with(config, &SCENE.replace("127.0.0.1", "192.0.2.1"));
    let hosts = |scene: &Scene| {
        let fleets = scene.picture.fleets.values();
        let hosts = fleets
            .flat_map(|fleet| &fleet.resources)
            .filter(|((kind, _), _)| *kind == ResourceType::VirtualHost);
        hosts.map(|(_, host)| support::decode(host)).collect::<Vec<_>>()
    };
    let filter = json!({ "type": "ExternalAuth", "externalAuth": { "protocol": "GRPC", "grpc": {},
        "backendRef": { "group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": "x" } } });
    let listener =
        json!([{ "name": "http", "port": 80, "protocol": "HTTP", "filters": { "requests": [filter] } }]);
    scene.put(json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackend", "metadata": { "name": "x" },
        "spec": { "type": "EndpointSelector", "port": { "number": 80 },
            "endpointSelector": { "matchLabels": { "app": "x" } } } }));
    scene.put(scene.edited("Gateway", "/spec/listeners", listener));
    scene.settle();
    let first = |host: &Value| host["routes"][0]["direct_response"]["status"].clone();
    assert!(!scene.world.is_settled(&fleet()) && !hosts(&scene).is_empty());
    assert!(hosts(&scene).iter().all(|host| first(host) == 500), "{:#?}", hosts(&scene));

    let selection = PodSelection { namespace: "default".into(), labels: [("app".into(), "x".into())].into() };
    assert_eq!(scene.world.take_pod_wants(), [(selection.clone(), true)]);
    scene.world.apply(Change::Selected(selection));
    scene.settle();
    assert!(scene.world.is_settled(&fleet()));
    assert!(hosts(&scene).iter().all(|host| first(host) != 500), "{:#?}", hosts(&scene));
}
