//! Filters of a listener: what happens to its requests before a route is chosen.
//!
//! ```text
//! places of the filter list:  1 .. 16 (each a filter that the virtual host brings along), then one that lets the route be
//!                             chosen anew, then the filters of routes
//! ```
//!
//! Envoy looks for a filter's configuration by way of a route, and decides which filters take part when the first route is
//! chosen. So a virtual host with such filters has a route for every request, and switches on every filter that a route
//! may ask for: else the filters of the route that is chosen in the end would be passed by
//! (docs/decisions/0010-filters-ahead-of-routes.md).

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::extensions::common::matching::v3::ExtensionWithMatcherPerRoute;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use envoy_types::pb::envoy::extensions::filters::http::set_filter_state::v3::Config as SetFilterState;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::{
    StatefulSessionPerRoute, stateful_session_per_route::Override,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use gatehouse_model::backend::ClusterName;
use gatehouse_model::http::ExternalAuth;
use prost::Message;

use super::host::VIRTUAL_HOST_ROUTES;
use super::route::auth;
use super::{any, filter};
use crate::{Invalid, validate, wire};

/// So many filters a listener may have, by its schema: each has a place in every filter list.
pub const PRE_ROUTING_FILTERS: usize = filter::PRE_ROUTING.len();

/// Field number of `VirtualHost.typed_per_filter_config`.
const HOST_TYPED_PER_FILTER_CONFIG: u32 = 15;

/// The filters of a listener as a part of a virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreRouting {
    /// Entries of `VirtualHost.typed_per_filter_config`, each with tag and length.
    pub bytes: Bytes,
    /// Every cluster that they name; sorted, without duplicates.
    pub clusters: Vec<ClusterName>,
}

/// Encodes the filters of a listener, at most [`PRE_ROUTING_FILTERS`] of them. The host also needs [`answer_all`] behind its
/// routes.
pub fn pre_routing(filters: &[Arc<ExternalAuth>]) -> Result<PreRouting, Invalid> {
    for (index, auth) in filters.iter().enumerate() {
        validate::external_auth(&format!("filters.requests[{index}].externalAuth"), auth)?;
    }
    if filters.len() > PRE_ROUTING_FILTERS {
        let message = format!("no more than {PRE_ROUTING_FILTERS} filters are supported");
        return Err(Invalid::new("filters.requests", message));
    }
    let own = filter::PRE_ROUTING.iter().zip(filters).map(|(name, auth)| {
        let config = auth::ahead_of_routes(auth, name);
        (*name, any(&config))
    });
    let mut entries: Vec<(&str, Any)> = own.collect();
    entries.push((filter::CHOOSE_ROUTE, any(&SetFilterState::default())));
    entries.extend(switched_on());
    entries.sort_by_key(|(name, _)| *name);
    let mut bytes = Vec::new();
    for (name, config) in entries {
        wire::put_map_entry(&mut bytes, HOST_TYPED_PER_FILTER_CONFIG, name, &config.encode_to_vec());
    }
    let mut clusters: Vec<_> = filters.iter().map(|auth| auth.cluster.clone()).collect();
    clusters.sort();
    clusters.dedup();
    Ok(PreRouting { bytes: bytes.into(), clusters })
}

/// The filters of routes, taking part and doing nothing of their own.
fn switched_on() -> [(&'static str, Any); 3] {
    let nothing = ExtensionWithMatcherPerRoute { xds_matcher: Some(Matcher::default()) };
    let no_session = StatefulSessionPerRoute { r#override: Some(Override::Disabled(true)) };
    [
        (filter::CORS, any(&CorsPolicy::default())),
        (filter::EXTERNAL_AUTH, any(&nothing)),
        (filter::STATEFUL_SESSION, any(&no_session)),
    ]
}

/// The filter that lets the route be chosen anew, once and whatever the ones before it did.
pub(super) fn choose_route() -> SetFilterState {
    SetFilterState { clear_route_cache: true, ..SetFilterState::default() }
}

/// An entry of `VirtualHost.routes` that answers every request with a status code.
pub fn answer_all(status: u16) -> Bytes {
    let mut bytes = Vec::new();
    wire::put_bytes(&mut bytes, VIRTUAL_HOST_ROUTES, &route_for_all(status).encode_to_vec());
    bytes.into()
}

/// The same before it is encoded.
pub(super) fn route_for_all(status: u16) -> pb::Route {
    let action = pb::DirectResponseAction { status: status.into(), ..pb::DirectResponseAction::default() };
    pb::Route {
        r#match: Some(pb::RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..pb::RouteMatch::default()
        }),
        action: Some(pb::route::Action::DirectResponse(action)),
        ..pb::Route::default()
    }
}
