//! What is taken away goes at once, and nothing else is lost by it, whatever waits for clusters at that time.
//!
//! A world feeds the real stream, at whose other end is a client that warms like Envoy. Some clusters never are warm, so
//! changes pile up behind their gate. Whenever everything is delivered and no time has passed, requests are answered by
//! the host as the client holds it, and as it should be.

mod support;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use gatehouse_model::{Body, Interim, ResourceType};
use gatehouse_testkit::objects;
use gatehouse_testkit::xds_client::{Client, Kind, words};
use gatehouse_translate::{Change, Config, FleetChange, Resource, World};
use gatehouse_xds::{Commit, Input, Notice, Response, Stream, Table};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use prost::Message;
use serde_json::{Value, json};
use support::strings_at;

const HOST: &str = "default/gw/80/http/*";
const PATHS: [&str; 4] = ["/", "/a", "/b", "/a/x"];
/// Services; the clusters of `stuck` ones never are warm, the last one is of another namespace.
const BACKENDS: [&str; 5] = ["s0", "s1", "stuck0", "stuck1", "far"];

#[derive(Clone, Debug)]
struct Rule {
    path: usize,
    /// It matches one value of a header only.
    header: Option<u8>,
    backend: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Route(u8, Vec<Rule>),
    Unroute(u8),
    Grant(bool),
    Settle,
    /// The world hears of what the client holds.
    Acknowledge,
    /// The gate's deadline passes.
    Expire,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let header = prop::option::weighted(0.3, 1..3u8);
    let rule = (0..PATHS.len(), header, 0..BACKENDS.len()).prop_map(|(path, header, backend)| Rule {
        path,
        header,
        backend,
    });
    let step = prop_oneof![
        8 => (0..2u8, prop::collection::vec(rule, 1..4)).prop_map(|(route, rules)| Step::Route(route, rules)),
        1 => (0..2u8).prop_map(Step::Unroute),
        2 => any::<bool>().prop_map(Step::Grant),
        6 => Just(Step::Settle),
        2 => Just(Step::Acknowledge),
        1 => Just(Step::Expire),
    ];
    prop::collection::vec(step, 1..25)
}

fn route_object(index: u8, rules: &[Rule]) -> Value {
    let rules = rules.iter().map(|rule| {
        let headers = rule.header.iter().map(|value| json!({ "name": "x", "value": value.to_string() }));
        let name = BACKENDS[rule.backend];
        let namespace = if name == "far" { "elsewhere" } else { "default" };
        json!({ "matches": [{ "path": { "type": "PathPrefix", "value": PATHS[rule.path] },
                "headers": headers.collect::<Vec<_>>() }],
            "backendRefs": [{ "name": name, "namespace": namespace, "port": 80 }] })
    });
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": format!("r{index}") },
        "spec": { "parentRefs": [{ "name": "gw" }], "rules": rules.collect::<Vec<_>>() } })
}

fn first() -> Vec<Value> {
    let gateway = "gateway.networking.k8s.io/v1";
    let mut documents = vec![
        json!({ "apiVersion": gateway, "kind": "GatewayClass", "metadata": { "name": "c" },
            "spec": { "controllerName": "gatehouse.dev/gatewayclass-controller" } }),
        json!({ "apiVersion": gateway, "kind": "Gateway", "metadata": { "name": "gw" },
            "spec": { "gatewayClassName": "c", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] } }),
    ];
    documents.extend(BACKENDS.iter().map(|name| {
        let namespace = if *name == "far" { "elsewhere" } else { "default" };
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
            "spec": { "ports": [{ "port": 80 }] } })
    }));
    documents
}

fn grant() -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": { "name": "g", "namespace": "elsewhere" }, "spec": {
            "from": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default" }],
            "to": [{ "group": "", "kind": "Service" }] } })
}

