//! Listeners: one per port, its filter chains, one constant HTTP filter list.
//!
//! Nothing here depends on HTTP routes or their policies: whatever they need is a filter that is in the list already,
//! disabled, and switched on by the route. A change of a listener drains connections, so these routes never cause one.
//! Routes of connections stand in a filter chain of their own each (`stream`), and change nothing else. What concerns
//! the clients of a listener is another matter.

mod clients;
mod tracing;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{
    Address, SocketAddress, TransportSocket, socket_address::Protocol as SocketProtocol, transport_socket,
};
use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::envoy::extensions::common::matching::v3::ExtensionWithMatcher;
use envoy_types::pb::envoy::extensions::filters::http::composite::v3::Composite;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::Cors;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds,
    http_connection_manager::{RouteSpecifier, ServerHeaderTransformation, UpgradeConfig},
    http_filter,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    certificate_validation_context::TrustChainVerification,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
};
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use gatehouse_model::client::{ClientSettings, TlsOptions};
use gatehouse_model::listener::{
    ClientCheck, EnvoyListener, FilterChain, Handler, IpFamily, TableName, TlsTermination,
};
use gatehouse_model::{Hostname, RouteKey, Transport};
use prost::{Message, Name};

use super::pre_routing::choose_route;
use super::secret::sds;
use super::{
    access_log, ads, any, bool_value, duration, extension, filter, socket, socket_address, stream, u32_value,
};
use crate::wire;

/// Field numbers of `Listener`.
const LISTENER_FILTER_CHAINS: u32 = 3;
const LISTENER_METADATA: u32 = 6;
/// Field number of `FilterChain.metadata`.
const FILTER_CHAIN_METADATA: u32 = 5;
const CONNECTION_BUFFER_BYTES: u32 = 32 * 1024;

/// What the host can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether IPv6 sockets exist: a listener on every address then binds `[::]` for both families.
    pub ipv6: bool,
}

/// A `Listener`.
pub fn listener(listener: &EnvoyListener, options: Options) -> Bytes {
    let mut addresses = addresses(listener, options).into_iter();
    let (listener_filters, filter_chains) = match listener.transport {
        Transport::Tcp => (
            listener.tls.then(tls_inspector).into_iter().collect(),
            listener.chains.iter().map(|chain| encoded_chain(listener, chain)).collect(),
        ),
        Transport::Udp => {
            (listener.chains.iter().filter_map(|c| datagrams(listener, c)).collect(), Vec::new())
        }
    };
    let message = pb::Listener {
        name: listener.name.to_string(),
        address: addresses.next(),
        additional_addresses: addresses
            .map(|address| pb::AdditionalAddress { address: Some(address), ..Default::default() })
            .collect(),
        per_connection_buffer_limit_bytes: Some(u32_value(CONNECTION_BUFFER_BYTES)),
        listener_filters,
        access_log: access_log::of_connections(&listener.settings.access_logs),
        ..pb::Listener::default()
    };
    let message = match listener.transport {
        Transport::Tcp => clients::of_connections(&listener.connections, message),
        Transport::Udp => message,
    };
    let mut bytes = message.encode_to_vec();
    for chain in filter_chains {
        wire::put_bytes(&mut bytes, LISTENER_FILTER_CHAINS, &chain);
    }
    // Datagrams have no chain that could name their route.
    let datagrams = listener.chains.first().filter(|_| listener.transport == Transport::Udp);
    if let Some(metadata) = datagrams.and_then(metadata) {
        wire::put_bytes(&mut bytes, LISTENER_METADATA, &metadata);
    }
    bytes.into()
}

fn encoded_chain(listener: &EnvoyListener, chain: &FilterChain) -> Vec<u8> {
    let mut bytes = filter_chain(listener, chain).encode_to_vec();
    if let Some(metadata) = metadata(chain) {
        wire::put_bytes(&mut bytes, FILTER_CHAIN_METADATA, &metadata);
    }
    bytes
}

/// Whose connections or datagrams they are, where that is one route: virtual hosts name theirs by themselves.
fn metadata(chain: &FilterChain) -> Option<Vec<u8>> {
    let Handler::Stream(forward) = &chain.handler else { return None };
    let RouteKey { kind, object } = forward.route.as_ref()?;
    Some(wire::metadata(&[("kind", kind.as_str()), ("name", &object.name), ("namespace", &object.namespace)]))
}

