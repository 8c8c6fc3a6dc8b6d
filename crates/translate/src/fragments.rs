//! One encoded fragment per match: the unit of change inside a virtual host.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatehouse_engine::{Reads, Stage};
use gatehouse_envoy::Invalid;
use gatehouse_model::http::{Action, Filters, HttpMatch, HttpRoute, PathMatch, Provenance, ValueMatch};
use gatehouse_model::{ListenerKey, RouteKey};
use serde::Serialize;

use crate::attach::Bindings;
use crate::facts::{Facts, age};
use crate::http::{Lowered, RedirectContext, Rule, redirect_for};

/// Identity of encoded bytes: their content hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct FragmentId(pub Arc<str>);

/// Where a fragment comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// One match of one rule.
    Rule(Provenance),
    /// The filters of a listener: they stand ahead of all rules, and a host is never without them.
    Guard(ListenerKey),
    /// What answers when no rule matches, where filters need a route to be found by.
    Rest,
}

/// A part of a virtual host, encoded: entries of `VirtualHost.routes`, or what a listener puts around them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Hash of the bytes.
    pub id: FragmentId,
    /// Where it comes from.
    pub origin: Origin,
    pub(crate) rank: Arc<Rank>,
    pub(crate) bytes: Bytes,
    pub(crate) clusters: Vec<Arc<str>>,
    pub(crate) linger: Duration,
}

impl Fragment {
    /// The rule that it is for.
    pub(crate) fn rule(&self) -> Option<&Provenance> {
        match &self.origin {
            Origin::Rule(provenance) => Some(provenance),
            Origin::Guard(_) | Origin::Rest => None,
        }
    }

    /// The route that it comes from.
    pub(crate) fn route(&self) -> Option<&RouteKey> {
        self.rule().map(|provenance| &provenance.route)
    }

    pub(crate) fn is_rest(&self) -> bool {
        self.origin == Origin::Rest
    }

    pub(crate) fn is_guard(&self) -> bool {
        matches!(self.origin, Origin::Guard(_))
    }

    /// The same for other bytes, which name the same clusters.
    pub(crate) fn with_bytes(&self, bytes: Bytes) -> Self {
        Self { id: FragmentId(gatehouse_envoy::version(&bytes)), bytes, ..self.clone() }
    }
}

/// Precedence among fragments of one host pattern, best first: what is for gRPC calls only, by the characters of the
/// service and of the method and by the headers (GRPCRoute `rules[].matches`); then (HTTPRoute `rules[].matches`) exact
/// paths, then regular expressions, then prefixes; longer paths; a method; more headers; more query parameters. Then the
/// older route; `namespace/name`; order of rules and matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// The class, and the length of the path or service.
    path: Reverse<(u8, usize)>,
    /// One for any method of HTTP, the length of a method of gRPC.
    method: Reverse<usize>,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    age: Arc<str>,
    /// `None` for what is no rule's.
    provenance: Option<(RouteKey, u32, u32)>,
}

impl Rank {
    /// Of what stands ahead of all rules or behind them, which the rest of its place decides.
    pub(crate) fn of_no_rule() -> Self {
        Self {
            path: Reverse((0, 0)),
            method: Reverse(0),
            headers: Reverse(0),
            query: Reverse(0),
            age: Arc::default(),
            provenance: None,
        }
    }
}

/// A route under the redirects' view of a listener; `None` where no redirect asks for it.
pub(crate) type FragmentsKey = (RouteKey, Option<RedirectContext>);

/// All fragments of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fragments {
    pub(crate) list: Vec<Arc<Fragment>>,
    /// Matches that cannot be encoded, by rule.
    pub(crate) invalid: Vec<(u32, Invalid)>,
    /// Matches that a proxy refused, by rule, with its words.
    pub(crate) refused: Vec<(u32, Arc<str>)>,
}

/// The views of listeners that a route's fragments are needed in.
pub(crate) fn contexts(bindings: &Bindings, lowered: &Lowered) -> BTreeSet<Option<RedirectContext>> {
    let context =
        |listener: &crate::attach::BoundListener| lowered.needs_listener.then_some(listener.site.context());
    bindings.listeners().map(context).collect()
}

/// Whether a Gateway serves at least one of a route's rules as written. Streams have no rules to fail.
pub(crate) fn is_served<'a>(
    bindings: &Bindings,
    lowered: &Lowered,
    fragments: impl Fn(Option<RedirectContext>) -> Option<&'a Arc<Fragments>>,
) -> bool {
    let unsupported = lowered.unsupported.iter().map(|(rule, _)| *rule);
    let views = contexts(bindings, lowered);
    let invalid = views.into_iter().filter_map(fragments).flat_map(|made| &made.invalid);
    let broken: BTreeSet<u32> = unsupported.chain(invalid.map(|(rule, _)| *rule)).collect();
    broken.is_empty() || broken.len() < lowered.rules.len()
}

