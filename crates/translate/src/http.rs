//! Rules of routes to the model, references resolved.

mod filters;
pub(crate) mod guards;
mod matches;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gatehouse_api::types::{
    BackendObjectReference, BackendRef, GRPCRouteRule, HTTPRouteRetry, HTTPRouteRule, HTTPRouteTimeouts,
    RouteFilter, SessionPersistence as ApiSession,
};
use gatehouse_engine::Reads;
use gatehouse_model::backend::{ClusterName, Protocol};
use gatehouse_model::http::{
    Action, Filters, HttpMatch, Redirect, Retry, SessionPersistence, Target, Timeouts, WeightedBackend,
};
use gatehouse_model::l4::Forward;
use gatehouse_model::{RouteKey, RouteKind};

use crate::attach::{BoundListener, Site};
use crate::backends::{self, ClusterKey, Referrer, resolve};
use crate::config::Config;
use crate::duration;
use crate::facts::{Facts, RouteFact};
use crate::gateways::Problem;
use crate::grants::{GATEWAY_GROUP, GroupKind};
use crate::names;
use crate::policies::{Outcome, PolicyKey, PolicyKind, TargetKind, backend_tls, backend_traffic, session};

/// A route's rules with everything resolved that does not depend on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lowered {
    pub(crate) rules: Vec<Rule>,
    /// Clusters that the rules name.
    pub(crate) clusters: Box<[ClusterKey]>,
    /// What policies of the backends are told, and backends that have a status of their own.
    pub(crate) told: Box<[(PolicyKey, Arc<Outcome>)]>,
    /// The first reference that does not resolve (`ResolvedRefs`).
    pub(crate) unresolved: Option<Problem>,
    /// Rules that we cannot serve, by index (`Accepted`, `PartiallyInvalid`); they answer 500.
    pub(crate) unsupported: Vec<(u32, Problem)>,
    /// Whether a redirect's port depends on the listener.
    pub(crate) needs_listener: bool,
    /// Where connections go, for the kinds that do not look into them; these have no `rules`.
    pub(crate) forward: Option<Arc<Forward>>,
    /// The same where TLS that is passed on elsewhere ends at the listener, if that makes a difference.
    pub(crate) decrypted: Option<Decrypted>,
}

/// What a TLSRoute does with connections whose TLS ends here: to its backends they are under TLS again if policies ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decrypted {
    forward: Arc<Forward>,
    unresolved: Option<Problem>,
}

impl Lowered {
    /// Where the connections of a listener go.
    pub(crate) fn forward_at(&self, site: &Site) -> Option<&Arc<Forward>> {
        let decrypted = self.decrypted.as_ref().filter(|_| site.ends_tls);
        decrypted.map(|decrypted| &decrypted.forward).or(self.forward.as_ref())
    }

    /// The first reference that does not resolve as one of these listeners needs it.
    pub(crate) fn unresolved_at(&self, listeners: &[BoundListener]) -> Option<&Problem> {
        let decrypts = listeners.iter().any(|listener| listener.site.ends_tls);
        let decrypted = self.decrypted.as_ref().filter(|_| decrypts);
        self.unresolved.as_ref().or_else(|| decrypted?.unresolved.as_ref())
    }
}

/// Most rules and backends have no filters: they share one value.
pub(crate) fn shared(filters: Filters) -> Arc<Filters> {
    static NONE: LazyLock<Arc<Filters>> = LazyLock::new(Arc::default);
    if filters == **NONE { NONE.clone() } else { Arc::new(filters) }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) matches: Vec<HttpMatch>,
    pub(crate) filters: Arc<Filters>,
    /// Redirects here still have the port as the user wrote it.
    pub(crate) action: Arc<Action>,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: Option<Arc<Retry>>,
    pub(crate) session: Option<Arc<SessionPersistence>>,
}

