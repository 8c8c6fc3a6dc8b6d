//! Actions: forward, redirect, answer.

use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy,
};
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::{self, ClusterWeight};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
use gatehouse_model::http::{Fraction, HttpRoute, Mirror, PathMatch, Redirect};

use super::path::{self, Edit};
use super::plan::{Forward, MILLION, WeightedTarget};
use super::policy;
use crate::encode::{duration, u32_value};

pub(super) fn respond(status: u16) -> Action {
    Action::DirectResponse(pb::DirectResponseAction {
        status: status.into(),
        ..pb::DirectResponseAction::default()
    })
}

pub(super) fn forward(route: &HttpRoute, forward: &Forward<'_>) -> Action {
    let mut action = pb::RouteAction {
        cluster_specifier: Some(cluster_specifier(&forward.targets)),
        host_rewrite_specifier: forward
            .host
            .map(|host| HostRewriteSpecifier::HostRewriteLiteral(host.to_owned())),
        append_x_forwarded_host: forward.host.is_some()
            || forward.targets.iter().any(|target| target.host.is_some()),
        timeout: Some(duration(policy::request_timeout(route))),
        idle_timeout: Some(duration(policy::idle_timeout(route))),
        retry_policy: policy::retry_policy(route),
        request_mirror_policies: forward.mirrors.iter().map(|mirror| mirror_policy(mirror)).collect(),
        ..pb::RouteAction::default()
    };
    match path::edit(forward.path, &route.matches.path) {
        Edit::Keep => {}
        Edit::Full(to) => action.regex_rewrite = Some(path::full(&to)),
        Edit::Prefix(to) => action.prefix_rewrite = to,
        Edit::Regex(rewrite) => action.regex_rewrite = Some(rewrite),
    }
    Action::Route(action)
}

fn cluster_specifier(targets: &[WeightedTarget<'_>]) -> ClusterSpecifier {
    if let [target] = targets {
        return ClusterSpecifier::Cluster(target.cluster.0.to_string());
    }
    let clusters = targets
        .iter()
        .map(|target| ClusterWeight {
            name: target.cluster.0.to_string(),
            weight: Some(u32_value(target.weight)),
            request_headers_to_add: target.request.to_add(),
            request_headers_to_remove: target.request.to_remove(),
            response_headers_to_add: target.response.to_add(),
            response_headers_to_remove: target.response.to_remove(),
            host_rewrite_specifier: target.host.map(|host| {
                weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host.to_owned())
            }),
            ..ClusterWeight::default()
        })
        .collect();
    ClusterSpecifier::WeightedClusters(pb::WeightedCluster { clusters, ..pb::WeightedCluster::default() })
}

fn mirror_policy(mirror: &Mirror) -> RequestMirrorPolicy {
    RequestMirrorPolicy {
        cluster: mirror.cluster.0.to_string(),
        runtime_fraction: mirror.fraction.map(|share| RuntimeFractionalPercent {
            default_value: Some(fraction(share)),
            ..RuntimeFractionalPercent::default()
        }),
        // The backend sees the host that the user addressed.
        disable_shadow_host_suffix_append: true,
        ..RequestMirrorPolicy::default()
    }
}

/// Exact in the smallest of Envoy's denominators that can hold it, else rounded to millionths.
fn fraction(Fraction { numerator, denominator }: Fraction) -> FractionalPercent {
    let scales = [
        (100, DenominatorType::Hundred),
        (10_000, DenominatorType::TenThousand),
        (MILLION, DenominatorType::Million),
    ];
    let (numerator, denominator) = (u64::from(numerator), u64::from(denominator.max(1)));
    let numerator = numerator.min(denominator);
    let exact = scales.iter().find(|(scale, _)| (numerator * u64::from(*scale)).is_multiple_of(denominator));
    let (scale, kind) = exact.unwrap_or(&scales[2]);
    let rounded = (numerator * u64::from(*scale) + denominator / 2) / denominator;
    FractionalPercent {
        numerator: u32::try_from(rounded).expect("at most the scale"),
        denominator: (*kind).into(),
    }
}

/// The routes of a redirect and whether each is for a `Host` with a port only.
///
/// Envoy keeps the port of `Host`. Where another one is asked for and left out, that would be wrong: requests with a
/// port get the one that is asked for by a route of their own. Where none is asked for the port of `Host` stays: it is
/// how the client reached the listener (a node port, a port map).
pub(super) fn redirects(redirect: &Redirect, matched: &PathMatch) -> Vec<(bool, Action)> {
    let plain = (false, redirect_to(redirect, matched, redirect.port));
    match (&redirect.hostname, redirect.left_out) {
        (None, Some(port)) => vec![(true, redirect_to(redirect, matched, Some(port))), plain],
        _ => vec![plain],
    }
}

fn redirect_to(redirect: &Redirect, matched: &PathMatch, port: Option<u16>) -> Action {
    let response_code = match redirect.status {
        301 => RedirectResponseCode::MovedPermanently,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        // The default of the API; others are refused by the validator.
        _ => RedirectResponseCode::Found,
    };
    Action::Redirect(pb::RedirectAction {
        host_redirect: redirect.hostname.as_deref().unwrap_or_default().to_owned(),
        port_redirect: port.unwrap_or_default().into(),
        response_code: response_code.into(),
        scheme_rewrite_specifier: redirect
            .scheme
            .as_deref()
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_owned())),
        path_rewrite_specifier: match path::edit(redirect.path.as_ref(), matched) {
            Edit::Keep => None,
            Edit::Full(to) => Some(PathRewriteSpecifier::PathRedirect(to)),
            Edit::Prefix(to) => Some(PathRewriteSpecifier::PrefixRewrite(to)),
            Edit::Regex(rewrite) => Some(PathRewriteSpecifier::RegexRewrite(rewrite)),
        },
        ..pb::RedirectAction::default()
    })
}