/// Stage: a route's fragments in one view. `None` when nobody needs them.
pub(crate) fn fragments(
    facts: &Facts,
    bindings: &Stage<RouteKey, Arc<Bindings>>,
    lowered: &Stage<RouteKey, Arc<Lowered>>,
    reads: &mut Reads,
    (route, context): &FragmentsKey,
) -> Option<Arc<Fragments>> {
    let bound = bindings.get(reads, route)?;
    let lowered = lowered.get(reads, route)?;
    if !contexts(bound, lowered).contains(context) {
        return None;
    }
    let created = age(facts.routes.get(reads, route)?.meta());
    let context = context.unwrap_or(RedirectContext { port: 0, https: false });
    let compiler = Compiler { facts, route, created, context };
    let mut out = Fragments::default();
    for (index, rule) in (0u32..).zip(&lowered.rules) {
        let action = Arc::new(compiler.action(&rule.action));
        for (matched, m) in (0u32..).zip(&rule.matches) {
            compiler.compile(reads, &mut out, rule, &action, (index, matched), m);
        }
    }
    Some(Arc::new(out))
}

struct Compiler<'a> {
    facts: &'a Facts,
    route: &'a RouteKey,
    created: Arc<str>,
    context: RedirectContext,
}

impl Compiler<'_> {
    /// The action with its redirects' ports worked out.
    fn action(&self, action: &Action) -> Action {
        let backend = |b: &gatehouse_model::http::WeightedBackend| {
            let Some(redirect) = &b.filters.redirect else { return b.clone() };
            let redirect = Some(redirect_for(redirect, self.context));
            let filters = Arc::new(Filters { redirect, ..(*b.filters).clone() });
            gatehouse_model::http::WeightedBackend { filters, ..b.clone() }
        };
        match action {
            Action::Redirect(redirect) => Action::Redirect(redirect_for(redirect, self.context)),
            Action::Forward(backends) => Action::Forward(backends.iter().map(backend).collect()),
            Action::Respond(status) => Action::Respond(*status),
        }
    }

    fn compile(
        &self,
        reads: &mut Reads,
        out: &mut Fragments,
        rule: &Rule,
        action: &Arc<Action>,
        (index, matched): (u32, u32),
        m: &HttpMatch,
    ) {
        let provenance =
            Provenance { route: self.route.clone(), rule_name: rule.name.clone(), rule: index, matched };
        let route = HttpRoute {
            provenance,
            matches: m.clone(),
            filters: rule.filters.clone(),
            action: action.clone(),
            timeouts: rule.timeouts,
            retry: rule.retry.clone(),
            session: rule.session.clone(),
        };
        match encode(&route, self.rank(&route)) {
            Ok(fragment) => {
                let refused = self.facts.quarantined.get(reads, &fragment.id);
                out.refused.extend(refused.map(|message| (index, message.clone())));
                out.list.push(Arc::new(fragment));
            }
            Err(invalid) => {
                out.invalid.push((index, invalid));
                // Requests that the rule would have got must not reach another rule: they fail, unless the match
                // itself is what cannot be had.
                let failing = fails(route);
                out.list.extend(encode(&failing, self.rank(&failing)).ok().map(Arc::new));
            }
        }
    }

    fn rank(&self, route: &HttpRoute) -> Rank {
        let m = &route.matches;
        let (path, method) = match &m.path {
            PathMatch::Call { service, method } => {
                ((3, characters(service.as_ref())), characters(method.as_ref()))
            }
            PathMatch::Exact(path) => ((2, path.len()), m.method.iter().len()),
            PathMatch::Regex(path) => ((1, path.len()), m.method.iter().len()),
            PathMatch::Prefix(path) => ((0, prefix_characters(path)), m.method.iter().len()),
        };
        Rank {
            path: Reverse(path),
            method: Reverse(method),
            headers: Reverse(m.headers.len()),
            query: Reverse(m.query.len()),
            age: self.created.clone(),
            provenance: Some((self.route.clone(), route.provenance.rule, route.provenance.matched)),
        }
    }
}

/// A trailing slash is ignored (PathMatchType), and `/` is more than what is no rule's.
fn prefix_characters(path: &str) -> usize {
    path.trim_end_matches('/').len().max(1)
}

fn characters(value: Option<&ValueMatch>) -> usize {
    match value {
        None => 0,
        Some(ValueMatch::Exact(text) | ValueMatch::Regex(text)) => text.len(),
    }
}

fn encode(route: &HttpRoute, rank: Rank) -> Result<Fragment, Invalid> {
    let encoded = gatehouse_envoy::encode::route(route)?;
    Ok(Fragment {
        id: FragmentId(gatehouse_envoy::version(&encoded.bytes)),
        origin: Origin::Rule(route.provenance.clone()),
        rank: Arc::new(rank),
        bytes: encoded.bytes,
        clusters: encoded.clusters.into_iter().map(|c| c.0).collect(),
        linger: encoded.longest_timeout,
    })
}

/// The same requests without what the rule does with them: they fail.
fn fails(route: HttpRoute) -> HttpRoute {
    HttpRoute {
        filters: Arc::default(),
        action: Arc::new(Action::Respond(route.provenance.route.kind.failure_status())),
        retry: None,
        session: None,
        ..route
    }
}

/// What stands in for a fragment whose requests must fail.
pub(crate) fn failing(fragment: &Fragment, lowered: &Lowered) -> Option<Arc<Fragment>> {
    let provenance = fragment.rule()?.clone();
    let rule = lowered.rules.get(usize::try_from(provenance.rule).ok()?)?;
    let matches = rule.matches.get(usize::try_from(provenance.matched).ok()?)?.clone();
    let route = HttpRoute {
        provenance,
        matches,
        filters: Arc::default(),
        action: rule.action.clone(),
        timeouts: rule.timeouts,
        retry: None,
        session: None,
    };
    encode(&fails(route), (*fragment.rank).clone()).ok().map(Arc::new)
}