/// Stage: a route's rules.
pub(crate) fn lowered(
    facts: &Facts,
    config: &Config,
    reads: &mut Reads,
    key: &RouteKey,
) -> Option<Arc<Lowered>> {
    let mut lowering = Lowering::new(facts, config, key);
    let rules = match facts.routes.get(reads, key)? {
        RouteFact::Http(route) => {
            lowering.each(&route.spec.rules, |lowering, rule| lowering.http_rule(reads, rule))
        }
        RouteFact::Grpc(route) => {
            lowering.each(&route.spec.rules, |lowering, rule| lowering.grpc_rule(reads, rule))
        }
        RouteFact::Tls(route) => return Some(Arc::new(lowering.stream(reads, &route.spec))),
        RouteFact::Tcp(route) => return Some(Arc::new(lowering.stream(reads, &route.spec))),
        RouteFact::Udp(route) => return Some(Arc::new(lowering.stream(reads, &route.spec))),
    };
    Some(Arc::new(lowering.with(rules, None)))
}

/// Collects what all rules of a route report.
pub(crate) struct Lowering<'a> {
    facts: &'a Facts,
    config: &'a Config,
    key: &'a RouteKey,
    /// The kind that refers to backends, as grants name it.
    grantee: GroupKind<'static>,
    clusters: BTreeSet<ClusterKey>,
    told: BTreeMap<PolicyKey, Arc<Outcome>>,
    unresolved: Option<Problem>,
    unsupported: Vec<(u32, Problem)>,
    needs_listener: bool,
    /// Whether policies can ask for TLS to backends: not under the client's own TLS, nor for datagrams.
    protects: bool,
    rule: u32,
}

impl<'a> Lowering<'a> {
    fn new(facts: &'a Facts, config: &'a Config, key: &'a RouteKey) -> Self {
        Self {
            facts,
            config,
            key,
            grantee: GroupKind { group: GATEWAY_GROUP, kind: key.kind.as_str() },
            clusters: BTreeSet::new(),
            told: BTreeMap::new(),
            unresolved: None,
            unsupported: Vec::new(),
            needs_listener: false,
            protects: matches!(key.kind, RouteKind::Http | RouteKind::Grpc | RouteKind::Tcp),
            rule: 0,
        }
    }

    /// The same for what is no route and speaks to backends as one does.
    pub(crate) fn of(
        (facts, config): (&'a Facts, &'a Config),
        speaker: &'a RouteKey,
        grantee: GroupKind<'static>,
    ) -> Self {
        Self { grantee, ..Self::new(facts, config, speaker) }
    }

    /// The cluster of a collector, and what else its reference means.
    pub(crate) fn collector(
        mut self,
        reads: &mut Reads,
        reference: &BackendObjectReference,
    ) -> (Option<ClusterName>, Lowered) {
        let cluster = self.cluster_of(reads, reference, Some(Protocol::H2c)).ok();
        (cluster, self.with(Vec::new(), None))
    }

    fn each<R>(&mut self, rules: &[R], mut lower: impl FnMut(&mut Self, &R) -> Rule) -> Vec<Rule> {
        let mut lowered = Vec::with_capacity(rules.len());
        for (index, rule) in (0u32..).zip(rules) {
            self.rule = index;
            lowered.push(lower(self, rule));
        }
        lowered
    }

    fn with(self, rules: Vec<Rule>, forward: Option<Forward>) -> Lowered {
        Lowered {
            rules,
            clusters: self.clusters.into_iter().collect(),
            told: self.told.into_iter().collect(),
            unresolved: self.unresolved,
            unsupported: self.unsupported,
            needs_listener: self.needs_listener,
            forward: forward.map(Arc::new),
            decrypted: None,
        }
    }

