//! XBackend: a host outside, or pods by their labels, and how they are connected to.
//!
//! What it asks for is done or the reference does not resolve: requests fail rather than go out otherwise than it says.

use std::sync::Arc;

use gatehouse_api::types::{XBackend, XBackendTls};
use gatehouse_engine::Reads;
use gatehouse_model::backend::{BackendKind, BackendTls, Discovery, Protocol};
use gatehouse_model::{NamespacedName, RouteKind, Transport};

use super::{ClusterKey, Referrer, is_host, reach, transport_to};
use crate::certificates;
use crate::config::{Config, Hosting};
use crate::facts::{Facts, PodSelection};
use crate::gateways::Problem;
use crate::policies::backend_tls::{self, Refused};
use crate::policies::{Outcome, session};

const HOSTNAME: &str = "ExternalHostname";
const SELECTOR: &str = "EndpointSelector";

/// Protocols that are spoken, with the version of HTTP that they mean; `None` for the one that the kind of route implies.
const PROTOCOLS: [(&str, Option<Protocol>); 7] = [
    ("GRPC", Some(Protocol::H2c)),
    ("H2C", Some(Protocol::H2c)),
    ("HTTP", None),
    ("HTTP11", Some(Protocol::Http1)),
    ("HTTP2", Some(Protocol::H2c)),
    ("TCP", Some(Protocol::Tcp)),
    // It begins as a request of HTTP/1.1.
    ("WSS", Some(Protocol::Http1)),
];

/// Resolves a reference to an XBackend.
pub(super) fn resolve(
    (facts, config): (&Facts, &Config),
    reads: &mut Reads,
    from: Referrer<'_>,
    object: NamespacedName,
    port: Option<u16>,
) -> Result<ClusterKey, Problem> {
    let of_it = |reason, message: &str| Problem::new(reason, format!("XBackend {object}: {message}"));
    let Some(backend) = facts.xbackends.get(reads, &object) else {
        return Err(Problem::new("BackendNotFound", format!("XBackend {object} does not exist")));
    };
    let (tls, _) = check((facts, config), reads, backend)
        .map_err(|refused| of_it(refused.accepted.reason, &refused.accepted.message))?;
    let own = backend.spec.port.number.unwrap_or_default();
    if port.is_some_and(|port| port != own) {
        return Err(of_it("UnsupportedValue", "its port is its own: backendRef.port must not be set"));
    }
    let protocol = protocol(from.kind, backend.spec.protocol.as_deref(), tls.is_some())
        .map_err(|why| of_it("UnsupportedProtocol", &why))?;
    if let Some(selection) = selection(&object.namespace, backend) {
        // As long as nobody looked for its pods, the route stays as it was.
        facts.selections.want(reads, &selection);
    }
    let tls = tls.filter(|_| from.protects).map(Arc::new);
    Ok(ClusterKey { kind: BackendKind::XBackend, object, port: own, protocol, tls })
}

/// What an XBackend is told of itself, whoever names it.
pub(super) fn told(
    (facts, config): (&Facts, &Config),
    reads: &mut Reads,
    object: &NamespacedName,
) -> Option<Arc<Outcome>> {
    let backend = facts.xbackends.get(reads, object)?;
    let (problem, unresolved) = match check((facts, config), reads, backend) {
        Ok((_, unresolved)) => (None, unresolved),
        Err(refused) => (Some(refused.accepted), refused.unresolved),
    };
    Some(Arc::new(Outcome { problem, unresolved, overridden: None }))
}

