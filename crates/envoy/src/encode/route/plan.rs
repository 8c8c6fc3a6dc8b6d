//! Which share of the requests of a rule has which outcome.
//!
//! Backends that differ only in headers and host share one Envoy route with weighted clusters. Other
//! differences (a redirect, a path, a mirror, CORS, authorization, sessions, an invalid backend) need a route each. Envoy draws one
//! random value per request and compares it with the `runtime_fraction` of every route it tries, so
//! cumulative thresholds in consecutive routes split the requests exactly; the last route takes the rest.

use gatehouse_model::backend::ClusterName;
use gatehouse_model::http::{
    Action, Cors, ExternalAuth, Filters, Fraction, HttpRoute, Mirror, PathModifier, Redirect,
    SessionPersistence, Target, WeightedBackend,
};

use super::headers::Mods;

/// Denominator of thresholds; weights are rounded to it.
pub(super) const MILLION: u32 = 1_000_000;

/// What an Envoy route does.
pub(super) enum Outcome<'a> {
    Forward(Forward<'a>),
    Redirect(&'a Redirect),
    Respond(u16),
}

/// Forwarding, to one or several clusters.
pub(super) struct Forward<'a> {
    pub(super) request: Mods,
    pub(super) host: Option<&'a str>,
    pub(super) path: Option<&'a PathModifier>,
    pub(super) mirrors: Vec<&'a Mirror>,
    /// At least one; with several, headers and host stand there and not above.
    pub(super) targets: Vec<WeightedTarget<'a>>,
}

/// One cluster of several.
pub(super) struct WeightedTarget<'a> {
    pub(super) cluster: &'a ClusterName,
    pub(super) weight: u32,
    pub(super) request: Mods,
    pub(super) response: Mods,
    pub(super) host: Option<&'a str>,
}

/// An outcome with the requests that have it.
pub(super) struct Share<'a> {
    /// Cumulative, in millionths; `None` takes what is left.
    pub(super) threshold: Option<u32>,
    pub(super) outcome: Outcome<'a>,
    pub(super) response: Mods,
    pub(super) cors: Option<&'a Cors>,
    pub(super) auth: Option<&'a ExternalAuth>,
    /// Of the backends alone.
    pub(super) session: Option<&'a SessionPersistence>,
}

impl Share<'_> {
    /// Who is asked about the requests. What is answered with a fixed status tells nobody anything.
    pub(super) fn auth(&self) -> Option<&ExternalAuth> {
        self.auth.filter(|_| !matches!(self.outcome, Outcome::Respond(_)))
    }
}

/// The shares of a route in the order in which Envoy tries them; at least one.
pub(super) fn shares(route: &HttpRoute) -> Vec<Share<'_>> {
    let rule = &*route.filters;
    match (&*route.action, &rule.redirect) {
        (Action::Redirect(redirect), _) | (Action::Forward(_), Some(redirect)) => {
            vec![whole(rule, Outcome::Redirect(redirect))]
        }
        (Action::Respond(status), _) => vec![whole(rule, Outcome::Respond(*status))],
        (Action::Forward(backends), None) => forward(route, backends),
    }
}

fn whole<'a>(rule: &'a Filters, outcome: Outcome<'a>) -> Share<'a> {
    Share {
        threshold: None,
        outcome,
        response: Mods::of(&rule.response_headers),
        cors: rule.cors.as_ref(),
        auth: rule.auth.as_deref(),
        session: None,
    }
}

fn forward<'a>(route: &'a HttpRoute, backends: &'a [WeightedBackend]) -> Vec<Share<'a>> {
    let rule = &*route.filters;
    let alive: Vec<&WeightedBackend> = backends.iter().filter(|backend| backend.weight > 0).collect();
    match &*alive {
        [] => vec![whole(rule, Outcome::Respond(route.provenance.route.kind.failure_status()))],
        [backend] => vec![single(rule, backend, None)],
        [first, ..]
            if alive.iter().all(|backend| differs_in_headers_only(backend))
                && alive.iter().all(|backend| backend.session == first.session) =>
        {
            vec![Share { session: first.session.as_deref(), ..weighted(rule, &alive) }]
        }
        several => split(rule, several),
    }
}

