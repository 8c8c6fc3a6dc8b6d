//! The objects that decide who answers, as far as they do, and as YAML.

use serde_json::{Value, json};

use crate::certificates::FIRST;

const API: &str = "gateway.networking.k8s.io/v1";
const GROUP: &str = "gateway.networking.k8s.io";
/// The label that a selector asks for.
const TEAM: (&str, &str) = ("team", "x");

/// All namespaces. As `{namespace}/{name}` the objects of the second come before those of the first.
pub(super) const NAMESPACES: [&str; 3] = ["a", "a-b", "b"];
/// Namespaces that have the Service that exists.
pub(super) const SERVED: [&str; 2] = ["a", "b"];
/// Its name.
pub(super) const SERVICE: &str = "s";

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The namespace.
    pub namespace: &'static str,
    /// The name.
    pub name: String,
}

impl Name {
    /// `{namespace}/{name}`
    pub fn text(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn meta(&self, created: Option<u8>) -> Value {
        let mut meta = json!({ "namespace": self.namespace, "name": self.name });
        if let Some(day) = created {
            meta["creationTimestamp"] = json!(format!("2026-01-0{day}T00:00:00Z"));
        }
        meta
    }
}

/// Everything that decides who answers.
#[derive(Clone, Debug)]
pub struct World {
    /// Namespaces with the label that selectors ask for.
    pub team: Vec<&'static str>,
    /// Gateways, all of one class.
    pub gateways: Vec<Gateway>,
    /// ListenerSets.
    pub sets: Vec<ListenerSet>,
    /// HTTPRoutes and GRPCRoutes.
    pub routes: Vec<Route>,
    /// ReferenceGrants.
    pub grants: Vec<Grant>,
}

/// A Gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Its name.
    pub name: Name,
    /// `allowedListeners`
    pub allowed_listeners: Namespaces,
    /// `listeners`
    pub listeners: Vec<Listener>,
}

/// A ListenerSet.
#[derive(Clone, Debug)]
pub struct ListenerSet {
    /// Its name.
    pub name: Name,
    /// The day of its creation.
    pub created: Option<u8>,
    /// `parentRef`
    pub gateway: Name,
    /// `listeners`
    pub listeners: Vec<Listener>,
}

/// `from` of namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// `None`
    None,
    /// `Same`
    Same,
    /// `All`
    All,
    /// `Selector`, of those with the label.
    Team,
}

/// A listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its hostname; none for TCP.
    pub hostname: Option<&'static str>,
    /// `allowedRoutes.namespaces`
    pub namespaces: Namespaces,
    /// `allowedRoutes.kinds`; empty: all of the protocol.
    pub kinds: Vec<Kind>,
}

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `HTTP`
    Http,
    /// `HTTPS`
    Https,
    /// `TCP`; there are no routes for it.
    Tcp,
}

/// The kind of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `HTTPRoute`
    Http,
    /// `GRPCRoute`
    Grpc,
}

impl Kind {
    /// As users write it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
        }
    }
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// The day of its creation.
    pub created: Option<u8>,
    /// `parentRefs`
    pub parents: Vec<Parent>,
    /// `hostnames`
    pub hostnames: Vec<&'static str>,
    /// `rules`
    pub rules: Vec<Rule>,
}

impl Route {
    /// How answers name one of its rules.
    pub fn rule_name(&self, rule: usize) -> String {
        format!("{}/{}/rule/{rule}", self.kind.text().to_ascii_lowercase(), self.name.text())
    }
}

/// An entry of `parentRefs`.
#[derive(Clone, Debug)]
pub struct Parent {
    /// `kind`
    pub kind: ParentKind,
    /// `namespace` and `name`
    pub name: Name,
    /// `sectionName`
    pub section: Option<String>,
    /// `port`
    pub port: Option<u16>,
}

