//! One match of one rule to Envoy routes.
//!
//! ```text
//! HttpRoute -- plan: which share of the requests has which outcome --> one or several pb::Route
//!              (match, action, headers, per-filter configuration, name, metadata) --> RouteFragments
//! ```

mod action;
pub(super) mod auth;
mod filters;
mod headers;
mod matching;
mod path;
mod plan;
mod policy;
mod requests;

use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3 as pb;
use gatehouse_model::backend::ClusterName;
use gatehouse_model::http::{HttpRoute, Provenance};
use prost::Message;

use self::filters::Preflights;
use self::plan::{Outcome, Share};
use crate::encode::host::VIRTUAL_HOST_ROUTES;
use crate::{Invalid, validate, wire};

pub use policy::{DEFAULT_TIMEOUT, UNLIMITED};
pub use requests::Requests;

/// Field number of `Route.metadata`.
const ROUTE_METADATA: u32 = 4;
/// Field number of `Route.typed_per_filter_config`.
const ROUTE_TYPED_PER_FILTER_CONFIG: u32 = 13;

/// The encoded routes of one match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFragments {
    /// Entries of `VirtualHost.routes`, each with tag and length: concatenation of such bytes, in order of
    /// precedence, is the field.
    pub bytes: Bytes,
    /// Every cluster that the routes name, those of mirrors and authorization servers included; sorted, without duplicates.
    pub clusters: Vec<ClusterName>,
    /// How long a request may use these clusters: the request's time limit, [`UNLIMITED`] when there is none,
    /// zero when nothing is forwarded.
    pub longest_timeout: Duration,
}

/// Encodes one match of one rule. What Envoy would refuse is [`Invalid`].
pub fn route(route: &HttpRoute) -> Result<RouteFragments, Invalid> {
    validate::http_route(route)?;
    let metadata = metadata(&route.provenance);
    let shares = plan::shares(route);
    let split = shares.len() > 1;
    let mut bytes = Vec::new();
    for (index, share) in shares.iter().enumerate() {
        let name = name(&route.provenance, split.then_some(index));
        let filters = filters::per_filter_config(route, share, Preflights::All);
        for message in messages(route, share) {
            let message = pb::Route { name: name.clone(), ..message };
            if filters::may_ask_for_headers(route, share) {
                let plain = filters::per_filter_config(route, share, Preflights::ForNoHeaders);
                put_route(&mut bytes, &for_no_headers(message.clone()), &metadata, &plain);
            }
            put_route(&mut bytes, &message, &metadata, &filters);
        }
    }
    let clusters = clusters(&shares);
    let longest_timeout = if clusters.is_empty() { Duration::ZERO } else { policy::longest_timeout(route) };
    Ok(RouteFragments { bytes: bytes.into_boxed_slice().into(), clusters, longest_timeout })
}

/// The routes of one share: one, or two for a redirect whose port depends on the `Host` header.
fn messages(route: &HttpRoute, share: &Share<'_>) -> Vec<pb::Route> {
    let base = pb::Route {
        r#match: Some(matching::route_match(&route.matches, share.threshold)),
        response_headers_to_add: share.response.to_add(),
        response_headers_to_remove: share.response.to_remove(),
        ..pb::Route::default()
    };
    match &share.outcome {
        Outcome::Respond(status) => vec![pb::Route { action: Some(action::respond(*status)), ..base }],
        Outcome::Redirect(redirect) => action::redirects(redirect, &route.matches.path)
            .into_iter()
            .map(|(with_port, action)| {
                let mut message = pb::Route { action: Some(action), ..base.clone() };
                if with_port {
                    message.r#match.get_or_insert_default().headers.push(matching::host_with_port());
                }
                message
            })
            .collect(),
        Outcome::Forward(forward) => vec![pb::Route {
            action: Some(action::forward(route, forward)),
            request_headers_to_add: forward.request.to_add(),
            request_headers_to_remove: forward.request.to_remove(),
            ..base
        }],
    }
}

/// The same for preflights that ask for no headers: they are told of none, which Envoy's filter alone does not do.
fn for_no_headers(mut message: pb::Route) -> pb::Route {
    message.r#match.get_or_insert_default().headers.extend(matching::preflight_for_no_headers());
    message
}

/// Appends a route with its two map fields, which the generated type would write in a random order.
fn put_route(out: &mut Vec<u8>, message: &pb::Route, metadata: &[u8], filters: &[(&str, Vec<u8>)]) {
    let mut route = message.encode_to_vec();
    wire::put_bytes(&mut route, ROUTE_METADATA, metadata);
    for (name, config) in filters {
        wire::put_map_entry(&mut route, ROUTE_TYPED_PER_FILTER_CONFIG, name, config);
    }
    wire::put_bytes(out, VIRTUAL_HOST_ROUTES, &route);
}

fn rule(provenance: &Provenance) -> String {
    provenance.rule_name.as_ref().map_or_else(|| provenance.rule.to_string(), ToString::to_string)
}

/// `httproute/<namespace>/<name>/rule/<name or index>/match/<index>`, and the share of a split one.
fn name(provenance: &Provenance, share: Option<usize>) -> String {
    let kind = provenance.route.kind.as_str().to_ascii_lowercase();
    let object = &provenance.route.object;
    let share = share.map(|index| format!("/share/{index}")).unwrap_or_default();
    format!("{kind}/{object}/rule/{}/match/{}{share}", rule(provenance), provenance.matched)
}

fn metadata(provenance: &Provenance) -> Vec<u8> {
    let object = &provenance.route.object;
    wire::metadata(&[
        ("kind", provenance.route.kind.as_str()),
        ("name", &object.name),
        ("namespace", &object.namespace),
        ("rule", &rule(provenance)),
    ])
}

fn clusters(shares: &[Share<'_>]) -> Vec<ClusterName> {
    let forwards = shares.iter().filter_map(|share| match &share.outcome {
        Outcome::Forward(forward) => Some(forward),
        Outcome::Redirect(_) | Outcome::Respond(_) => None,
    });
    let backends = forwards.flat_map(|forward| {
        let targets = forward.targets.iter().map(|target| target.cluster);
        targets.chain(forward.mirrors.iter().map(|mirror| &mirror.cluster))
    });
    let auth = shares.iter().filter_map(|share| Some(&share.auth()?.cluster));
    let mut clusters: Vec<ClusterName> = backends.chain(auth).cloned().collect();
    clusters.sort();
    clusters.dedup();
    clusters
}