    fn http_rule(&mut self, reads: &mut Reads, rule: &HTTPRouteRule) -> Rule {
        Rule {
            matches: self.known(matches::of_requests(&rule.matches)),
            timeouts: rule.timeouts.as_deref().map(timeouts).unwrap_or_default(),
            retry: rule.retry.as_deref().map(|retry| Arc::new(lower_retry(retry))),
            session: self.session(rule.session_persistence.as_deref(), rule.name.as_deref()),
            ..self.rule(reads, rule.name.as_deref(), &rule.filters, &rule.backend_refs)
        }
    }

    /// Calls may be streams that last: only who calls knows how long.
    fn grpc_rule(&mut self, reads: &mut Reads, rule: &GRPCRouteRule) -> Rule {
        Rule {
            matches: self.known(matches::of_calls(&rule.matches)),
            timeouts: Timeouts { request: Some(Duration::ZERO), backend_request: None },
            session: self.session(rule.session_persistence.as_ref(), rule.name.as_deref()),
            ..self.rule(reads, rule.name.as_deref(), &rule.filters, &rule.backend_refs)
        }
    }

    /// The matches that can be had; of the others nobody knows which requests they mean, so they get none.
    fn known(&mut self, matches: Vec<Result<HttpMatch, matches::Unknown>>) -> Vec<HttpMatch> {
        let mut known = Vec::with_capacity(matches.len());
        for one in matches {
            match one {
                Ok(one) => known.push(one),
                Err(message) => self.unsupport(Problem::new("UnsupportedValue", message)),
            }
        }
        known
    }

    /// What rules of both kinds have.
    fn rule(
        &mut self,
        reads: &mut Reads,
        name: Option<&str>,
        filters: &[RouteFilter],
        backends: &[BackendRef],
    ) -> Rule {
        let (filters, broken) = self.filters(reads, filters);
        let action = match (&filters.redirect, broken) {
            (_, true) => Action::Respond(self.key.kind.failure_status()),
            (Some(redirect), false) => Action::Redirect(redirect.clone()),
            (None, false) => Action::Forward(self.backends(reads, backends)),
        };
        Rule {
            name: name.map(Arc::from),
            matches: Vec::new(),
            filters: shared(Filters { redirect: None, ..filters }),
            action: Arc::new(action),
            timeouts: Timeouts::default(),
            retry: None,
            session: None,
        }
    }

    fn backends(&mut self, reads: &mut Reads, references: &[BackendRef]) -> Vec<WeightedBackend> {
        references.iter().map(|reference| self.backend(reads, reference)).collect()
    }

    fn backend(&mut self, reads: &mut Reads, reference: &BackendRef) -> WeightedBackend {
        let (filters, broken) = self.filters(reads, &reference.filters);
        let session = backends::target(&self.key.object.namespace, &reference.object)
            .and_then(|target| session::of_backend(self.facts, reads, &target));
        let target = match self.cluster(reads, &reference.object) {
            Ok(cluster) if !broken => Target::Cluster(cluster),
            _ => Target::Status(self.key.kind.failure_status()),
        };
        let weight = reference.weight.unwrap_or(1);
        WeightedBackend { target, weight, filters: shared(filters), session }
    }

    /// The cluster of a reference; the first failure becomes the route's `ResolvedRefs`.
    fn cluster(&mut self, reads: &mut Reads, reference: &BackendObjectReference) -> Result<ClusterName, ()> {
        self.cluster_of(reads, reference, None)
    }

    /// The same where the protocol does not depend on the backend.
    fn cluster_of(
        &mut self,
        reads: &mut Reads,
        reference: &BackendObjectReference,
        protocol: Option<Protocol>,
    ) -> Result<ClusterName, ()> {
        let Self { key, protects, .. } = *self;
        let from =
            Referrer { namespace: &key.object.namespace, grantee: self.grantee, kind: key.kind, protects };
        let resolved = resolve((self.facts, self.config), reads, from, reference);
        let permitted = !matches!(&resolved, Err(problem) if problem.reason == "RefNotPermitted");
        self.tell(reads, reference, permitted);
        match resolved {
            Ok(key) => {
                let key = ClusterKey { protocol: protocol.unwrap_or(key.protocol), ..key };
                let name = names::cluster(&key);
                self.clusters.insert(key);
                Ok(name)
            }
            Err(problem) => {
                self.unresolve(problem);
                Err(())
            }
        }
    }