fn differs_in_headers_only(backend: &WeightedBackend) -> bool {
    let filters = &backend.filters;
    matches!(backend.target, Target::Cluster(_))
        && filters.redirect.is_none()
        && filters.rewrite.path.is_none()
        && filters.mirrors.is_empty()
        && filters.cors.is_none()
        && filters.auth.is_none()
}

fn single<'a>(rule: &'a Filters, backend: &'a WeightedBackend, threshold: Option<u32>) -> Share<'a> {
    let own = &backend.filters;
    let response = Mods::of(&rule.response_headers).then(&own.response_headers);
    let outcome = match (&own.redirect, &backend.target) {
        (Some(redirect), _) => Outcome::Redirect(redirect),
        (None, Target::Status(status)) => Outcome::Respond(*status),
        (None, Target::Cluster(cluster)) => Outcome::Forward(Forward {
            request: Mods::of(&rule.request_headers).then(&own.request_headers),
            host: host(own).or_else(|| host(rule)),
            path: own.rewrite.path.as_ref().or(rule.rewrite.path.as_ref()),
            mirrors: rule.mirrors.iter().chain(&own.mirrors).filter(|mirror| mirrors_any(mirror)).collect(),
            targets: vec![WeightedTarget {
                cluster,
                weight: backend.weight,
                request: Mods::default(),
                response: Mods::default(),
                host: None,
            }],
        }),
    };
    let cors = own.cors.as_ref().or(rule.cors.as_ref());
    let auth = own.auth.as_deref().or(rule.auth.as_deref());
    Share { threshold, outcome, response, cors, auth, session: backend.session.as_deref() }
}

/// Headers and host go to the clusters only when one of them has its own: then the changes of the rule come
/// first and those of the backend after, which levels of Envoy's configuration would not give.
fn weighted<'a>(rule: &'a Filters, backends: &[&'a WeightedBackend]) -> Share<'a> {
    let own_mods = backends.iter().any(|backend| {
        let own = &backend.filters;
        !own.request_headers.is_empty() || !own.response_headers.is_empty() || own.rewrite.hostname.is_some()
    });
    let request = Mods::of(&rule.request_headers);
    let response = Mods::of(&rule.response_headers);
    let targets = backends
        .iter()
        .filter_map(|backend| match &backend.target {
            Target::Cluster(cluster) => Some((*backend, cluster)),
            Target::Status(_) => None,
        })
        .map(|(backend, cluster)| WeightedTarget {
            cluster,
            weight: backend.weight,
            request: if own_mods {
                request.clone().then(&backend.filters.request_headers)
            } else {
                Mods::default()
            },
            response: if own_mods {
                response.clone().then(&backend.filters.response_headers)
            } else {
                Mods::default()
            },
            host: if own_mods { host(&backend.filters).or_else(|| host(rule)) } else { None },
        })
        .collect();
    let mut share = whole(rule, Outcome::Respond(500));
    if own_mods {
        share.response = Mods::default();
    }
    share.outcome = Outcome::Forward(Forward {
        request: if own_mods { Mods::default() } else { request },
        host: if own_mods { None } else { host(rule) },
        path: rule.rewrite.path.as_ref(),
        mirrors: rule.mirrors.iter().filter(|mirror| mirrors_any(mirror)).collect(),
        targets,
    });
    share
}

fn split<'a>(rule: &'a Filters, backends: &[&'a WeightedBackend]) -> Vec<Share<'a>> {
    let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
    let mut sum = 0;
    let mut previous = 0;
    let mut shares = Vec::with_capacity(backends.len());
    for backend in backends {
        sum += u64::from(backend.weight);
        let exact = (sum * u64::from(MILLION) + total / 2) / total;
        let threshold = u32::try_from(exact).expect("a share is at most a million millionths");
        // Less than half a millionth: no random value falls between the two thresholds.
        if threshold > previous {
            shares.push(single(rule, backend, (threshold < MILLION).then_some(threshold)));
        }
        previous = threshold;
    }
    shares
}

/// Envoy rewrites `Host` by an option of its own and refuses it among headers.
fn host(filters: &Filters) -> Option<&str> {
    let set = || filters.request_headers.set.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    filters.rewrite.hostname.as_deref().or_else(|| set().map(|(_, value)| &**value))
}

fn mirrors_any(mirror: &Mirror) -> bool {
    mirror.fraction.is_none_or(|Fraction { numerator, .. }| numerator > 0)
}