/// A world, a stream, and a client with a wire between them.
struct Scene {
    world: World,
    granted: bool,
    table: Table,
    stream: Stream,
    client: Client,
    now: Instant,
    to_server: VecDeque<DeltaDiscoveryRequest>,
    to_client: VecDeque<Response>,
    /// Hosts by version, as they should be and meanwhile.
    hosts: BTreeMap<String, Value>,
    main: Arc<str>,
    /// Clusters that the gate let go.
    expired: BTreeSet<String>,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let mut scene = Self {
            world: World::new(Config { assume_programmed: true, ..Config::default() }),
            granted: false,
            table: Table::default(),
            stream: Stream::new(gatehouse_xds::Config::default(), now),
            client: Client::new(words),
            now,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            hosts: BTreeMap::new(),
            main: "".into(),
            expired: BTreeSet::new(),
        };
        scene.to_server.extend(scene.client.connect());
        for document in first() {
            scene.put(document);
        }
        scene.settle();
        scene
    }

    fn put(&mut self, document: Value) {
        self.world.apply(Change::Upsert(Box::new(objects::written(document))));
    }

    fn remove(&mut self, document: Value) {
        self.world.apply(Change::Remove(objects::written(document).key()));
    }

    fn settle(&mut self) {
        let fleet = support::scene::fleet();
        let mut outputs = self.world.settle();
        assert_eq!(self.world.take_panics(), []);
        let Some(change) = outputs.fleets.remove(&fleet) else { return };
        let FleetChange { upserts, removals, edges, .. } = change;
        let upserts = upserts.iter().map(|resource| (resource.kind, self.in_words(resource))).collect();
        self.table.apply(Commit { upserts, removals, edges, ..Commit::default() }, self.now);
        self.handle(&Input::Wake);
        self.drain();
    }

    /// The resource as the client reads it.
    fn in_words(&mut self, resource: &Resource) -> gatehouse_xds::Resource {
        let Resource { kind, name, version, interim, .. } = resource;
        let text = match kind {
            ResourceType::Cluster => "eds".to_owned(),
            ResourceType::Endpoint if name.contains("stuck") => "bad".to_owned(),
            ResourceType::Endpoint | ResourceType::Secret => String::new(),
            ResourceType::Listener => "route:default/gw/80/http".to_owned(),
            ResourceType::RouteConfiguration => "vhds".to_owned(),
            ResourceType::VirtualHost => {
                assert_eq!(&**name, HOST);
                self.main = version.clone();
                self.host_in_words(version, resource)
            }
        };
        let interim = interim.as_deref().map(|interim| match interim {
            Interim::Whole => Arc::new(Interim::Whole),
            Interim::Instead { body: Body { version, bytes }, clusters } => {
                let resource = Resource { body: bytes.clone(), ..resource.clone() };
                let text = self.host_in_words(version, &resource);
                let named =
                    strings_at(&self.hosts[&**version], "cluster").into_iter().map(Arc::from).collect();
                assert_eq!(*clusters, named, "what it says that it names");
                let body = Body { version: version.clone(), bytes: text.into() };
                Arc::new(Interim::Instead { body, clusters: clusters.clone() })
            }
        });
        let body = format!("{text} {version}").into();
        gatehouse_xds::Resource { name: name.clone(), version: version.clone(), body, interim }
    }

    fn host_in_words(&mut self, version: &str, resource: &Resource) -> String {
        let host = support::decode(resource);
        let names: Vec<_> =
            strings_at(&host, "cluster").iter().map(|cluster| format!("names:{cluster}")).collect();
        let before = self.hosts.insert(version.to_owned(), host.clone());
        assert!(before.is_none_or(|before| before == host), "one version, two contents");
        format!("domain:any {} {version}", names.join(" "))
    }

    fn handle(&mut self, input: &Input<'_>) {
        let output = self.stream.handle(input, &self.table, self.now);
        for notice in output.notices {
            if let Notice::GateExpired { clusters, .. } = notice {
                self.expired.extend(clusters.iter().map(ToString::to_string));
            }
        }
        self.to_client.extend(output.responses);
    }

    /// Delivers everything, without any time passing.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            if let Some(request) = self.to_server.pop_front() {
                self.handle(&Input::Request(&request));
            } else if let Some(response) = self.to_client.pop_front() {
                let mut bytes = Vec::new();
                gatehouse_xds::encode(&response, &mut bytes);
                let response = DeltaDiscoveryResponse::decode(&bytes[..]).expect("our bytes are a response");
                self.to_server.extend(self.client.receive(&response));
            } else {
                return;
            }
        }
        panic!("the two never stop talking");
    }

    fn held(&self) -> Option<String> {
        self.client.effective(Kind::Vhds).remove(HOST)
    }

    /// The world hears of what the client holds.
    fn acknowledge(&mut self) {
        if let Some(version) = self.held() {
            self.world.host_acknowledged(&support::scene::fleet(), HOST, &version);
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Route(index, rules) => self.put(route_object(*index, rules)),
            Step::Unroute(index) => self.remove(route_object(*index, &[])),
            Step::Grant(true) => self.put(grant()),
            Step::Grant(false) => self.remove(grant()),
            Step::Settle => self.settle(),
            Step::Acknowledge => self.acknowledge(),
            Step::Expire => {
                self.now += Duration::from_secs(1);
                self.handle(&Input::Wake);
                self.drain();
            }
        }
        if let Step::Grant(granted) = step {
            self.granted = *granted;
        }
    }

    /// Nothing that was taken away answers, and what serves on was not interrupted.
    fn check(&self, before: Option<&Value>) {
        let named: Vec<_> =
            self.client.violations.iter().filter(|v| !self.expired.contains(&v.cluster)).collect();
        assert!(named.is_empty(), "named before warm: {named:?}");
        let Some(held) = self.held().map(|version| &self.hosts[&version]) else { return };
        let main = &self.hosts[&*self.main];
        for (path, header) in PATHS.iter().flat_map(|path| [None, Some("1"), Some("2")].map(|h| (*path, h))) {
            let answer = |host: &Value| answer(host, path, header).cloned();
            let (now, wanted) = (answer(held), answer(main));
            let text = || format!("{path} {header:?}\nheld: {held:#}\nwanted: {main:#}");
            if let Some(now) = &now {
                assert!(
                    now == wanted.as_ref().unwrap_or(&Value::Null) || self.may_answer(now, main),
                    "{}",
                    text()
                );
            }
            let served_on = wanted.is_some() && before.and_then(answer) == wanted;
            assert!(!served_on || now == wanted, "interrupted: {}", text());
        }
    }

    /// The rule is still there, or it is an old form of one whose new form waits.
    fn may_answer(&self, rule: &Value, main: &Value) -> bool {
        let routes = main["routes"].as_array().into_iter().flatten();
        let object =
            |rule: &Value| rule["name"].as_str().and_then(|n| n.split("/rule/").next()).map(str::to_owned);
        let mut of_route = routes.filter(|route| object(route) == object(rule));
        let granted = self.granted || !strings_at(rule, "cluster").iter().any(|c| c.contains("elsewhere"));
        let fails = rule["direct_response"]["status"] == 500;
        let asks = |rule: &Value, path: &str, header| matches(rule, path, header);
        // All requests of the universe that it matches are requests of a rule of the route.
        let all = || PATHS.iter().flat_map(|path| [None, Some("1"), Some("2")].map(|h| (*path, h)));
        granted
            && (fails
                || of_route.any(|new| all().all(|(path, h)| !asks(rule, path, h) || asks(new, path, h))))
    }
}

