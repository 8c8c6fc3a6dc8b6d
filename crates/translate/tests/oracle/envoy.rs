//! How Envoy chooses who answers: filter chain by server name, virtual host by domain, the first route that matches.

use std::collections::BTreeMap;

use gatehouse_model::ResourceType;
use gatehouse_testkit::oracle::{Answer, Deed, Request, ServerName};
use regex::Regex;
use serde_json::Value;

use crate::support::{Fleet, Picture, decode, strings_at};

/// The configuration of one proxy.
pub(crate) struct Proxy {
    listeners: Vec<Value>,
    /// By table.
    hosts: BTreeMap<String, Vec<Value>>,
}

/// A proxy for each Gateway, by name.
pub(crate) fn proxies(picture: &Picture) -> BTreeMap<String, Proxy> {
    picture.fleets.iter().map(|(key, fleet)| (key.to_string(), Proxy::new(fleet))).collect()
}

impl Proxy {
    fn new(fleet: &Fleet) -> Self {
        let (mut listeners, mut hosts) = (Vec::new(), BTreeMap::<String, Vec<Value>>::new());
        for ((kind, name), resource) in &fleet.resources {
            match kind {
                ResourceType::Listener => listeners.push(decode(resource)),
                ResourceType::VirtualHost => {
                    let (table, _) = name.rsplit_once('/').expect("a host is named after its table");
                    hosts.entry(table.to_owned()).or_default().push(decode(resource));
                }
                _ => {}
            }
        }
        Self { listeners, hosts }
    }

    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let Some(chain) = self.chain(request) else { return Answer::Refused };
        let tables = strings_at(chain, "route_config_name");
        let Some(table) = tables.first() else { return Answer::Refused };
        let hosts = self.hosts.get(table).map(Vec::as_slice).unwrap_or_default();
        let best = hosts
            .iter()
            .flat_map(|host| texts(&host["domains"]).map(move |domain| (host, domain)))
            .filter(|(_, domain)| matches(domain, &request.hostname()))
            .max_by_key(|(_, domain)| specificity(domain));
        let Some((host, _)) = best else { return Answer::NotFound };
        let routes = host["routes"].as_array().into_iter().flatten();
        let mut matching = routes.filter(|route| route_matches(&route["match"], request));
        matching.next().map_or(Answer::NotFound, answer_of)
    }

    fn chain(&self, request: &Request) -> Option<&Value> {
        let at = |listener: &&Value| listener["address"]["socket_address"]["port_value"] == request.port;
        let listener = self.listeners.iter().find(at)?;
        let chains = listener["filter_chains"].as_array()?;
        let name = match &request.tls {
            Some(ServerName::Is(name)) => name.to_ascii_lowercase(),
            Some(ServerName::Absent) | None => String::new(),
        };
        let names = |chain: &Value| -> Vec<String> {
            let names: Vec<_> =
                texts(&chain["filter_chain_match"]["server_names"]).map(str::to_owned).collect();
            if names.is_empty() { vec!["*".to_owned()] } else { names }
        };
        let all = chains.iter().flat_map(|chain| names(chain).into_iter().map(move |name| (chain, name)));
        let best = all.filter(|(_, own)| matches(own, &name)).max_by_key(|(_, own)| specificity(own));
        let (chain, _) = best?;
        // A handshake with what does not speak TLS fails, and so does the other way round.
        (chain.get("transport_socket").is_some() == request.tls.is_some()).then_some(chain)
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn matches(domain: &str, host: &str) -> bool {
    match domain.strip_prefix('*') {
        Some(suffix) => suffix.is_empty() || host.len() > suffix.len() && host.ends_with(suffix),
        None => domain == host,
    }
}

/// Exact ones first, then the longest suffix.
fn specificity(domain: &str) -> (bool, usize) {
    (!domain.starts_with('*'), domain.len())
}

fn route_matches(rule: &Value, request: &Request) -> bool {
    let header = |matcher: &Value| {
        let name = text(matcher, "name");
        let value = match name {
            ":method" => Some(request.method),
            name => {
                let mut named = request.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
                named.next().map(|(_, value)| *value)
            }
        };
        value.is_some_and(|value| string_matches(&matcher["string_match"], value))
    };
    let parameter = |matcher: &Value| {
        let mut named = request.query.iter().filter(|(own, _)| *own == text(matcher, "name"));
        named.next().is_some_and(|(_, value)| string_matches(&matcher["string_match"], value))
    };
    let all =
        |list: &str, holds: &dyn Fn(&Value) -> bool| rule[list].as_array().into_iter().flatten().all(holds);
    let known =
        ["prefix", "path", "path_separated_prefix", "safe_regex", "headers", "query_parameters", "grpc"];
    let fields = rule.as_object().expect("a match");
    assert!(fields.keys().all(|field| known.contains(&&**field)), "the model does not know all of {rule}");
    (rule.get("grpc").is_none() || request.grpc)
        && path_matches(rule, request.path)
        && all("headers", &header)
        && all("query_parameters", &parameter)
}

fn path_matches(rule: &Value, path: &str) -> bool {
    if let Some(prefix) = rule["prefix"].as_str() {
        path.starts_with(prefix)
    } else if let Some(prefix) = rule["path_separated_prefix"].as_str() {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    } else if let Some(exact) = rule["path"].as_str() {
        path == exact
    } else {
        whole(text(&rule["safe_regex"], "regex"), path)
    }
}

fn string_matches(matcher: &Value, value: &str) -> bool {
    match matcher["exact"].as_str() {
        Some(exact) => value == exact,
        None => whole(text(&matcher["safe_regex"], "regex"), value),
    }
}

fn whole(regex: &str, text: &str) -> bool {
    Regex::new(&format!("^(?:{regex})$")).expect("Envoy takes it").is_match(text)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{value} has no {field}"))
}

/// What a route does: its name is that of the rule.
fn answer_of(route: &Value) -> Answer {
    let rule = || {
        let name = text(route, "name");
        name.split_once("/match/").expect("a route is named after its rule and match").0.to_owned()
    };
    if route.get("redirect").is_some() {
        return Answer::Rule(rule(), Deed::Redirects);
    }
    if let Some(cluster) = route["route"]["cluster"].as_str() {
        let namespace = ["a", "b"].into_iter().find(|ns| cluster.starts_with(&format!("service/{ns}/s/80")));
        return Answer::Rule(rule(), Deed::Forwards(namespace.expect("the cluster of a Service")));
    }
    let status = &route["direct_response"]["status"];
    match status.as_u64() {
        Some(421) => Answer::Misdirected,
        Some(404) => Answer::NotFound,
        Some(500) if rule().starts_with("httproute/") => Answer::Rule(rule(), Deed::Fails),
        Some(503) if rule().starts_with("grpcroute/") => Answer::Rule(rule(), Deed::Fails),
        _ => panic!("the model does not know what {route} does"),
    }
}
