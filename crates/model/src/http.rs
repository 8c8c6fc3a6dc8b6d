//! HTTP rules as Envoy will see them: one [`HttpRoute`] per match, independent of the object they come from.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::backend::ClusterName;
use crate::key::RouteKey;

/// How a path is matched (HTTPRoute `matches[].path`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum PathMatch {
    /// The whole path, case-sensitive.
    Exact(Arc<str>),
    /// By path segments; `/` matches everything; a trailing slash is ignored.
    Prefix(Arc<str>),
    /// RE2, the whole path.
    Regex(Arc<str>),
    /// The called service and method of gRPC (GRPCRoute `matches[].method`), each any when it is absent. Other requests
    /// do not match, whatever their path.
    Call {
        /// The service with its package.
        service: Option<ValueMatch>,
        /// The method.
        method: Option<ValueMatch>,
    },
}

/// How a header or query value is matched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum ValueMatch {
    /// Equal.
    Exact(Arc<str>),
    /// RE2, the whole value.
    Regex(Arc<str>),
}

/// A header or query parameter that must be present with a value. Header names are lower-case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct NamedMatch {
    /// Name of the header (lower-case) or query parameter (as written).
    pub name: Arc<str>,
    /// Its value.
    pub value: ValueMatch,
}

/// One entry of `matches`: all parts must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct HttpMatch {
    /// The path.
    pub path: PathMatch,
    /// The method, upper-case; absent means any.
    pub method: Option<Arc<str>>,
    /// Headers, first occurrence of each name wins (the specification ignores the others).
    pub headers: Vec<NamedMatch>,
    /// Query parameters, likewise.
    pub query: Vec<NamedMatch>,
}

/// A header name and value.
pub type Header = (Arc<str>, Arc<str>);

/// Changes of headers (`HTTPHeaderFilter`). Names keep their spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeaderMods {
    /// Overwrite or create.
    pub set: Vec<Header>,
    /// Append to what is there.
    pub add: Vec<Header>,
    /// Remove.
    pub remove: Vec<Arc<str>>,
}

impl HeaderMods {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// A change of the path (`HTTPPathModifier`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum PathModifier {
    /// Replace the whole path.
    ReplaceFullPath(Arc<str>),
    /// Replace the matched prefix (only with a `PathPrefix` match); see the table at `HTTPPathModifier`.
    ReplacePrefixMatch(Arc<str>),
}

/// `HTTPRequestRedirectFilter` with the listener's port already worked in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// New scheme, if it changes.
    pub scheme: Option<Arc<str>>,
    /// New hostname, if it changes.
    pub hostname: Option<Arc<str>>,
    /// New path, if it changes.
    pub path: Option<PathModifier>,
    /// Port of the Location header: `None` leaves it out (it is the scheme's well-known port).
    pub port: Option<u16>,
    /// The port that is left out, where the request's own must not stand in for it.
    pub left_out: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// `HTTPURLRewriteFilter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UrlRewrite {
    /// New `Host` header.
    pub hostname: Option<Arc<str>>,
    /// New path.
    pub path: Option<PathModifier>,
}

/// A share of requests: `numerator / denominator`, both at most 1,000,000, the denominator not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fraction {
    /// Upper part.
    pub numerator: u32,
    /// Lower part.
    pub denominator: u32,
}

/// A copy of requests goes to a cluster, its answers are dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// Where the copies go.
    pub cluster: ClusterName,
    /// How many; `None` means all.
    pub fraction: Option<Fraction>,
}

/// `HTTPCORSFilter`. Values as the API holds them (`*` and wildcard origins included).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// Origins: `*`, `scheme://host[:port]`, or with a leading wildcard label in the host.
    pub allow_origins: Vec<Arc<str>>,
    /// Whether credentials are allowed.
    pub allow_credentials: bool,
    /// Methods or `*`.
    pub allow_methods: Vec<Arc<str>>,
    /// Header names or `*`.
    pub allow_headers: Vec<Arc<str>>,
    /// Header names or `*`.
    pub expose_headers: Vec<Arc<str>>,
    /// Seconds that a preflight answer may be cached.
    pub max_age: u32,
}