fn matches(route: &Value, path: &str, header: Option<&str>) -> bool {
    let under =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let path = match route["match"]["path_separated_prefix"].as_str() {
        Some(prefix) => under(prefix),
        None => route["match"]["prefix"] == "/",
    };
    let headers = route["match"]["headers"].as_array().into_iter().flatten();
    path && headers
        .map(|h| h["string_match"]["exact"].as_str())
        .all(|value| value.is_some() && value == header)
}

/// The rule that answers a request.
fn answer<'h>(host: &'h Value, path: &str, header: Option<&str>) -> Option<&'h Value> {
    host["routes"].as_array()?.iter().find(|route| matches(route, path, header))
}

#[test]
fn no_rule_that_was_taken_away_answers_and_none_is_interrupted() {
    let config = ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (waited, went_ahead) = (Cell::new(0), Cell::new(0));
    let run = |(steps, prompt): (Vec<Step>, bool)| {
        let mut scene = Scene::new();
        for step in steps.iter().chain([&Step::Settle]) {
            let before = scene.held().map(|version| scene.hosts[&version].clone());
            let main = scene.main.clone();
            scene.take(step);
            if matches!(step, Step::Settle | Step::Expire) {
                // What the world does not know to be in use may be left out meanwhile.
                scene.check(before.as_ref().filter(|_| prompt && main != scene.main));
                let held = scene.held().map(|version| scene.hosts[&version].clone());
                let waits = scene.held().is_some_and(|version| version != *scene.main);
                waited.set(waited.get() + usize::from(waits));
                went_ahead.set(went_ahead.get() + usize::from(waits && held != before));
                if prompt {
                    scene.acknowledge();
                }
            }
        }
        Ok(())
    };
    runner.run(&(steps(), any::<bool>()), run).expect("it holds");
    assert!(waited.get() > 1000 && went_ahead.get() > 300, "{waited:?} {went_ahead:?}: nothing was tried");
}

