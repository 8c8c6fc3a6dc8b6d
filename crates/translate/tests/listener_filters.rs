//! Filters of listeners: no change, refusal or wait ever leaves a host of theirs without them.

mod support;

use std::sync::Arc;

use gatehouse_model::{FleetKey, Interim, NamespacedName, ResourceType};
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, Outputs, Resource, World};
use serde_json::{Value, json};
use support::{Picture, decode};

const SHOP: &str = "default/gw/80/http/shop.example.com";

struct Scene {
    world: World,
    picture: Picture,
}

impl Scene {
    /// A Gateway with one listener without filters, two routes, and servers to ask; `far` is of another namespace.
    fn new() -> Self {
        let world = World::new(Config { assume_programmed: true, ..Config::default() });
        let mut scene = Self { world, picture: Picture::default() };
        scene.put(json!({ "apiVersion": GATEWAY, "kind": "GatewayClass", "metadata": { "name": "c" },
            "spec": { "controllerName": "gatehouse.dev/gatewayclass-controller" } }));
        scene.filters(&[]);
        scene.put(route("shop", "shop.example.com"));
        scene.put(route("cart", "shop.example.com"));
        for (name, namespace) in
            [("app", "default"), ("one", "default"), ("two", "default"), ("far", "elsewhere")]
        {
            scene.put(json!({ "apiVersion": "v1", "kind": "Service", "spec": { "ports": [{ "port": 80 }] },
                "metadata": { "name": name, "namespace": namespace } }));
        }
        scene.put(grant());
        scene.settle();
        scene
    }

    fn put(&mut self, document: Value) {
        self.world.apply(Change::Upsert(Box::new(objects::written(document))));
    }

    fn remove(&mut self, document: Value) {
        self.world.apply(Change::Remove(objects::written(document).key()));
    }

    /// The listener asks these servers.
    fn filters(&mut self, servers: &[(&str, &str)]) {
        let filter = |(name, namespace): &(&str, &str)| {
            let server = json!({ "name": name, "namespace": namespace, "port": 80 });
            json!({ "type": "ExternalAuth",
                "externalAuth": { "protocol": "HTTP", "http": {}, "backendRef": server } })
        };
        let filters: Vec<Value> = servers.iter().map(filter).collect();
        let listener =
            json!({ "name": "http", "port": 80, "protocol": "HTTP", "filters": { "requests": filters } });
        self.put(json!({ "apiVersion": GATEWAY, "kind": "Gateway", "metadata": { "name": "gw" },
            "spec": { "gatewayClassName": "c", "listeners": [listener] } }));
    }

    fn settle(&mut self) -> Outputs {
        let outputs = self.world.settle();
        self.picture.absorb(outputs.clone());
        assert_eq!(self.world.take_panics(), []);
        assert_eq!(self.picture.dangling(), Vec::<String>::new());
        outputs
    }

    fn host(&self) -> Option<&Resource> {
        self.picture.fleets[&fleet()].resources.get(&(ResourceType::VirtualHost, SHOP.into()))
    }

    fn accepted(&mut self) {
        let version = self.host().expect("the host").version.clone();
        self.world.host_acknowledged(&fleet(), SHOP, &version);
        self.settle();
    }
}

const GATEWAY: &str = "gateway.networking.k8s.io/v1";

fn fleet() -> FleetKey {
    FleetKey(NamespacedName::new("default", "gw"))
}

fn route(name: &str, host: &str) -> Value {
    json!({ "apiVersion": GATEWAY, "kind": "HTTPRoute", "metadata": { "name": name }, "spec": {
        "parentRefs": [{ "name": "gw" }], "hostnames": [host], "rules": [{
            "matches": [{ "path": { "value": format!("/{name}") } }],
            "backendRefs": [{ "name": "app", "port": 80 }] }] } })
}

fn grant() -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": { "name": "g", "namespace": "elsewhere" }, "spec": {
            "from": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default" }],
            "to": [{ "group": "", "kind": "Service" }] } })
}

/// What a host asks before its routes; `None` when it asks nobody.
fn guard(host: &Value) -> Option<String> {
    let servers = support::strings_at(&host["typed_per_filter_config"], "cluster");
    let refuses = host["routes"][0]["direct_response"]["status"] == 500
        && host["routes"][0]["match"] == json!({ "prefix": "/" });
    match &servers[..] {
        [] => refuses.then(|| "refuses".to_owned()),
        servers => {
            let last = host["routes"].as_array().and_then(|routes| routes.last());
            assert_eq!(
                last.expect("a route")["match"],
                json!({ "prefix": "/" }),
                "a route for every request"
            );
            Some(servers.join(","))
        }
    }
}

fn in_the_meantime(outputs: &Outputs) -> Option<(Arc<Interim>, Value)> {
    let upserts = &outputs.fleets.get(&fleet())?.upserts;
    let host = upserts.iter().find(|r| r.kind == ResourceType::VirtualHost && *r.name == *SHOP)?;
    let interim = host.interim.clone()?;
    let body = match &*interim {
        Interim::Whole => decode(host),
        Interim::Instead { body, .. } => decode(&Resource { body: body.bytes.clone(), ..host.clone() }),
    };
    Some((interim, body))
}

