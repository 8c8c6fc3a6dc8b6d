//! Model values to encoded Envoy messages.
//!
//! Each function gives the bytes of one resource (or of a part of one, [`RouteFragments`]); equal values give
//! equal bytes in every process.

mod access_log;
mod cluster;
mod endpoint;
mod host;
mod listener;
mod matcher;
mod pre_routing;
mod route;
mod secret;
mod stream;

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, Pipe, SocketAddress, TypedExtensionConfig,
    address, socket_address,
};
use envoy_types::pb::google::protobuf::{Any, BoolValue, Duration as ProtoDuration, UInt32Value};
use prost::{Message, Name};

pub use cluster::cluster;
pub use endpoint::endpoints;
pub use host::{TableMode, route_table, status_host, virtual_host, virtual_host_name};
pub use listener::{Options, listener};
pub use pre_routing::{PRE_ROUTING_FILTERS, PreRouting, answer_all, pre_routing};
pub use route::{DEFAULT_TIMEOUT, Requests, RouteFragments, UNLIMITED, route};
pub use secret::{authorities, secret};

/// Names of HTTP filters, in filter lists and in `typed_per_filter_config`.
pub(crate) mod filter {
    /// Lets the route be chosen anew after the filters ahead of routes.
    pub(crate) const CHOOSE_ROUTE: &str = "gatehouse.choose_route";
    pub(crate) const CORS: &str = "envoy.filters.http.cors";
    pub(crate) const EXTERNAL_AUTH: &str = "envoy.filters.http.ext_authz";
    /// Places for filters ahead of routes, in their order: as many as a listener may have.
    pub(crate) const PRE_ROUTING: [&str; 16] = [
        "gatehouse.pre_routing.1",
        "gatehouse.pre_routing.2",
        "gatehouse.pre_routing.3",
        "gatehouse.pre_routing.4",
        "gatehouse.pre_routing.5",
        "gatehouse.pre_routing.6",
        "gatehouse.pre_routing.7",
        "gatehouse.pre_routing.8",
        "gatehouse.pre_routing.9",
        "gatehouse.pre_routing.10",
        "gatehouse.pre_routing.11",
        "gatehouse.pre_routing.12",
        "gatehouse.pre_routing.13",
        "gatehouse.pre_routing.14",
        "gatehouse.pre_routing.15",
        "gatehouse.pre_routing.16",
    ];
    pub(crate) const ROUTER: &str = "envoy.filters.http.router";
    pub(crate) const STATEFUL_SESSION: &str = "envoy.filters.http.stateful_session";
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn extension<M: Message + Name>(name: &str, message: &M) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(any(message)) }
}

/// Envoy refuses durations that overflow its clock; ten years is as good as for ever.
fn duration(value: Duration) -> ProtoDuration {
    const LONGEST: Duration = Duration::from_hours(24 * 3650);
    let value = value.min(LONGEST);
    let seconds = i64::try_from(value.as_secs()).expect("ten years fit");
    let nanos = i32::try_from(value.subsec_nanos()).expect("below 10^9");
    ProtoDuration { seconds, nanos }
}

fn u32_value(value: u32) -> UInt32Value {
    UInt32Value { value }
}

fn bool_value(value: bool) -> BoolValue {
    BoolValue { value }
}

/// The one aggregated stream.
fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
        ..ConfigSource::default()
    }
}

fn socket_address(host: &str, port: u16) -> SocketAddress {
    SocketAddress {
        address: host.to_owned(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    }
}

fn socket(address: SocketAddress) -> Address {
    Address { address: Some(address::Address::SocketAddress(address)) }
}

fn pipe(path: &str) -> Address {
    Address { address: Some(address::Address::Pipe(Pipe { path: path.to_owned(), ..Pipe::default() })) }
}