/// The TLS that it asks for, and the first reference that does not resolve while others do; or why it cannot be used.
fn check(
    (facts, config): (&Facts, &Config),
    reads: &mut Reads,
    backend: &XBackend,
) -> Result<(Option<BackendTls>, Option<Problem>), Refused> {
    let spec = &backend.spec;
    let destination = match spec.backend_type.as_str() {
        HOSTNAME => spec.external_hostname.as_ref().map_or_else(
            || Some("externalHostname is missing".to_owned()),
            |host| hostname_problem(config, &host.hostname),
        ),
        SELECTOR => selector_problem(config, backend),
        other => Some(format!("type {other} is not supported")),
    };
    let named = spec.protocol.as_deref();
    let unknown = named.filter(|name| PROTOCOLS.iter().all(|(known, _)| known != name));
    let problem = destination
        .or_else(|| spec.port.number.is_none().then(|| "port.number is missing".to_owned()))
        .or_else(|| unknown.map(|name| format!("protocol {name} is not supported")));
    if let Some(message) = problem {
        return Err(unsupported(message));
    }
    let namespace = backend.metadata.namespace();
    let lowered = spec.tls.as_ref().map(|asked| tls(facts, reads, namespace, asked));
    let (tls, unresolved) = lowered.transpose()?.unwrap_or_default();
    // The schema says so too; an older one may have let it through.
    match named {
        Some("HTTP2" | "WSS") if tls.is_none() => Err(unsupported("the protocol needs TLS".to_owned())),
        Some("H2C") if tls.is_some() => Err(unsupported("protocol H2C is without TLS; use HTTP2".to_owned())),
        _ => Ok((tls, unresolved)),
    }
}

fn unsupported(message: String) -> Refused {
    Refused { accepted: Problem::new("UnsupportedValue", message), unresolved: None }
}

fn tls(
    facts: &Facts,
    reads: &mut Reads,
    namespace: &str,
    asked: &XBackendTls,
) -> Result<(Option<BackendTls>, Option<Problem>), Refused> {
    let shows = match (asked.mode.as_str(), &asked.client_certificate_ref) {
        ("None", _) => return Ok((None, None)),
        ("ServerOnly", _) => None,
        ("ClientAndServer", Some(reference)) => {
            let shown = certificates::shown_to_xbackend(facts, reads, &namespace.into(), reference);
            Some(shown.map_err(|problem| Refused { accepted: problem.clone(), unresolved: Some(problem) })?)
        }
        ("ClientAndServer", None) => {
            return Err(unsupported("tls.clientCertificateRef is missing".to_owned()));
        }
        (mode, _) => return Err(unsupported(format!("tls.mode {mode} is not supported"))),
    };
    let Some(validation) = &asked.validation else {
        return Err(unsupported("tls.validation is missing".to_owned()));
    };
    let (tls, unresolved) = backend_tls::lower(facts, reads, namespace, validation)?;
    Ok((Some(BackendTls { shows, ..tls }), unresolved))
}

fn hostname_problem(config: &Config, hostname: &str) -> Option<String> {
    if !is_host(hostname) {
        return Some(format!("{hostname:?} is not a hostname"));
    }
    reach::external_hostname_problem(config, hostname)
}

fn selector_problem(config: &Config, backend: &XBackend) -> Option<String> {
    if config.hosting != Hosting::Pods {
        let why =
            "type EndpointSelector needs a Kubernetes cluster: there are no pods in files; use a Service";
        return Some(why.to_owned());
    }
    let selects = backend.spec.endpoint_selector.as_ref().is_some_and(|s| !s.match_labels.is_empty());
    (!selects).then(|| "endpointSelector.matchLabels is missing".to_owned())
}

/// The pods that an XBackend selects.
pub(super) fn selection(namespace: &Arc<str>, backend: &XBackend) -> Option<PodSelection> {
    let selector =
        backend.spec.endpoint_selector.as_ref().filter(|_| backend.spec.backend_type == SELECTOR)?;
    Some(PodSelection { namespace: namespace.clone(), labels: selector.match_labels.clone() })
}

