//! Virtual hosts and the tables that hold them.

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3 as pb;
use gatehouse_model::Hostname;
use gatehouse_model::listener::TableName;
use prost::Message;

use super::ads;
use super::pre_routing::route_for_all;
use crate::wire;

/// Field number of `VirtualHost.routes`.
pub(super) const VIRTUAL_HOST_ROUTES: u32 = 3;
/// Field number of `RouteConfiguration.virtual_hosts`.
const ROUTE_CONFIGURATION_VIRTUAL_HOSTS: u32 = 2;

/// Name of a virtual host as VHDS asks for it: `<table>/<hostname>`. Envoy cuts at the last `/`, and a
/// hostname has none.
pub fn virtual_host_name(table: &TableName, host: &Hostname) -> String {
    format!("{}/{host}", table.0)
}

/// A `VirtualHost` with the routes of the given fragments, and what else they hold, in their order. Without fragments it
/// answers 404.
pub fn virtual_host<'a>(
    table: &TableName,
    host: &Hostname,
    fragments: impl Iterator<Item = &'a [u8]>,
) -> Bytes {
    let mut bytes = head(table, host).encode_to_vec();
    fragments.for_each(|fragment| bytes.extend_from_slice(fragment));
    bytes.into_boxed_slice().into()
}

/// A `VirtualHost` that answers every request with a status code: 421 for hosts of another listener.
pub fn status_host(table: &TableName, host: &Hostname, status: u16) -> Bytes {
    let mut host = head(table, host);
    host.routes.push(route_for_all(status));
    host.encode_to_vec().into()
}

fn head(table: &TableName, host: &Hostname) -> pb::VirtualHost {
    pb::VirtualHost {
        name: virtual_host_name(table, host),
        domains: vec![host.to_string()],
        ..pb::VirtualHost::default()
    }
}

/// Where a table has its virtual hosts.
#[derive(Clone, Copy, Debug)]
pub enum TableMode<'a> {
    /// Each is a resource of its own (VHDS over ADS).
    Vhds,
    /// Inside the table: encoded `VirtualHost` messages.
    Inline(&'a [Bytes]),
}

/// A `RouteConfiguration`.
///
/// The port in `Host` never decides: clients reach the proxy by mapped ports too. The header itself is
/// forwarded as it came.
pub fn route_table(name: &TableName, mode: TableMode<'_>) -> Bytes {
    let table = pb::RouteConfiguration {
        name: name.0.to_string(),
        ignore_port_in_host_matching: true,
        vhds: match mode {
            TableMode::Vhds => Some(pb::Vhds { config_source: Some(ads()) }),
            TableMode::Inline(_) => None,
        },
        ..pb::RouteConfiguration::default()
    };
    let mut bytes = table.encode_to_vec();
    if let TableMode::Inline(hosts) = mode {
        for host in hosts {
            wire::put_bytes(&mut bytes, ROUTE_CONFIGURATION_VIRTUAL_HOSTS, host);
        }
    }
    bytes.into()
}
