//! Names of Envoy resources: from identities, never from positions.

use std::sync::Arc;

use gatehouse_model::backend::{BackendKind, ClusterName, Protocol};
use gatehouse_model::listener::{SecretName, TableName};
use gatehouse_model::{Hostname, ListenerKey, ListenerOwner, NamespacedName, PortKey};

use crate::backends::ClusterKey;

/// `<gateway ns>/<gateway>/<port>/tcp`, with the addresses when the Gateway names some.
pub(crate) fn listener(key: &PortKey) -> Arc<str> {
    let addresses: Vec<String> = key.addresses.0.iter().map(ToString::to_string).collect();
    let at = if addresses.is_empty() { String::new() } else { format!("{}:", addresses.join("+")) };
    format!("{}/{at}{}/tcp", key.fleet, key.port).into()
}

/// The one table of an HTTP port.
pub(crate) fn http_table(gateway: &NamespacedName, port: u16) -> TableName {
    TableName(format!("{gateway}/{port}/http").into())
}

/// The table of an HTTPS listener, which is also the name of its filter chain.
pub(crate) fn https_table(key: &ListenerKey, port: u16) -> TableName {
    let owner = match &key.owner {
        ListenerOwner::Gateway => String::new(),
        ListenerOwner::ListenerSet(set) => format!("listenerset/{set}/"),
    };
    TableName(format!("{}/{port}/https/{owner}{}", key.gateway, key.name).into())
}

/// `<table>/<host>`: Envoy cuts the table's name off at the last slash.
pub(crate) fn virtual_host(table: &TableName, host: &Hostname) -> Arc<str> {
    format!("{}/{host}", table.0).into()
}

/// `<kind>/<ns>/<name>[/<port>][/<protocol>]`
pub(crate) fn cluster(key: &ClusterKey) -> ClusterName {
    let mut name = match key.kind {
        BackendKind::Service => format!("service/{}/{}", key.object, key.port),
        BackendKind::Backend => format!("backend/{}", key.object),
    };
    if key.protocol == Protocol::H2c {
        name.push_str("/h2c");
    }
    ClusterName(name.into())
}

/// The object behind a cluster's name.
pub(crate) fn backend(cluster: &str) -> Option<(BackendKind, NamespacedName)> {
    let mut parts = cluster.split('/');
    let kind = match parts.next()? {
        "service" => BackendKind::Service,
        "backend" => BackendKind::Backend,
        _ => return None,
    };
    Some((kind, NamespacedName::new(parts.next()?, parts.next()?)))
}

/// `<ns>/<name>` of the Secret.
pub(crate) fn secret(key: &NamespacedName) -> SecretName {
    SecretName(key.to_string().into())
}

/// A hostname of an object; `None` for what an older schema may have let through and no proxy would take.
pub(crate) fn hostname(text: &str) -> Option<Hostname> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = !name.is_empty() && name.len() <= 253 && !name.starts_with('.') && name.chars().all(allowed);
    good.then(|| Hostname::parse(text))
}