/// What a route attaches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentKind {
    /// `Gateway`
    Gateway,
    /// `ListenerSet`
    ListenerSet,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `matches`
    pub matches: Vec<Match>,
    /// What becomes of requests.
    pub action: Action,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Action {
    /// `RequestRedirect`; no GRPCRoute has it.
    Redirect,
    /// The Service of this namespace.
    Service(&'static str),
}

/// An entry of `matches`. Those of a GRPCRoute have no path, method and query, the others neither service nor call.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// `path`
    pub path: Option<(PathType, &'static str)>,
    /// `method` of HTTP
    pub method: Option<&'static str>,
    /// `headers`
    pub headers: Vec<Named>,
    /// `queryParams`
    pub query: Vec<Named>,
    /// Whether `method.type` is `RegularExpression`.
    pub regex: bool,
    /// `method.service`
    pub service: Option<&'static str>,
    /// `method.method`
    pub call: Option<&'static str>,
}

/// `path.type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathType {
    /// `Exact`
    Exact,
    /// `PathPrefix`
    Prefix,
    /// `RegularExpression`
    Regex,
}

/// A header or query parameter that must have a value.
#[derive(Clone, Debug)]
pub struct Named {
    /// Whether `type` is `RegularExpression`.
    pub regex: bool,
    /// `name`
    pub name: &'static str,
    /// `value`
    pub value: &'static str,
}

/// A ReferenceGrant.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its name, and the namespace that it grants access to.
    pub name: Name,
    /// `from[0].kind`
    pub kind: Kind,
    /// `from[0].namespace`
    pub from: &'static str,
    /// `to[0].name`
    pub to: Option<&'static str>,
}

impl World {
    /// All objects as the API server would have them.
    pub fn documents(&self) -> Vec<Value> {
        let mut all = vec![json!({ "apiVersion": API, "kind": "GatewayClass", "metadata": { "name": "c" },
            "spec": { "controllerName": "gatehouse.dev/gatewayclass-controller" } })];
        for namespace in NAMESPACES {
            let labels = if self.team.contains(&namespace) { json!({ TEAM.0: TEAM.1 }) } else { json!({}) };
            all.push(json!({ "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": namespace, "labels": labels } }));
            all.push(json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": { "namespace": namespace, "name": "cert" },
                "stringData": { "tls.crt": FIRST.0, "tls.key": FIRST.1 } }));
        }
        for namespace in SERVED {
            all.push(json!({ "apiVersion": "v1", "kind": "Service",
                "metadata": { "namespace": namespace, "name": SERVICE }, "spec": { "ports": [{ "port": 80 }] } }));
        }
        all.extend(self.own_documents());
        all
    }

    /// The objects that differ from world to world, as YAML.
    pub fn yaml(&self) -> String {
        let text = |document: Value| serde_yaml::to_string(&document).expect("JSON is YAML");
        let own: Vec<_> = self.own_documents().into_iter().map(text).collect();
        format!("# namespaces with the label {}: {:?}\n{}", TEAM.0, self.team, own.join("---\n"))
    }

    fn own_documents(&self) -> Vec<Value> {
        let gateways = self.gateways.iter().map(Gateway::document);
        let sets = self.sets.iter().map(ListenerSet::document);
        let routes = self.routes.iter().map(Route::document);
        gateways.chain(sets).chain(routes).chain(self.grants.iter().map(Grant::document)).collect()
    }
}

impl Gateway {
    fn document(&self) -> Value {
        let listeners: Vec<_> = self.listeners.iter().map(Listener::json).collect();
        json!({ "apiVersion": API, "kind": "Gateway", "metadata": self.name.meta(None),
            "spec": { "gatewayClassName": "c", "listeners": listeners,
                "allowedListeners": { "namespaces": self.allowed_listeners.json() } } })
    }
}

impl ListenerSet {
    fn document(&self) -> Value {
        let listeners: Vec<_> = self.listeners.iter().map(Listener::json).collect();
        let parent = reference(self.name.namespace, &self.gateway);
        json!({ "apiVersion": API, "kind": "ListenerSet", "metadata": self.name.meta(self.created),
            "spec": { "parentRef": parent, "listeners": listeners } })
    }
}

/// Leaves the namespace out where it is the referrer's own.
fn reference(from: &str, to: &Name) -> Value {
    let mut reference = json!({ "name": to.name });
    if from != to.namespace {
        reference["namespace"] = json!(to.namespace);
    }
    reference
}

impl Namespaces {
    fn json(self) -> Value {
        match self {
            Self::None => json!({ "from": "None" }),
            Self::Same => json!({ "from": "Same" }),
            Self::All => json!({ "from": "All" }),
            Self::Team => json!({ "from": "Selector", "selector": { "matchLabels": { TEAM.0: TEAM.1 } } }),
        }
    }
}

