//! XTelemetryPolicy: of several for a Gateway the oldest counts as a whole.
//!
//! Spans are extra: a policy that cannot be followed makes none, and the requests go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_api::types::{
    AttributeSource, Fraction as ApiFraction, ParentBasedSampling, PolicyTarget, SpanAttribute,
    TargetSelector, TelemetryMode, TracingConfig, TracingProvider, XTelemetryPolicy,
};
use gatehouse_engine::{Reads, Stage};
use gatehouse_model::http::Fraction;
use gatehouse_model::tracing::{AttributeValue, RequestProperty, Tracing};
use gatehouse_model::{NamespacedName, RouteKey, RouteKind};

use super::{Attached, Outcome, Policy, PolicyKey, PolicyKind, Target, TargetKind, conflict, target_of};
use crate::backends::ClusterKey;
use crate::config::Config;
use crate::facts::Facts;
use crate::gateways::{GatewayState, Problem};
use crate::grants::{EXPERIMENTAL_GROUP, GroupKind};
use crate::http::Lowering;

/// Who refers to collectors, as grants name it.
const GRANTEE: GroupKind<'static> = GroupKind { group: EXPERIMENTAL_GROUP, kind: "XTelemetryPolicy" };

impl Policy for XTelemetryPolicy {
    const SELECTS: bool = false;

    fn named(&self) -> impl Iterator<Item = &PolicyTarget> {
        self.spec.target_refs.iter()
    }

    fn selectors(&self) -> impl Iterator<Item = &TargetSelector> {
        std::iter::empty()
    }
}

/// What a Gateway tells of its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traced {
    pub(crate) tracing: Option<Arc<Tracing>>,
    /// Clusters that this names.
    pub(crate) clusters: Box<[ClusterKey]>,
    /// What policies are told, those of the collector's Service included.
    pub(crate) told: Vec<(PolicyKey, Arc<Outcome>)>,
}

/// Stage: what a Gateway tells of its requests.
pub(crate) fn traced(
    (facts, config): (&Facts, &Config),
    gateways: &Stage<NamespacedName, GatewayState>,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Arc<Traced>> {
    gateways.get(reads, key)?.view()?;
    let target = Target { kind: TargetKind::Gateway, object: key.clone() };
    let attached = facts.telemetry_policies.attached(reads, &target, &BTreeMap::new());
    let mut traced = Traced::default();
    let Some(first) = attached.first() else { return Some(Arc::new(traced)) };
    let outcome = traced.follow((facts, config), reads, key, first);
    let tell =
        |policy: &Attached<_>, outcome| ((PolicyKind::Telemetry, policy.key.clone()), Arc::new(outcome));
    traced.told.push(tell(first, outcome));
    traced.told.extend(attached.iter().enumerate().skip(1).map(|(index, other)| {
        tell(other, Outcome { problem: conflict(&attached, index), ..Outcome::default() })
    }));
    Some(Arc::new(traced))
}

impl Traced {
    fn follow(
        &mut self,
        sources: (&Facts, &Config),
        reads: &mut Reads,
        gateway: &NamespacedName,
        policy: &Attached<XTelemetryPolicy>,
    ) -> Outcome {
        let Some(config) = policy.policy.spec.tracing.as_ref() else { return Outcome::default() };
        if config.mode != Some(TelemetryMode::Enabled) {
            return Outcome::default();
        }
        let sampling = match share(config.sampling_rate) {
            Ok(sampling) => sampling,
            Err(problem) => return Outcome { problem: Some(problem), ..Outcome::default() },
        };
        let Some(provider) = &config.provider else {
            let problem = Problem::new("Invalid", "tracing is enabled and has no provider");
            return Outcome { problem: Some(problem), ..Outcome::default() };
        };
        // The collector is called as GRPCRoutes call their backends.
        let speaker = RouteKey { kind: RouteKind::Grpc, object: policy.key.clone() };
        let lowering = Lowering::of(sources, &speaker, GRANTEE);
        let (cluster, found) = lowering.collector(reads, &provider.backend_ref);
        self.clusters = found.clusters;
        self.told.extend(found.told.iter().cloned());
        let Some(cluster) = cluster else {
            let unresolved = found.unresolved;
            let why = unresolved.as_ref().map_or("its provider does not resolve", |problem| &problem.message);
            let problem = Some(Problem::new("Invalid", format!("no spans are sent: {why}")));
            return Outcome { problem, unresolved, overridden: None };
        };
        let headers = provider.headers.iter();
        self.tracing = Some(Arc::new(Tracing {
            cluster,
            authority: authority(&policy.key, provider),
            headers: headers.map(|h| (h.name.as_str().into(), h.value.as_str().into())).collect(),
            sampling,
            follows_parent: follows_parent(config.parent_based_sampling.as_ref()),
            service_name: config
                .service_name
                .as_deref()
                .map_or_else(|| format!("{}.{}", gateway.name, gateway.namespace).into(), Arc::from),
            span_name: config.span_name.as_deref().map(Arc::from),
            attributes: config.attributes.iter().filter_map(attribute).collect(),
        }));
        Outcome::default()
    }
}

/// All of them, where nothing is said.
fn share(fraction: Option<ApiFraction>) -> Result<Fraction, Problem> {
    let Some(fraction) = fraction else { return Ok(Fraction { numerator: 1, denominator: 1 }) };
    let denominator = fraction.denominator.unwrap_or(100);
    if denominator == 0 || fraction.numerator > denominator {
        let message = format!("samplingRate {}/{denominator} is no share", fraction.numerator);
        return Err(Problem::new("Invalid", message));
    }
    Ok(Fraction { numerator: fraction.numerator, denominator })
}

fn follows_parent(sampling: Option<&ParentBasedSampling>) -> bool {
    sampling.and_then(|sampling| sampling.mode.as_ref()) != Some(&TelemetryMode::Disabled)
}

fn authority(policy: &NamespacedName, provider: &TracingProvider) -> Arc<str> {
    let reference = &provider.backend_ref;
    let namespace = reference.namespace.as_deref().unwrap_or(&policy.namespace);
    let port = reference.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}.{namespace}{port}", reference.name).into()
}

