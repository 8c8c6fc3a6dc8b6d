//! What routes share, and the route kinds beside HTTPRoute.

use serde::{Deserialize, Serialize};

use super::{
    BackendRef, CookieLifetimeType, HTTPRoute, Meta, ParentReference, Resource, RouteFilter,
    SessionPersistenceType, StringMatchType, meta::resource,
};

/// What attachment needs to know of a route of any kind.
pub trait Route: Resource {
    /// Where the route attaches.
    fn parent_refs(&self) -> &[ParentReference];
    /// Its hostnames; always empty for kinds without.
    fn hostnames(&self) -> &[String];
    /// Whether it attaches to Gateways of this `spec.defaultScope`, too.
    fn default_scope(&self) -> Option<&str>;
}

macro_rules! route {
    ($name:ident) => {
        impl Route for $name {
            fn parent_refs(&self) -> &[ParentReference] {
                &self.spec.parent_refs
            }

            fn hostnames(&self) -> &[String] {
                &self.spec.hostnames
            }

            fn default_scope(&self) -> Option<&str> {
                self.spec.use_default_gateways.as_deref()
            }
        }
    };
}
route!(HTTPRoute);

/// How sessions stay on one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// When a session ends at the latest, as a Gateway API duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<String>,
    /// Defaults to `Cookie`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub persistence_type: Option<SessionPersistenceType>,
    /// For `Cookie`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<CookieConfig>,
    /// For `Header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderConfig>,
}

/// The cookie that carries a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// Absent: the implementation chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The paths that the client sends it to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Defaults to `Session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_type: Option<CookieLifetimeType>,
}

/// The header that carries a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderConfig {
    /// Its name.
    pub name: String,
}

/// Routes gRPC calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GRPCRoute {
    /// Name and the like.
    #[serde(default)]
    pub metadata: Meta,
    /// The desired state.
    #[serde(default)]
    pub spec: GRPCRouteSpec,
}
resource!(GRPCRoute, "gateway.networking.k8s.io", "v1", true);
route!(GRPCRoute);

/// The desired state of a [`GRPCRoute`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GRPCRouteSpec {
    /// Where it attaches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Attach to default Gateways: `All` or `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<String>,
    /// Empty: the listeners' hostnames.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// What happens to calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<GRPCRouteRule>,
}

/// Matches and what happens to the calls they match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GRPCRouteRule {
    /// Unique within the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// One of these must match; empty: every call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<GRPCRouteMatch>,
    /// What is done to every call of the rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<RouteFilter>,
    /// Where calls go, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendRef>,
    /// How sessions stay on one backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// A condition on calls; all parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GRPCRouteMatch {
    /// Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<GRPCMethodMatch>,
    /// Each must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<GRPCHeaderMatch>,
}

/// A condition on the called method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GRPCMethodMatch {
    /// Defaults to `Exact`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub match_type: Option<StringMatchType>,
    /// Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// A condition on a header of a call: the same shape as an HTTPRoute's.
pub type GRPCHeaderMatch = super::HTTPHeaderMatch;

/// The desired state of a route below HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L4RouteSpec {
    /// Where it attaches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Attach to default Gateways: `All` or `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<String>,
    /// Server names; TLSRoute only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Where connections go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<L4RouteRule>,
}

/// Where connections or datagrams go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L4RouteRule {
    /// Unique within the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The backends, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendRef>,
}

macro_rules! l4_route {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            /// Name and the like.
            #[serde(default)]
            pub metadata: Meta,
            /// The desired state.
            pub spec: L4RouteSpec,
        }
        resource!($name, "gateway.networking.k8s.io", "v1", true);
        route!($name);
    };
}

l4_route! {
    /// Routes TLS connections by server name.
    TLSRoute
}
l4_route! {
    /// Routes TCP connections.
    TCPRoute
}
l4_route! {
    /// Routes UDP datagrams.
    UDPRoute
}