    /// The policies of a backend hear what becomes of them, and so does a backend with a status for each Gateway.
    fn tell(&mut self, reads: &mut Reads, reference: &BackendObjectReference, permitted: bool) {
        let Some(target) = backends::target(&self.key.object.namespace, reference) else { return };
        let mut told = Vec::new();
        if self.protects {
            let policies = match target.kind {
                TargetKind::Service | TargetKind::Backend => backend_tls::told(self.facts, reads, &target),
                TargetKind::XBackend => backend_tls::misplaced(self.facts, reads, &target),
                _ => Vec::new(),
            };
            told.extend(policies.into_iter().map(|(key, outcome)| ((PolicyKind::BackendTls, key), outcome)));
        }
        if matches!(self.key.kind, RouteKind::Http | RouteKind::Grpc) {
            let policies = backend_traffic::told(self.facts, reads, &target);
            told.extend(
                policies.into_iter().map(|(key, outcome)| ((PolicyKind::BackendTraffic, key), outcome)),
            );
        }
        if permitted && let Some(outcome) = backends::told((self.facts, self.config), reads, &target) {
            told.push(((PolicyKind::XBackend, target.object), outcome));
        }
        self.told.extend(told);
    }

    fn unresolve(&mut self, problem: Problem) {
        self.unresolved.get_or_insert(problem);
    }

    fn unsupport(&mut self, problem: Problem) {
        self.unsupported.push((self.rule, problem));
    }

    /// The cookie's or header's name is the rule's identity when the user leaves it to us.
    fn session(&self, said: Option<&ApiSession>, rule: Option<&str>) -> Option<Arc<SessionPersistence>> {
        let identity = || {
            let kind = if self.key.kind == RouteKind::Http { "" } else { self.key.kind.as_str() };
            let rule = rule.map_or_else(|| self.rule.to_string(), str::to_owned);
            format!("{kind}{}/{rule}", self.key.object)
        };
        Some(session::lower(said?, identity))
    }
}

fn timeouts(timeouts: &HTTPRouteTimeouts) -> Timeouts {
    Timeouts {
        request: timeouts.request.as_deref().and_then(duration::parse),
        backend_request: timeouts.backend_request.as_deref().and_then(duration::parse),
    }
}

fn lower_retry(retry: &HTTPRouteRetry) -> Retry {
    let attempts = retry.attempts.unwrap_or(1).clamp(0, i64::from(u32::MAX));
    Retry {
        codes: retry.codes.clone(),
        attempts: u32::try_from(attempts).unwrap_or_default(),
        backoff: retry.backoff.as_deref().and_then(duration::parse),
    }
}

/// What a redirect needs to know of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RedirectContext {
    pub(crate) port: u16,
    pub(crate) https: bool,
}

/// Works out the port of a Location header (`HTTPRequestRedirectFilter.port`): the user's, else the well-known one
/// of a named scheme, else the listener's; left out where it is the well-known one of the final scheme.
pub(crate) fn redirect_for(redirect: &Redirect, context: RedirectContext) -> Redirect {
    let own_scheme = if context.https { "https" } else { "http" };
    let scheme = redirect.scheme.as_deref().unwrap_or(own_scheme);
    let well_known = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let port = match (redirect.port, &redirect.scheme) {
        (Some(port), _) => Some(port),
        (None, Some(_)) => well_known.or(Some(context.port)),
        (None, None) => Some(context.port),
    };
    let asked = redirect.port.is_some() || redirect.scheme.is_some();
    let (left_out, port) = if port == well_known { (port.filter(|_| asked), None) } else { (None, port) };
    Redirect { port, left_out, ..redirect.clone() }
}
