//! Short forms of model values.

use std::sync::Arc;

use gatehouse_model::backend::ClusterName;
use gatehouse_model::http::{
    Action, Filters, Fraction, Header, HeaderMods, HttpMatch, HttpRoute, Mirror, NamedMatch, PathMatch,
    PathModifier, Provenance, Redirect, Target, Timeouts, UrlRewrite, ValueMatch, WeightedBackend,
};
use gatehouse_model::{NamespacedName, RouteKey, RouteKind};

pub(crate) fn route(path: PathMatch, filters: Filters, action: Action) -> HttpRoute {
    let object = NamespacedName::new("default", "web");
    HttpRoute {
        provenance: Provenance {
            route: RouteKey { kind: RouteKind::Http, object },
            rule_name: None,
            rule: 0,
            matched: 0,
        },
        matches: HttpMatch { path, method: None, headers: Vec::new(), query: Vec::new() },
        filters: Arc::new(filters),
        action: Arc::new(action),
        timeouts: Timeouts::default(),
        retry: None,
        session: None,
    }
}

/// Forwards a prefix to a cluster.
pub(crate) fn to(prefix: &str, cluster: &str) -> HttpRoute {
    with(prefix, Filters::default(), cluster)
}

/// Forwards a prefix to a cluster with filters at the rule.
pub(crate) fn with(prefix: &str, filters: Filters, cluster: &str) -> HttpRoute {
    route(PathMatch::Prefix(prefix.into()), filters, Action::Forward(vec![backend(cluster, 1)]))
}

/// Splits a prefix.
pub(crate) fn split(prefix: &str, backends: Vec<WeightedBackend>) -> HttpRoute {
    route(PathMatch::Prefix(prefix.into()), Filters::default(), Action::Forward(backends))
}

pub(crate) fn backend(cluster: &str, weight: u32) -> WeightedBackend {
    WeightedBackend {
        target: Target::Cluster(ClusterName(cluster.into())),
        weight,
        filters: std::sync::Arc::default(),
        session: None,
    }
}

pub(crate) fn backend_with(cluster: &str, weight: u32, filters: Filters) -> WeightedBackend {
    WeightedBackend { filters: filters.into(), ..backend(cluster, weight) }
}

pub(crate) fn invalid_backend(weight: u32) -> WeightedBackend {
    WeightedBackend { target: Target::Status(500), ..backend("none", weight) }
}

pub(crate) fn redirect(prefix: &str, to: Redirect) -> HttpRoute {
    route(PathMatch::Prefix(prefix.into()), Filters::default(), Action::Redirect(to))
}

pub(crate) fn redirect_to(path: Option<PathModifier>) -> Redirect {
    Redirect { scheme: None, hostname: None, path, port: None, left_out: None, status: 302 }
}

pub(crate) fn rewrite(hostname: Option<&str>, path: Option<PathModifier>) -> Filters {
    let rewrite = UrlRewrite { hostname: hostname.map(Into::into), path };
    Filters { rewrite, ..Filters::default() }
}

pub(crate) fn full(path: &str) -> PathModifier {
    PathModifier::ReplaceFullPath(path.into())
}

pub(crate) fn prefix(path: &str) -> PathModifier {
    PathModifier::ReplacePrefixMatch(path.into())
}

pub(crate) fn mods(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderMods {
    let headers = |list: &[(&str, &str)]| -> Vec<Header> {
        list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    HeaderMods {
        set: headers(set),
        add: headers(add),
        remove: remove.iter().map(|name| (*name).into()).collect(),
    }
}

pub(crate) fn request_mods(mods: HeaderMods) -> Filters {
    Filters { request_headers: mods, ..Filters::default() }
}

pub(crate) fn exact(name: &str, value: &str) -> NamedMatch {
    NamedMatch { name: name.into(), value: ValueMatch::Exact(value.into()) }
}

pub(crate) fn regex(name: &str, value: &str) -> NamedMatch {
    NamedMatch { name: name.into(), value: ValueMatch::Regex(value.into()) }
}

pub(crate) fn mirror(cluster: &str, share: Option<(u32, u32)>) -> Mirror {
    Mirror {
        cluster: ClusterName(cluster.into()),
        fraction: share.map(|(numerator, denominator)| Fraction { numerator, denominator }),
    }
}