/// Rules of one route, in order: path, header value, backend.
fn scene_of(rules: &[(&str, Option<u8>, &str)]) -> Scene {
    let mut scene = Scene::new();
    scene.change(rules);
    scene.acknowledge();
    scene
}

impl Scene {
    fn change(&mut self, rules: &[(&str, Option<u8>, &str)]) {
        let index =
            |of: &[&str], name: &str| of.iter().position(|other| *other == name).expect("it is known");
        let rules: Vec<_> = rules
            .iter()
            .map(|(path, header, backend)| Rule {
                path: index(&PATHS, path),
                header: *header,
                backend: index(&BACKENDS, backend),
            })
            .collect();
        self.put(route_object(0, &rules));
        self.settle();
    }

    /// The backend that gets a request now, or the status that answers it.
    fn gets(&self, path: &str, header: Option<&str>) -> String {
        let version = self.held().expect("the client has a host");
        let Some(rule) = answer(&self.hosts[&version], path, header) else { return "404".to_owned() };
        let cluster = rule["route"]["cluster"].as_str().and_then(|cluster| cluster.split('/').nth(2));
        cluster.map_or_else(|| rule["direct_response"]["status"].to_string(), str::to_owned)
    }
}

#[test]
fn deleted_rule_is_gone_and_the_others_answer() {
    let mut scene = scene_of(&[("/a", None, "s0"), ("/", None, "s1")]);
    scene.change(&[("/b", None, "stuck0"), ("/", None, "s1")]);
    assert_eq!([scene.gets("/a", None), scene.gets("/b", None), scene.gets("/", None)], ["s1", "s1", "s1"]);
}

#[test]
fn rule_with_a_new_backend_keeps_its_old_one_meanwhile() {
    let mut scene = scene_of(&[("/a", None, "s0"), ("/b", None, "s1")]);
    scene.change(&[("/b", None, "stuck0")]);
    assert_eq!([scene.gets("/a", None), scene.gets("/b", None)], ["404", "s1"], "whatever its index is");
}

#[test]
fn narrowed_rule_serves_what_is_left_as_before() {
    let mut scene = scene_of(&[("/a", None, "s0"), ("/", None, "s1")]);
    scene.change(&[("/a", Some(1), "stuck0"), ("/", None, "s1")]);
    assert_eq!([scene.gets("/a", Some("1")), scene.gets("/a", None)], ["s0", "s1"]);
}

#[test]
fn widened_rule_serves_as_before() {
    let mut scene = scene_of(&[("/a", None, "s0"), ("/b", None, "s1")]);
    scene.change(&[("/", None, "stuck0")]);
    assert_eq!([scene.gets("/a", None), scene.gets("/b", None)], ["s0", "404"]);
}

#[test]
fn rule_whose_backend_is_forbidden_fails_until_the_new_one_is_ready() {
    let mut scene = Scene::new();
    scene.take(&Step::Grant(true));
    scene.change(&[("/a", None, "far"), ("/", None, "s0")]);
    scene.acknowledge();
    assert_eq!(scene.gets("/a", None), "far");
    scene.take(&Step::Grant(false));
    scene.change(&[("/a", None, "stuck0"), ("/", None, "s0")]);
    assert_eq!([scene.gets("/a", None), scene.gets("/", None)], ["500", "s0"]);
}

#[test]
fn later_withdrawals_behind_the_same_gate_go_at_once_too() {
    let mut scene = scene_of(&[("/a", None, "s0"), ("/b", None, "s1"), ("/", None, "s1")]);
    scene.change(&[("/a", None, "stuck0"), ("/b", None, "s1"), ("/", None, "s1")]);
    assert_eq!(scene.gets("/a", None), "s0", "nothing was taken away: the old host stays");
    scene.change(&[("/a", None, "stuck1"), ("/", None, "s1")]);
    assert_eq!([scene.gets("/a", None), scene.gets("/b", None)], ["s0", "s1"]);
    scene.change(&[("/", None, "s1"), ("/b", None, "stuck1")]);
    assert_eq!([scene.gets("/a", None), scene.gets("/b", None)], ["s1", "s1"], "both rules are gone");
}

#[test]
fn host_that_only_gains_waits_as_it_is() {
    let mut scene = scene_of(&[("/a", None, "s0")]);
    let before = scene.held();
    scene.change(&[("/a", None, "s0"), ("/b", None, "stuck0")]);
    assert_eq!(scene.held(), before);
}
