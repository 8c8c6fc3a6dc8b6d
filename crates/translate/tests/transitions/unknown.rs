//! What is not known yet is waited for, and nothing is told of it.

use gatehouse_api::ObjectRef;
use gatehouse_model::{FleetKey, NamespacedName, ResourceType};
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, SecretSource};
use serde_json::{Value, json};

use crate::support::{
    self,
    scene::{SCENE, Scene, fleet},
};
use crate::tls::{pair_and_authorities, shown};

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
fn backend_that_goes_while_its_route_waits_for_something_else_is_a_cluster_without_endpoints() {
    let config = Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    let documents = shown(&scene, "cert");
    let service = objects::written(documents[1].clone()).key();
    let mut policy = documents[2].clone();
    policy["spec"]["validation"] = json!({ "hostname": "a.example.com", "caCertificateRefs": [
        { "group": "", "kind": "ConfigMap", "name": "ca" }] });
    let mut route = documents[3].clone();
    route["spec"]["parentRefs"] = json!([{ "name": "gw", "sectionName": "http" }]);
    scene.put(documents[1].clone());
    scene.put(route);
    scene.settle();
    scene.put(policy);
    scene.world.apply(Change::Remove(service));
    scene.settle();
    assert!(scene.has(ResourceType::Cluster) && !scene.has(ResourceType::Endpoint));

    // The same where the route was not attached meanwhile.
    scene.put(scene.edited("Gateway", "/spec/listeners/0/name", json!("other")));
    scene.settle();
    assert!(!scene.has(ResourceType::Cluster));
    scene.put(scene.document("Gateway"));
    scene.settle();
    assert!(scene.has(ResourceType::Cluster) && !scene.has(ResourceType::Endpoint));

    scene.put(pair_and_authorities().1);
    scene.settle();
    assert!(!scene.has(ResourceType::Cluster), "the reference does not resolve");
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