fn addresses(listener: &EnvoyListener, options: Options) -> Vec<Address> {
    let protocol = match listener.transport {
        Transport::Tcp => SocketProtocol::Tcp,
        Transport::Udp => SocketProtocol::Udp,
    };
    let bind = |ip: IpAddr| SocketAddress {
        protocol: protocol.into(),
        ..socket_address(&ip.to_string(), listener.port)
    };
    if listener.addresses.0.is_empty() {
        let default = if options.ipv6 { IpFamily::Dual } else { IpFamily::V4 };
        let family = listener.settings.family.unwrap_or(default);
        let any = match family {
            IpFamily::V4 => Ipv4Addr::UNSPECIFIED.into(),
            IpFamily::V6 | IpFamily::Dual => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut address = bind(any);
        address.ipv4_compat = family == IpFamily::Dual;
        return vec![socket(address)];
    }
    listener.addresses.0.iter().map(|ip| socket(bind(*ip))).collect()
}

fn tls_inspector() -> pb::ListenerFilter {
    listener_filter("envoy.filters.listener.tls_inspector", &TlsInspector::default())
}

fn datagrams(listener: &EnvoyListener, chain: &FilterChain) -> Option<pb::ListenerFilter> {
    let Handler::Stream(forward) = &chain.handler else { return None };
    Some(listener_filter("envoy.filters.udp_listener.udp_proxy", &stream::udp_proxy(listener, forward)))
}

fn listener_filter<M: Message + Name>(name: &str, config: &M) -> pb::ListenerFilter {
    pb::ListenerFilter {
        name: name.to_owned(),
        config_type: Some(pb::listener_filter::ConfigType::TypedConfig(any(config))),
        ..pb::ListenerFilter::default()
    }
}

fn filter_chain(listener: &EnvoyListener, chain: &FilterChain) -> pb::FilterChain {
    let (filter, alpn) = match &chain.handler {
        Handler::Http(table) => {
            let manager = connection_manager(listener, table, &chain.clients);
            let filter = network_filter("envoy.filters.network.http_connection_manager", &manager);
            (Some(filter), clients::alpn(&chain.clients.tls))
        }
        Handler::Stream(forward) => {
            let proxy = stream::tcp_proxy(listener, forward);
            (proxy.map(|proxy| network_filter("envoy.filters.network.tcp_proxy", &proxy)), Vec::new())
        }
    };
    pb::FilterChain {
        name: chain.name.to_string(),
        filter_chain_match: chain_match(&chain.server_name),
        // Envoy closes the connections of a chain that has no filters.
        filters: filter.into_iter().collect(),
        transport_socket: chain.tls.as_ref().map(|tls| transport_socket(tls, &chain.clients.tls, alpn)),
        transport_socket_connect_timeout: chain.clients.tls.handshake_timeout.map(duration),
        ..pb::FilterChain::default()
    }
}

fn network_filter<M: Message + Name>(name: &str, config: &M) -> pb::Filter {
    pb::Filter { name: name.to_owned(), config_type: Some(pb::filter::ConfigType::TypedConfig(any(config))) }
}

/// Bounded: one prefix per port, however many hostnames it serves.
fn stat_prefix(listener: &EnvoyListener) -> String {
    format!("{}-{}", if listener.tls { "https" } else { "http" }, listener.port)
}

/// A chain without a match serves what no other chain matches, also clients without SNI.
fn chain_match(server_name: &Hostname) -> Option<pb::FilterChainMatch> {
    (*server_name != Hostname::Any).then(|| pb::FilterChainMatch {
        server_names: vec![server_name.to_string()],
        ..pb::FilterChainMatch::default()
    })
}

fn connection_manager(
    listener: &EnvoyListener,
    table: &TableName,
    clients: &ClientSettings,
) -> HttpConnectionManager {
    let manager = HttpConnectionManager {
        stat_prefix: stat_prefix(listener),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: table.0.to_string(),
        })),
        http_filters: http_filters(clients),
        access_log: access_log::of_requests(&listener.settings.access_logs),
        tracing: listener.settings.tracing.as_deref().map(tracing::tracing),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".to_owned(), ..Default::default() }],
        ..HttpConnectionManager::default()
    };
    clients::apply(clients, manager)
}

/// Every filter that any listener or route may switch on, in a fixed order.
fn http_filters(clients: &ClientSettings) -> Vec<HttpFilter> {
    let ahead_of_routes = filter::PRE_ROUTING.into_iter().map(|place| switchable(place, &by_route()));
    let of_routes = [
        switchable(filter::CHOOSE_ROUTE, &choose_route()),
        switchable(filter::CORS, &Cors::default()),
        // Its whole configuration is the route's: what it asks, of whom, and what it says of the request.
        switchable(filter::EXTERNAL_AUTH, &by_route()),
        switchable(filter::STATEFUL_SESSION, &StatefulSession::default()),
        HttpFilter {
            name: filter::ROUTER.to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(any(&Router {
                suppress_envoy_headers: !clients.envoy_headers,
                ..Router::default()
            }))),
            ..HttpFilter::default()
        },
    ];
    ahead_of_routes.chain(of_routes).collect()
}

fn switchable<M: Message + Name>(name: &str, config: &M) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(config))),
        disabled: true,
        ..HttpFilter::default()
    }
}

/// A place for a filter that each route brings along: it matches nothing here.
fn by_route() -> ExtensionWithMatcher {
    ExtensionWithMatcher {
        extension_config: Some(extension("composite", &Composite::default())),
        xds_matcher: Some(Matcher::default()),
        ..ExtensionWithMatcher::default()
    }
}

fn transport_socket(
    termination: &TlsTermination,
    options: &TlsOptions,
    alpn: Vec<String>,
) -> TransportSocket {
    let clients = termination.clients.as_ref();
    let context = tls::DownstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_params: Some(clients::tls_parameters(options)),
            alpn_protocols: alpn,
            tls_certificate_sds_secret_configs: termination.secrets.iter().map(sds).collect(),
            validation_context_type: clients.map(check),
            ..tls::CommonTlsContext::default()
        }),
        require_client_certificate: clients.filter(|check| !check.lenient).map(|_| bool_value(true)),
        ..tls::DownstreamTlsContext::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any(&context))),
    }
}

/// What is the check's stands here, the authorities are a secret: other ones change no listener.
fn check(check: &ClientCheck) -> ValidationContextType {
    let authorities = sds(&check.authorities);
    if !check.lenient {
        return ValidationContextType::ValidationContextSdsSecretConfig(authorities);
    }
    let default = tls::CertificateValidationContext {
        trust_chain_verification: TrustChainVerification::AcceptUntrusted.into(),
        ..tls::CertificateValidationContext::default()
    };
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(default),
        validation_context_sds_secret_config: Some(authorities),
        ..CombinedCertificateValidationContext::default()
    })
}
