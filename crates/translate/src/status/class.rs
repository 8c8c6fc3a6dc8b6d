//! GatewayClass and Backend.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_engine::{Reads, Stage};
use gatehouse_model::NamespacedName;
use gatehouse_model::status::{Condition, ConditionStatus};
use serde_json::{Value, json};

use super::{parameters_followed, to_json, verdict};
use crate::backends::backend_problem;
use crate::config::{Config, Hosting};
use crate::facts::Facts;
use crate::gateways::{ClassState, Problem};
use crate::parameters::unheeded;

/// Claimed only where the API server has the kind.
const TRUST_BUNDLES: &str = "ClusterTrustBundle";

/// Features of Gateway API v1.7.0 that are built and tested, by their names in the specification, sorted.
const SUPPORTED_FEATURES: &[&str] = &[
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    TRUST_BUNDLES,
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "GRPCRouteRequestHeaderModifier",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayAddressRoutability",
    "GatewayAddressRoutabilityCluster",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayInfrastructure",
    "GatewayListenerFilters",
    "GatewayPort8080",
    "GatewayRouteHostnameIntersectionPrecedence",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteBackendURLRewrite",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteRetryCodes",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
    "UDPRoute",
];

/// Those that mean nothing where the proxies run on a host.
const IN_CLUSTERS: &[&str] =
    &["GatewayAddressRoutability", "GatewayAddressRoutabilityCluster", "GatewayInfrastructure"];

/// Stage: the status of a GatewayClass; null when it is not ours.
pub(crate) fn class(
    facts: &Facts,
    config: &Config,
    classes: &Stage<Arc<str>, ClassState>,
    reads: &mut Reads,
    name: &Arc<str>,
) -> Option<Value> {
    let generation = facts.classes.get(reads, name)?.metadata.generation;
    let ClassState::Ours { problem, parameters } = classes.get(reads, name)? else {
        return Some(Value::Null);
    };
    let accepted =
        verdict("Accepted", problem.as_ref(), ("Accepted", "the class is served by gatehouse"), generation);
    let followed = parameters.as_ref().map(|source| {
        let unheeded = unheeded(&source.spec, &config.hosting);
        let unheeded: Vec<&str> = unheeded.iter().map(String::as_str).collect();
        parameters_followed(&source.to_string(), None, &unheeded, generation)
    });
    let version = supported_version(facts, config, reads, generation);
    let conditions: Vec<_> = [accepted, version].into_iter().chain(followed).collect();
    let trust_bundles = facts.trust_bundles_served.get(reads, &()).is_some();
    let claimed = |name: &str| match name {
        TRUST_BUNDLES => trust_bundles,
        name => config.hosting == Hosting::Pods || !IN_CLUSTERS.contains(&name),
    };
    let supported = SUPPORTED_FEATURES.iter().filter(|name| claimed(name));
    let features: Vec<_> = supported.map(|name| json!({ "name": name })).collect();
    Some(json!({ "conditions": to_json(&conditions), "supportedFeatures": features }))
}

/// Whether the definitions of Gateway API's kinds are of the version that all this is made for. Others are made the best
/// of: what is read of their objects is read the same.
fn supported_version(facts: &Facts, config: &Config, reads: &mut Reads, generation: i64) -> Condition {
    let own = gatehouse_api::gateway_api_version();
    let condition = |status, reason, message: String| {
        Condition::new("SupportedVersion", status, reason, message, generation)
    };
    let supported = |what: &str| {
        condition(ConditionStatus::True, "SupportedVersion", format!("{what} of Gateway API {own}"))
    };
    if config.hosting != Hosting::Pods {
        return supported("objects are read by the definitions");
    }
    let Some(definitions) = facts.definitions.get(reads, &()) else {
        let message = "the definitions of Gateway API cannot be read".to_owned();
        return condition(ConditionStatus::Unknown, "Pending", message);
    };
    let series = own.rsplit_once('.').map_or(own, |(series, _)| series);
    let recognized = |version: &str| version.strip_prefix(series).is_some_and(|rest| rest.starts_with('.'));
    let mut others: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in definitions.iter().filter(|(_, version)| !recognized(version)) {
        others.entry(version).or_default().push(name);
    }
    if others.is_empty() {
        return supported("the definitions are those");
    }
    let describe = |(version, names): (&&str, &Vec<&str>)| {
        let version = if version.is_empty() { "no version" } else { version };
        let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
        format!("{version} ({}{more})", names[0])
    };
    let others: Vec<_> = others.iter().map(describe).collect();
    let message = format!("made for {series}, and there are definitions of {}", others.join(", "));
    condition(ConditionStatus::False, "UnsupportedVersion", message)
}

/// Stage: the status of an Envoy Gateway `Backend`.
pub(crate) fn backend(
    facts: &Facts,
    config: &Config,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Value> {
    let backend = facts.backends.get(reads, key)?;
    let problem = backend_problem(config, backend).map(|p| Problem::new("Invalid", p.message));
    let good = ("Accepted", "the Backend can be used");
    let accepted = verdict("Accepted", problem.as_ref(), good, backend.metadata.generation);
    Some(json!({ "conditions": to_json(&[accepted]) }))
}