#[test]
fn filters_come_and_go_with_hosts_and_change_no_listener() {
    let mut scene = Scene::new();
    let open = scene.picture.clone();
    scene.filters(&[("one", "default")]);
    let outputs = scene.settle();
    let kinds: Vec<_> = outputs.fleets[&fleet()].upserts.iter().map(|r| r.kind).collect();
    assert!(!kinds.contains(&ResourceType::Listener), "{kinds:?}");
    let guarded = |scene: &Scene| guard(&decode(scene.host().expect("the host")));
    assert_eq!(guarded(&scene).as_deref(), Some("service/default/one/80"));

    for name in ["shop", "cart"] {
        scene.remove(route(name, "shop.example.com"));
    }
    scene.settle();
    assert!(scene.host().is_none(), "a host that nobody names goes, filters or not");
    for name in ["shop", "cart"] {
        scene.put(route(name, "shop.example.com"));
    }
    scene.settle();
    assert_eq!(guarded(&scene).as_deref(), Some("service/default/one/80"), "and comes back with them");
    scene.filters(&[]);
    scene.settle();
    assert_eq!(scene.picture.fleets, open.fleets);
    scene.filters(&[("one", "default")]);
    scene.settle();
    scene.remove(json!({ "apiVersion": GATEWAY, "kind": "Gateway", "metadata": { "name": "gw" },
        "spec": { "gatewayClassName": "c", "listeners": [] } }));
    assert_eq!(scene.settle().removed_fleets, [fleet()]);
    scene.filters(&[]);
    scene.settle();
    assert_eq!(scene.picture.fleets, open.fleets);
}

#[test]
fn while_a_new_server_is_awaited_the_old_one_is_asked() {
    let mut scene = Scene::new();
    scene.filters(&[("far", "elsewhere")]);
    scene.settle();
    scene.accepted();
    scene.filters(&[("two", "default")]);
    scene.remove(route("cart", "shop.example.com"));
    let outputs = scene.settle();
    let (interim, host) = in_the_meantime(&outputs).expect("a rule was taken away");
    assert!(matches!(*interim, Interim::Instead { .. }), "{interim:?}");
    assert_eq!(guard(&host).as_deref(), Some("service/elsewhere/far/80"));
    assert_eq!(host["routes"].as_array().map(Vec::len), Some(2), "the other rule, and what answers the rest");

    scene.remove(grant());
    scene.put(route("shop2", "shop.example.com"));
    let (_, host) = in_the_meantime(&scene.settle()).expect("a permission was taken away");
    assert_eq!(guard(&host).as_deref(), Some("refuses"), "the old one may not be asked any more");
    assert_eq!(guard(&decode(scene.host().expect("the host"))).as_deref(), Some("service/default/two/80"));
}

#[test]
fn without_a_server_requests_are_refused_at_once() {
    let mut scene = Scene::new();
    scene.filters(&[("far", "elsewhere")]);
    scene.settle();
    scene.accepted();
    scene.remove(grant());
    let (interim, host) = in_the_meantime(&scene.settle()).expect("it does not wait");
    assert_eq!((&*interim, guard(&host).as_deref()), (&Interim::Whole, Some("refuses")));
}

#[test]
fn filters_that_a_proxy_refuses_refuse_every_request() {
    for had_filters in [false, true] {
        let mut scene = Scene::new();
        if had_filters {
            scene.filters(&[("one", "default")]);
            scene.settle();
        }
        scene.accepted();
        scene.filters(&[("one", "default"), ("two", "default")]);
        scene.put(route("more", "shop.example.com"));
        scene.settle();
        let mut rounds = 0;
        loop {
            let host = scene.host().expect("the host");
            let (version, guard) = (host.version.clone(), guard(&decode(host)).expect("never without"));
            let bad = guard.contains("two");
            if bad {
                scene.world.host_refused(&fleet(), SHOP, &version, &"two is bad".into());
            } else {
                scene.world.host_acknowledged(&fleet(), SHOP, &version);
            }
            scene.settle();
            rounds += 1;
            assert!(rounds < 20, "it never ends");
            if !bad && scene.host().expect("the host").version == version {
                break;
            }
        }
        let host = decode(scene.host().expect("the host"));
        let stays = if had_filters { "service/default/one/80" } else { "refuses" };
        assert_eq!(guard(&host).as_deref(), Some(stays));
        assert!(support::strings_at(&host, "name").iter().any(|name| name.contains("/more/")), "{host}");
        let statuses = scene.picture.statuses.iter();
        let gateway = statuses.filter(|(object, _)| object.kind == "Gateway").map(|(_, status)| status);
        let said = gateway.map(ToString::to_string).collect::<String>();
        assert!(said.contains("two is bad"), "{said}");
    }
}