/// What is spoken to it for a route of a kind.
fn protocol(route: RouteKind, asked: Option<&str>, tls: bool) -> Result<Protocol, String> {
    let implied = match route {
        RouteKind::Http => Protocol::Http1,
        RouteKind::Grpc => Protocol::H2c,
        RouteKind::Tcp | RouteKind::Tls => Protocol::Tcp,
        RouteKind::Udp => Protocol::Udp,
    };
    if transport_to(route) == Transport::Udp && tls {
        return Err("a UDPRoute cannot speak TLS".to_owned());
    }
    let Some(asked) = asked else { return Ok(implied) };
    let spoken = PROTOCOLS.iter().find(|(name, _)| *name == asked).and_then(|(_, spoken)| *spoken);
    let fits = match implied {
        Protocol::Http1 => spoken != Some(Protocol::Tcp),
        // Calls need HTTP/2.
        Protocol::H2c => spoken.is_none_or(|spoken| spoken == Protocol::H2c),
        // What clients say is passed on as it comes: nobody can negotiate for them.
        Protocol::Tcp => !tls || spoken == Some(Protocol::Tcp),
        Protocol::Udp => false,
    };
    match implied {
        _ if !fits => Err(format!("a {route} cannot speak {asked} to it")),
        Protocol::Tcp | Protocol::Udp => Ok(implied),
        Protocol::Http1 | Protocol::H2c => Ok(spoken.unwrap_or(implied)),
    }
}

/// Where its endpoints come from.
pub(super) fn discovery(backend: &XBackend) -> Discovery {
    match (&backend.spec.external_hostname, backend.spec.port.number) {
        (Some(host), Some(port)) if backend.spec.backend_type == HOSTNAME => {
            Discovery::Dns(vec![(host.hostname.as_str().into(), port)])
        }
        _ => Discovery::Eds,
    }
}

/// Names from the root on: a pod's resolver would else try each below the cluster's own domains first, and so find
/// Services of other namespaces.
pub(super) fn absolute(config: &Config, discovery: Discovery) -> Discovery {
    let Discovery::Dns(names) = discovery else { return discovery };
    if config.hosting != Hosting::Pods {
        return Discovery::Dns(names);
    }
    let from_root = |name: Arc<str>| if name.ends_with('.') { name } else { format!("{name}.").into() };
    Discovery::Dns(names.into_iter().map(|(name, port)| (from_root(name), port)).collect())
}

/// Fields of an XBackend that have no effect.
pub(crate) fn unheeded(backend: &XBackend) -> Vec<String> {
    session::unheeded(backend.spec.session_persistence.as_ref())
}

#[cfg(test)]
mod tests {
    use gatehouse_model::RouteKind;
    use gatehouse_model::backend::Protocol;

    use super::protocol;

    #[test]
    fn a_protocol_is_spoken_where_the_route_can_and_refused_where_it_cannot() {
        use RouteKind::{Grpc, Http, Tcp, Tls, Udp};
        for (route, asked, tls, spoken) in [
            (Http, None, false, Ok(Protocol::Http1)),
            (Http, Some("HTTP"), true, Ok(Protocol::Http1)),
            (Http, Some("HTTP2"), true, Ok(Protocol::H2c)),
            (Http, Some("H2C"), false, Ok(Protocol::H2c)),
            (Http, Some("GRPC"), false, Ok(Protocol::H2c)),
            (Http, Some("WSS"), true, Ok(Protocol::Http1)),
            (Http, Some("TCP"), false, Err(())),
            (Grpc, None, true, Ok(Protocol::H2c)),
            (Grpc, Some("HTTP"), false, Ok(Protocol::H2c)),
            (Grpc, Some("HTTP11"), false, Err(())),
            (Grpc, Some("WSS"), true, Err(())),
            (Tcp, Some("H2C"), false, Ok(Protocol::Tcp)),
            (Tcp, Some("TCP"), true, Ok(Protocol::Tcp)),
            (Tls, Some("HTTP2"), true, Err(())),
            (Udp, None, false, Ok(Protocol::Udp)),
            (Udp, None, true, Err(())),
            (Udp, Some("TCP"), false, Err(())),
        ] {
            assert_eq!(protocol(route, asked, tls).map_err(drop), spoken, "{route} {asked:?} {tls}");
        }
    }
}