/// `HTTPExternalAuthFilter`: each request is first shown to a server, which lets it pass or answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExternalAuth {
    /// The server's cluster; of HTTP/2 where the server speaks gRPC.
    pub cluster: ClusterName,
    /// What the server speaks, and what it is told.
    pub protocol: AuthProtocol,
    /// Bytes of the body that the server gets; requests with a longer one are refused. Zero: it gets no body.
    pub body_limit: u32,
}

/// What an authorization server speaks. Header names are compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum AuthProtocol {
    /// Envoy's `ext_authz` service.
    Grpc {
        /// Request headers that it gets; empty: all.
        request_headers: Vec<Arc<str>>,
    },
    /// Requests with the method and path of the client's; 200 lets it pass.
    Http {
        /// Stands before the path; empty, or from one slash to no slash.
        path_prefix: Arc<str>,
        /// Request headers that it gets beside `Host`, `Content-Length` and `Authorization`.
        request_headers: Vec<Arc<str>>,
        /// Headers of its answer that the backend gets; empty: all.
        response_headers: Vec<Arc<str>>,
    },
}

/// `HTTPRouteTimeouts`; a zero duration means no limit, `None` means the default (15 s for the request).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// The whole request, retries included.
    pub request: Option<Duration>,
    /// One attempt at a backend.
    pub backend_request: Option<Duration>,
}

/// `HTTPRouteRetry`; connection errors are always retried when a retry policy is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Status codes that are retried.
    pub codes: Vec<u16>,
    /// Retries after the first attempt.
    pub attempts: u32,
    /// Minimum wait between attempts.
    pub backoff: Option<Duration>,
}

/// `SessionPersistence`: requests of one session go to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum SessionPersistence {
    /// A cookie that Envoy sets.
    Cookie {
        /// Its name.
        name: Arc<str>,
        /// Its path.
        path: Arc<str>,
        /// Its life (`Permanent`); `None` = a session cookie.
        ttl: Option<Duration>,
    },
    /// A header that Envoy sets in the response and the client repeats.
    Header {
        /// Its name.
        name: Arc<str>,
    },
}

/// Filters of a rule or of one backend of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filters {
    /// Request headers.
    pub request_headers: HeaderMods,
    /// Response headers.
    pub response_headers: HeaderMods,
    /// Rewrite of host and path.
    pub rewrite: UrlRewrite,
    /// Redirect instead of forwarding.
    pub redirect: Option<Redirect>,
    /// Mirrors.
    pub mirrors: Vec<Mirror>,
    /// CORS.
    pub cors: Option<Cors>,
    /// External authorization.
    pub auth: Option<Arc<ExternalAuth>>,
}

/// Where a share of the requests goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Target {
    /// To a cluster.
    Cluster(ClusterName),
    /// Answered with a status code, as for an invalid reference.
    Status(u16),
}

/// One backend of a rule with its share and its own filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WeightedBackend {
    /// Where to.
    pub target: Target,
    /// Share relative to the sum of all weights; zero gets nothing.
    pub weight: u32,
    /// `backendRefs[].filters`
    pub filters: Arc<Filters>,
    /// Session persistence of the backend; it counts before that of the rule.
    pub session: Option<Arc<SessionPersistence>>,
}

/// What happens to a matched request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Forwarded, split by weight. No backends, or only zero weights, answer
    /// [`failure_status`](crate::RouteKind::failure_status).
    Forward(Vec<WeightedBackend>),
    /// Answered by the rule's redirect filter.
    Redirect(Redirect),
    /// Answered with a status code.
    Respond(u16),
}

/// Where a piece of configuration comes from; carried in Envoy's route metadata and in names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Provenance {
    /// The route object.
    pub route: RouteKey,
    /// Name of the rule, if the user gave one.
    pub rule_name: Option<Arc<str>>,
    /// Index in `spec.rules`.
    pub rule: u32,
    /// Index in `rules[].matches`.
    pub matched: u32,
}

/// One match of one rule with everything that happens to a request that it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpRoute {
    /// Where it comes from.
    pub provenance: Provenance,
    /// What it matches.
    pub matches: HttpMatch,
    /// Filters of the rule.
    pub filters: Arc<Filters>,
    /// What happens.
    pub action: Arc<Action>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Retries.
    pub retry: Option<Arc<Retry>>,
    /// Session persistence, for backends that have none of their own.
    pub session: Option<Arc<SessionPersistence>>,
}