impl Listener {
    fn json(&self) -> Value {
        let kinds: Vec<_> = self.kinds.iter().map(|kind| json!({ "kind": kind.text() })).collect();
        let protocol = match self.protocol {
            Protocol::Http => "HTTP",
            Protocol::Https => "HTTPS",
            Protocol::Tcp => "TCP",
        };
        let mut listener = json!({ "name": self.name, "port": self.port, "protocol": protocol,
            "allowedRoutes": { "namespaces": self.namespaces.json(), "kinds": kinds } });
        if let Some(hostname) = self.hostname {
            listener["hostname"] = json!(hostname);
        }
        if self.protocol == Protocol::Https {
            listener["tls"] = json!({ "certificateRefs": [{ "name": "cert" }] });
        }
        listener
    }
}

impl Route {
    fn document(&self) -> Value {
        let parents: Vec<_> = self.parents.iter().map(|parent| parent.json(self.name.namespace)).collect();
        let rules: Vec<_> = (0..self.rules.len()).map(|rule| self.rule(rule)).collect();
        json!({ "apiVersion": API, "kind": self.kind.text(), "metadata": self.name.meta(self.created),
            "spec": { "parentRefs": parents, "hostnames": self.hostnames, "rules": rules } })
    }

    /// Each rule says its name in the response.
    fn rule(&self, index: usize) -> Value {
        let rule = &self.rules[index];
        let matches: Vec<_> = rule.matches.iter().map(|m| m.json(self.kind)).collect();
        let mut filters = vec![json!({ "type": "ResponseHeaderModifier",
            "responseHeaderModifier": { "set": [{ "name": "x-rule", "value": self.rule_name(index) }] } })];
        let mut json = json!({ "matches": matches });
        match rule.action {
            Action::Redirect => filters.push(json!({ "type": "RequestRedirect",
                "requestRedirect": { "hostname": "to.example.com" } })),
            Action::Service(namespace) => {
                let service = Name { namespace, name: SERVICE.to_owned() };
                let mut backend = reference(self.name.namespace, &service);
                backend["port"] = json!(80);
                json["backendRefs"] = json!([backend]);
            }
        }
        json["filters"] = json!(filters);
        json
    }
}

impl Parent {
    fn json(&self, from: &str) -> Value {
        let mut parent = reference(from, &self.name);
        if self.kind == ParentKind::ListenerSet {
            parent["kind"] = json!("ListenerSet");
        }
        if let Some(section) = &self.section {
            parent["sectionName"] = json!(section);
        }
        if let Some(port) = self.port {
            parent["port"] = json!(port);
        }
        parent
    }
}

impl Match {
    fn json(&self, kind: Kind) -> Value {
        let list = |named: &[Named]| named.iter().map(Named::json).collect::<Value>();
        let mut json = json!({ "headers": list(&self.headers) });
        if kind == Kind::Grpc {
            if self.service.is_some() || self.call.is_some() {
                json["method"] = json!({ "type": type_of(self.regex) });
            }
            for (field, value) in [("service", self.service), ("method", self.call)] {
                if let Some(value) = value {
                    json["method"][field] = json!(value);
                }
            }
            return json;
        }
        json["queryParams"] = list(&self.query);
        if let Some((path_type, value)) = self.path {
            let path_type = match path_type {
                PathType::Exact => "Exact",
                PathType::Prefix => "PathPrefix",
                PathType::Regex => "RegularExpression",
            };
            json["path"] = json!({ "type": path_type, "value": value });
        }
        if let Some(method) = self.method {
            json["method"] = json!(method);
        }
        json
    }
}

impl Named {
    fn json(&self) -> Value {
        json!({ "type": type_of(self.regex), "name": self.name, "value": self.value })
    }
}

fn type_of(regex: bool) -> &'static str {
    if regex { "RegularExpression" } else { "Exact" }
}

impl Grant {
    fn document(&self) -> Value {
        let mut to = json!({ "group": "", "kind": "Service" });
        if let Some(name) = self.to {
            to["name"] = json!(name);
        }
        let from = json!({ "group": GROUP, "kind": self.kind.text(), "namespace": self.from });
        json!({ "apiVersion": API, "kind": "ReferenceGrant", "metadata": self.name.meta(None),
            "spec": { "from": [from], "to": [to] } })
    }
}
