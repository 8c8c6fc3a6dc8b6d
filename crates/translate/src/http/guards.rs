//! Filters of listeners: what their requests meet before a route is chosen.

use std::cmp::Reverse;
use std::sync::Arc;

use gatehouse_api::types::{ExternalAuth as ApiAuth, FilterType, ListenerFilter};
use gatehouse_engine::{Reads, Stage};
use gatehouse_envoy::encode::PRE_ROUTING_FILTERS;
use gatehouse_model::http::ExternalAuth;
use gatehouse_model::{ListenerKey, ListenerOwner, NamespacedName, RouteKey, RouteKind};

use super::Lowering;
use crate::backends::ClusterKey;
use crate::config::Config;
use crate::facts::Facts;
use crate::fragments::{Fragment, FragmentId, Origin, Rank};
use crate::gateways::{GatewayState, ListenerView, Problem};
use crate::grants::{GATEWAY_GROUP, GroupKind};
use crate::policies::{Outcome, PolicyKey};

/// What stands before a listener's routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) fragment: Arc<Fragment>,
    /// Clusters that the filters name.
    pub(crate) clusters: Box<[ClusterKey]>,
    /// What policies of the backends are told.
    pub(crate) told: Box<[(PolicyKey, Arc<Outcome>)]>,
    /// Why the filters cannot be had (`Accepted`).
    pub(crate) refused: Option<Problem>,
    /// The first reference that does not resolve (`ResolvedRefs`).
    pub(crate) unresolved: Option<Problem>,
}

/// Stage: the filters of a listener, where it has any. Those that cannot be had refuse every request: nothing passes them by.
pub(crate) fn guard(
    (facts, config): (&Facts, &Config),
    gateways: &Stage<NamespacedName, GatewayState>,
    reads: &mut Reads,
    key: &ListenerKey,
) -> Option<Arc<Guard>> {
    let view = gateways.get(reads, &key.gateway)?.view()?;
    let listener = view.listener(key)?;
    if !listener.usable() || listener.filters.is_empty() {
        return None;
    }
    let owner = match &key.owner {
        ListenerOwner::Gateway => &key.gateway,
        ListenerOwner::ListenerSet(set) => set,
    };
    // The servers are spoken to as an HTTPRoute would.
    let speaker = RouteKey { kind: RouteKind::Http, object: owner.clone() };
    let grantee = GroupKind { group: GATEWAY_GROUP, kind: owner_kind(&key.owner) };
    let lowering = Lowering::of((facts, config), &speaker, grantee);
    Some(Arc::new(lowering.guard(reads, listener)))
}

/// The kind of object that declares a listener, as grants name it.
pub(crate) fn owner_kind(owner: &ListenerOwner) -> &'static str {
    match owner {
        ListenerOwner::Gateway => "Gateway",
        ListenerOwner::ListenerSet(_) => "ListenerSet",
    }
}

impl Lowering<'_> {
    fn guard(mut self, reads: &mut Reads, listener: &ListenerView) -> Guard {
        let (mut refused, mut unresolved) = (None, None);
        let mut filters = Vec::new();
        for (index, filter) in listener.filters.iter().enumerate() {
            let at = |problem: Problem| {
                Problem::new(problem.reason, format!("filters.requests[{index}]: {}", problem.message))
            };
            match self.listener_filter(reads, filter) {
                Ok(auth) => filters.push(Arc::new(auth)),
                Err(Some(problem)) => drop(refused.get_or_insert(at(problem))),
                Err(None) => {}
            }
            if let Some(problem) = self.unresolved.take() {
                unresolved.get_or_insert(at(reference_problem(problem)));
            }
        }
        if filters.len() > PRE_ROUTING_FILTERS {
            let message =
                format!("filters.requests: no more than {PRE_ROUTING_FILTERS} filters are supported");
            refused.get_or_insert(Problem::new("UnsupportedValue", message));
        }
        let whole = refused.is_none() && filters.len() == listener.filters.len();
        let encoded = gatehouse_envoy::encode::pre_routing(&filters);
        let fragment = match encoded {
            Ok(encoded) if whole => Fragment {
                clusters: encoded.clusters.into_iter().map(|cluster| cluster.0).collect(),
                linger: gatehouse_envoy::encode::DEFAULT_TIMEOUT,
                ..fragment(encoded.bytes, Origin::Guard(listener.key.clone()))
            },
            encoded => {
                if let Err(invalid) = encoded {
                    refused.get_or_insert(Problem::new("InvalidListenerFilter", invalid.to_string()));
                }
                refusing(&listener.key)
            }
        };
        Guard {
            fragment: Arc::new(fragment),
            clusters: self.clusters.into_iter().collect(),
            told: self.told.into_iter().collect(),
            refused,
            unresolved,
        }
    }

    /// The error is why it is not accepted, if it is not a reference that does not resolve.
    fn listener_filter(
        &mut self,
        reads: &mut Reads,
        filter: &ListenerFilter,
    ) -> Result<ExternalAuth, Option<Problem>> {
        let unsupported = |message: String| Some(Problem::new("UnsupportedValue", message));
        match (&filter.filter_type, &filter.external_auth) {
            (FilterType::ExternalAuth, Some(auth)) => self.auth_of_listener(reads, auth),
            (FilterType::ExternalAuth, None) => {
                Err(Some(Problem::new("InvalidListenerFilter", "ExternalAuth has no externalAuth")))
            }
            (FilterType::ExtensionRef, _) => Err(unsupported(filter.extension_ref.as_ref().map_or_else(
                || "type ExtensionRef is not supported".to_owned(),
                |r| {
                    let (group, kind) = (&r.group, &r.kind);
                    format!("type ExtensionRef is not supported (kind {kind} of group {group:?})")
                },
            ))),
            (other, _) => Err(unsupported(format!("type {other} is not supported"))),
        }
    }

    fn auth_of_listener(
        &mut self,
        reads: &mut Reads,
        auth: &ApiAuth,
    ) -> Result<ExternalAuth, Option<Problem>> {
        self.external_auth(reads, auth).ok_or_else(|| self.unsupported.pop().map(|(_, problem)| problem))
    }
}

/// What a listener calls a reference that does not resolve.
fn reference_problem(problem: Problem) -> Problem {
    match problem.reason {
        "RefNotPermitted" => problem,
        _ => Problem::new("InvalidListenerFilterRef", problem.message),
    }
}

fn fragment(bytes: bytes::Bytes, origin: Origin) -> Fragment {
    Fragment {
        id: FragmentId(gatehouse_envoy::version(&bytes)),
        origin,
        rank: Arc::new(Rank::of_no_rule()),
        bytes,
        clusters: Vec::new(),
        linger: std::time::Duration::ZERO,
    }
}

/// What stands in for filters that cannot be had: every request fails.
pub(crate) fn refusing(listener: &ListenerKey) -> Fragment {
    fragment(gatehouse_envoy::encode::answer_all(500), Origin::Guard(listener.clone()))
}

/// Answers 404 behind all rules: filters of a listener run for requests too that no rule is for.
pub(crate) fn rest() -> Fragment {
    fragment(gatehouse_envoy::encode::answer_all(404), Origin::Rest)
}

/// Place of a part of a host that is no rule's.
pub(crate) fn order(part: &Arc<Fragment>) -> (Reverse<(u8, usize)>, Arc<Rank>) {
    let first = if part.is_guard() { (u8::MAX, usize::MAX) } else { (0, 0) };
    (Reverse(first), part.rank.clone())
}
