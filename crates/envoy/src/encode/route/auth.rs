//! External authorization: the route brings the whole filter along, so that no edit of it changes a listener.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutationRules;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::http_uri::HttpUpstreamType;
use envoy_types::pb::envoy::config::core::v3::{ApiVersion, GrpcService, HttpUri};
use envoy_types::pb::envoy::extensions::common::matching::v3::ExtensionWithMatcherPerRoute;
use envoy_types::pb::envoy::extensions::filters::http::composite::v3::ExecuteFilterAction;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{
    AuthorizationResponse, BufferSettings, ExtAuthz, HttpService, ext_authz::Services,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{ListStringMatcher, StringMatcher};
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{OnMatch, on_match};
use gatehouse_model::backend::ClusterName;
use gatehouse_model::http::{AuthProtocol, ExternalAuth};

use super::matching::{exact, regex_matcher, safe_regex};
use crate::encode::{any, bool_value, duration, extension, filter};

/// How long the server may take; without an answer the request is refused.
const PATIENCE: Duration = Duration::from_secs(10);
/// Headers of the server's answer that belong to the answer, not to the request that it lets pass. `Host` is named
/// by the specification.
const ITS_OWN: &str =
    "(?i)(host|content-length|transfer-encoding|connection|keep-alive|te|trailer|upgrade|date|server)";

/// The same before a route is chosen: the server may also change the method. What tells which listener a request is for
/// is no server's to change.
const ITS_OWN_AHEAD_OF_ROUTES: &str = "(?i)(host|:authority|:scheme|content-length|transfer-encoding|connection|keep-alive|te|trailer|upgrade|date|server)";

/// The filter for the place that the listener keeps under [`filter::EXTERNAL_AUTH`].
pub(super) fn per_route(auth: &ExternalAuth) -> ExtensionWithMatcherPerRoute {
    let mutations = HeaderMutationRules {
        disallow_expression: Some(regex_matcher(ITS_OWN)),
        ..HeaderMutationRules::default()
    };
    always(filter::EXTERNAL_AUTH, &ext_authz(auth, mutations))
}

/// The filter for a place ahead of routes.
pub(in crate::encode) fn ahead_of_routes(auth: &ExternalAuth, place: &str) -> ExtensionWithMatcherPerRoute {
    let mutations = HeaderMutationRules {
        allow_all_routing: Some(bool_value(true)),
        disallow_expression: Some(regex_matcher(ITS_OWN_AHEAD_OF_ROUTES)),
        ..HeaderMutationRules::default()
    };
    always(place, &ext_authz(auth, mutations))
}

fn always(name: &str, config: &ExtAuthz) -> ExtensionWithMatcherPerRoute {
    let action =
        ExecuteFilterAction { typed_config: Some(extension(name, config)), ..ExecuteFilterAction::default() };
    let action = TypedExtensionConfig { name: "execute".to_owned(), typed_config: Some(any(&action)) };
    let always = OnMatch { on_match: Some(on_match::OnMatch::Action(action)), ..OnMatch::default() };
    ExtensionWithMatcherPerRoute {
        xds_matcher: Some(Matcher { on_no_match: Some(Box::new(always)), ..Matcher::default() }),
    }
}

fn ext_authz(auth: &ExternalAuth, mutations: HeaderMutationRules) -> ExtAuthz {
    let (service, request_headers) = match &auth.protocol {
        AuthProtocol::Grpc { request_headers } => {
            (Services::GrpcService(grpc(&auth.cluster)), request_headers)
        }
        AuthProtocol::Http { path_prefix, request_headers, response_headers } => {
            (Services::HttpService(http(&auth.cluster, path_prefix, response_headers)), request_headers)
        }
    };
    ExtAuthz {
        transport_api_version: ApiVersion::V3.into(),
        // To an HTTP server Envoy sends none but the mandatory ones when there is no list.
        allowed_headers: (!request_headers.is_empty()).then(|| named(request_headers)),
        with_request_body: (auth.body_limit > 0).then_some(BufferSettings {
            max_request_bytes: auth.body_limit,
            // Half a body could look harmless: what does not fit is refused with 413.
            allow_partial_message: false,
            pack_as_bytes: false,
        }),
        decoder_header_mutation_rules: Some(mutations),
        services: Some(service),
        ..ExtAuthz::default()
    }
}

fn grpc(cluster: &ClusterName) -> GrpcService {
    GrpcService {
        timeout: Some(duration(PATIENCE)),
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: cluster.0.to_string(),
            ..EnvoyGrpc::default()
        })),
        ..GrpcService::default()
    }
}

fn http(cluster: &ClusterName, path_prefix: &str, response_headers: &[Arc<str>]) -> HttpService {
    let copied = if response_headers.is_empty() {
        ListStringMatcher { patterns: vec![safe_regex(".*")] }
    } else {
        named(response_headers)
    };
    HttpService {
        server_uri: Some(HttpUri {
            // Only the cluster is used; the client's own host is what the server sees.
            uri: "http://authorization".to_owned(),
            timeout: Some(duration(PATIENCE)),
            http_upstream_type: Some(HttpUpstreamType::Cluster(cluster.0.to_string())),
        }),
        path_prefix: path_prefix.to_owned(),
        authorization_response: Some(AuthorizationResponse {
            allowed_upstream_headers: Some(copied),
            ..AuthorizationResponse::default()
        }),
        ..HttpService::default()
    }
}

fn named(headers: &[Arc<str>]) -> ListStringMatcher {
    let name = |name: &Arc<str>| StringMatcher { ignore_case: true, ..exact(name) };
    ListStringMatcher { patterns: headers.iter().map(name).collect() }
}
