//! `Programmed` of a listener: a proxy holds its port and its certificates, and refuses none of them.

mod support;

use std::sync::Arc;

use gatehouse_model::NamespacedName;
use gatehouse_testkit::certificates::{FIRST, Pair, SECOND};
use gatehouse_translate::{Config, SecretKey, WatchKey, WatchState};
use serde_json::{Value, json};
use support::scene::{SCENE, Scene, fleet};

fn listeners_with(names: &[&str]) -> Value {
    let listener = |name: &&str| {
        json!({ "name": name, "port": 443, "protocol": "HTTPS", "hostname": format!("{name}.example.com"),
            "tls": { "certificateRefs": [{ "name": name }] } })
    };
    names.iter().map(listener).collect()
}

fn secret(name: &str, (chain, key): Pair) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
        "stringData": { "tls.crt": chain, "tls.key": key } })
}

fn key(name: &str) -> WatchKey {
    WatchKey::Secret(fleet(), SecretKey::Pair(NamespacedName::new("default", name)))
}

/// A Gateway with HTTPS listeners `a` and `b`, each with a certificate of its own.
struct Https(Scene);

impl Https {
    fn new() -> Self {
        let mut scene = Scene::with(Config::default(), SCENE);
        scene.put(secret("a", FIRST));
        scene.put(secret("b", FIRST));
        scene.put(scene.edited("Gateway", "/spec/listeners", listeners_with(&["a", "b"])));
        scene.settle();
        Self(scene)
    }

    /// One of which a proxy holds everything.
    fn held() -> Self {
        let mut https = Self::new();
        https.port_is_held();
        https.answer("a", WatchState::Held);
        https.answer("b", WatchState::Held);
        https
    }

    fn digest(&self, key: &WatchKey) -> Arc<str> {
        self.0.picture.fleets[&fleet()].watches[key].digest.clone()
    }

    fn port_is_held(&mut self) {
        let watches = &self.0.picture.fleets[&fleet()].watches;
        let port = watches.keys().find(|key| matches!(key, WatchKey::Port(_))).expect("a port").clone();
        let digest = self.digest(&port);
        self.0.world.proxy_says(port, &digest, WatchState::Held);
        self.0.settle();
    }

    fn answer(&mut self, name: &str, state: WatchState) {
        let digest = self.digest(&key(name));
        self.0.world.proxy_says(key(name), &digest, state);
        self.0.settle();
    }

    fn put(&mut self, document: Value) {
        self.0.put(document);
        self.0.settle();
    }

    fn gateway(&self) -> &Value {
        let mut statuses = self.0.picture.statuses.iter();
        statuses.find(|(object, _)| object.kind == "Gateway").expect("a Gateway").1
    }

    /// Status, reason and message of `Programmed`; of the Gateway itself without a name.
    fn programmed(&self, listener: Option<&str>) -> (String, String, String) {
        let status = match listener {
            None => self.gateway(),
            Some(name) => {
                let mut listeners = self.gateway()["listeners"].as_array().expect("listeners").iter();
                listeners.find(|status| status["name"] == name).expect("the listener")
            }
        };
        let mut conditions = status["conditions"].as_array().expect("conditions").iter();
        let found = conditions.find(|condition| condition["type"] == "Programmed").expect("Programmed");
        let text = |field: &str| found[field].as_str().expect("a text").to_owned();
        (text("status"), text("reason"), text("message"))
    }

    fn is(&self, listener: Option<&str>, status: &str, reason: &str) {
        let (found, why, message) = self.programmed(listener);
        assert_eq!((&*found, &*why), (status, reason), "{listener:?}: {message}");
    }
}

#[test]
fn listener_is_programmed_when_a_proxy_holds_its_certificate_too() {
    let mut https = Https::new();
    https.is(Some("a"), "False", "Pending");
    https.port_is_held();
    https.is(Some("a"), "False", "Pending");
    https.is(None, "False", "Pending");
    https.answer("a", WatchState::Held);
    https.is(Some("a"), "True", "Programmed");
    https.is(Some("b"), "False", "Pending");
    https.is(None, "True", "Programmed");
}

#[test]
fn rotated_certificate_leaves_programmed_alone() {
    let mut https = Https::held();
    let before = https.gateway().clone();
    https.put(secret("a", SECOND));
    assert_eq!(*https.gateway(), before, "before the proxy answers");
    https.answer("a", WatchState::Held);
    assert_eq!(*https.gateway(), before);
    https.put(secret("a", FIRST));
    assert_eq!(*https.gateway(), before, "back to the first");
}

#[test]
fn refused_certificate_is_reported_on_its_listeners_only_and_clears_when_mended() {
    let mut https = Https::held();
    https.put(secret("a", SECOND));
    https.answer("a", WatchState::Refused("it is too short".into()));
    https.is(Some("a"), "False", "Invalid");
    let (.., message) = https.programmed(Some("a"));
    assert_eq!(message, "certificate Secret default/a: refused by the proxy: it is too short");
    https.is(Some("b"), "True", "Programmed");
    https.is(None, "True", "Programmed");

    https.put(secret("a", FIRST));
    https.is(Some("a"), "True", "Programmed");
    https.answer("a", WatchState::Held);
    https.is(Some("a"), "True", "Programmed");
}

#[test]
fn certificate_that_was_never_taken_says_why_rather_than_pending() {
    let mut https = Https::new();
    https.answer("a", WatchState::Refused("no".into()));
    https.is(Some("a"), "False", "Invalid");
    https.answer("b", WatchState::Refused("no".into()));
    https.port_is_held();
    https.is(None, "False", "Invalid");
    https.put(secret("a", SECOND));
    https.is(Some("a"), "False", "Pending");
}

#[test]
fn answers_about_a_certificate_end_with_its_last_use() {
    let mut https = Https::held();
    for listeners in [["b"].as_slice(), ["a", "b"].as_slice()] {
        https.put(https.0.edited("Gateway", "/spec/listeners", listeners_with(listeners)));
    }
    https.port_is_held();
    https.is(Some("a"), "False", "Pending");
    https.is(Some("b"), "True", "Programmed");
}