/// `None` for what we cannot say.
fn attribute(attribute: &SpanAttribute) -> Option<(Arc<str>, AttributeValue)> {
    let value = match attribute.source_type {
        AttributeSource::Literal => AttributeValue::Literal(attribute.literal_value.as_deref()?.into()),
        AttributeSource::Header => AttributeValue::RequestHeader(attribute.header_name.as_deref()?.into()),
        AttributeSource::Attribute => AttributeValue::Of(property(attribute.attribute_key.as_deref()?)?),
        AttributeSource::Other(_) => return None,
    };
    Some((attribute.name.as_str().into(), value))
}

/// OpenTelemetry's attributes that Envoy knows the value of.
fn property(key: &str) -> Option<RequestProperty> {
    Some(match key {
        "http.request.method" => RequestProperty::Method,
        "http.response.status_code" => RequestProperty::Status,
        "url.path" => RequestProperty::Path,
        "url.scheme" => RequestProperty::Scheme,
        "user_agent.original" => RequestProperty::UserAgent,
        "client.address" => RequestProperty::ClientAddress,
        "client.port" => RequestProperty::ClientPort,
        "network.peer.address" => RequestProperty::PeerAddress,
        "http.request.body.size" => RequestProperty::RequestBytes,
        "http.response.body.size" => RequestProperty::ResponseBytes,
        _ => return None,
    })
}

/// The Gateways that a policy names and that do not exist: nobody else speaks for them.
pub(crate) fn missing(facts: &Facts, reads: &mut Reads, key: &NamespacedName) -> BTreeSet<NamespacedName> {
    let Some(policy) = facts.telemetry_policies.all.get(reads, key) else { return BTreeSet::new() };
    let named = policy.named().filter_map(|target| target_of(key, target));
    let gateways = named.filter(|target| target.kind == TargetKind::Gateway).map(|target| target.object);
    gateways.filter(|gateway| facts.gateways.get(reads, gateway).is_none()).collect()
}

/// Fields of a policy without an effect.
pub(crate) fn unheeded(policy: &XTelemetryPolicy) -> Vec<String> {
    let tracing: &TracingConfig = match &policy.spec.tracing {
        Some(tracing) if tracing.mode == Some(TelemetryMode::Enabled) => tracing,
        _ => return Vec::new(),
    };
    let mut fields = Vec::new();
    let parents = tracing.parent_based_sampling.as_ref().and_then(|parents| parents.sampling_rate);
    if parents.is_some_and(|share| share.numerator != share.denominator.unwrap_or(100)) {
        fields.push(
            "spec.tracing.parentBasedSampling.samplingRate (all sampled parents are followed)".to_owned(),
        );
    }
    let unknown = tracing.attributes.iter().filter(|known| attribute(known).is_none());
    fields.extend(unknown.map(|unknown| {
        let key = unknown.attribute_key.as_deref().unwrap_or(unknown.source_type.as_str());
        format!("spec.tracing.attributes[{}] ({key} is not known here)", unknown.name)
    }));
    fields
}
