//! Names of Envoy resources: from identities, never from positions.

use std::sync::Arc;

use gatehouse_model::backend::{BackendKind, ClusterName, Protocol};
use gatehouse_model::listener::{SecretName, TableName};
use gatehouse_model::{Hostname, ListenerKey, ListenerOwner, NamespacedName, PortKey, Transport};

use crate::backends::ClusterKey;
use crate::output::SecretKey;

/// `<gateway ns>/<gateway>/<port>/<tcp or udp>`, with the addresses when the Gateway names some.
pub(crate) fn listener(key: &PortKey) -> Arc<str> {
    let addresses: Vec<String> = key.addresses.0.iter().map(ToString::to_string).collect();
    let at = if addresses.is_empty() { String::new() } else { format!("{}:", addresses.join("+")) };
    format!("{}/{at}{}/{}", key.fleet, key.port, key.transport.as_str()).into()
}

/// The one table of an HTTP port.
pub(crate) fn http_table(gateway: &NamespacedName, port: u16) -> TableName {
    TableName(format!("{gateway}/{port}/http").into())
}

/// The table of an HTTPS listener, which is also the name of its filter chain.
pub(crate) fn https_table(key: &ListenerKey, port: u16) -> TableName {
    TableName(format!("{}/{port}/https/{}", key.gateway, in_gateway(key)).into())
}

/// A listener's name that is its own among those of all owners.
fn in_gateway(key: &ListenerKey) -> String {
    match &key.owner {
        ListenerOwner::Gateway => key.name.to_string(),
        ListenerOwner::ListenerSet(set) => format!("listenerset/{set}/{}", key.name),
    }
}

/// The filter chain of a server name.
pub(crate) fn tls_chain(key: &ListenerKey, port: u16, host: &Hostname) -> Arc<str> {
    format!("{}/{port}/tls/{}/{host}", key.gateway, in_gateway(key)).into()
}

/// What serves a port whose connections or datagrams are not told apart.
pub(crate) fn port_chain(key: &ListenerKey, port: u16, transport: Transport) -> Arc<str> {
    format!("{}/{port}/{}/{}", key.gateway, transport.as_str(), in_gateway(key)).into()
}

/// `<table>/<host>`: Envoy cuts the table's name off at the last slash.
pub(crate) fn virtual_host(table: &TableName, host: &Hostname) -> Arc<str> {
    format!("{}/{host}", table.0).into()
}

/// `<kind>/<ns>/<name>[/<port>][/<protocol>][/tls-<digest>]`
pub(crate) fn cluster(key: &ClusterKey) -> ClusterName {
    let mut name = match key.kind {
        BackendKind::Service => format!("service/{}/{}", key.object, key.port),
        BackendKind::Backend => format!("backend/{}", key.object),
        BackendKind::XBackend => format!("xbackend/{}/{}", key.object, key.port),
        BackendKind::Nowhere => return ClusterName::nowhere(),
    };
    name.push_str(match key.protocol {
        Protocol::Http1 => "",
        Protocol::H2c => "/h2c",
        Protocol::Tcp => "/tcp",
        Protocol::Udp => "/udp",
    });
    if let Some(tls) = &key.tls {
        let content = serde_json::to_vec(tls).expect("texts and lists always serialise");
        name.push_str("/tls-");
        name.push_str(&gatehouse_envoy::version(&content));
    }
    ClusterName(name.into())
}

/// The object behind a cluster's name.
pub(crate) fn backend(cluster: &str) -> Option<(BackendKind, NamespacedName)> {
    if *cluster == *ClusterName::nowhere().0 {
        return Some((BackendKind::Nowhere, NamespacedName::new("", "")));
    }
    let mut parts = cluster.split('/');
    let kind = match parts.next()? {
        "service" => BackendKind::Service,
        "backend" => BackendKind::Backend,
        "xbackend" => BackendKind::XBackend,
        _ => return None,
    };
    Some((kind, NamespacedName::new(parts.next()?, parts.next()?)))
}

/// `<ns>/<name>` of the Secret, or `<gateway ns>/<gateway>/<port>/clients`.
pub(crate) fn secret(key: &SecretKey) -> SecretName {
    SecretName(match key {
        SecretKey::Pair(secret) => secret.to_string().into(),
        SecretKey::Clients(gateway, port) => format!("{gateway}/{port}/clients").into(),
    })
}

/// A hostname of an object; `None` for what an older schema may have let through and no proxy would take.
pub(crate) fn hostname(text: &str) -> Option<Hostname> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = !name.is_empty() && name.len() <= 253 && !name.starts_with('.') && name.chars().all(allowed);
    good.then(|| Hostname::parse(text))
}
