//! The objects a gateway reads, as serde structs.
//!
//! The structs hold what the API server would hand out after defaulting, so a value that the schema defaults is
//! still an `Option` here (Kubernetes objects written under older schemas may lack it). Unknown enum values
//! survive in `Other`; unknown fields are reported by admission and dropped here.

mod backend;
mod backendtls;
mod clienttraffic;
mod core;
mod enums;
pub mod envoyproxy;
mod filter;
mod gateway;
mod grant;
mod httproute;
mod listener;
mod meta;
mod pod;
mod policy;
mod reference;
mod route;
mod secret;
mod telemetry;
mod xbackend;
mod xbackendtraffic;

pub use backend::{Backend, BackendEndpoint, BackendSpec, BackendTls, FqdnEndpoint, IpEndpoint, UnixSocket};
pub use backendtls::{BackendTLSPolicy, BackendTLSPolicySpec, BackendTLSPolicyValidation, SubjectAltName};
pub use clienttraffic::{
    ClientConnection, ClientIpDetection, ClientTimeout, ClientTlsSettings, ClientTrafficPolicy,
    ClientTrafficPolicySpec, ConnectionLimit, CustomHeader, DirectSourceIp, HeaderSettings, HostSettings,
    Http1Settings, Http2Keepalive, Http2Settings, Http10Settings, HttpClientTimeout, PathSettings,
    ProxyProtocolSettings, TcpClientTimeout, TcpKeepalive, XForwardedFor, unsupported_client_traffic,
};
pub use core::{
    ClusterTrustBundle, ClusterTrustBundleSpec, ConfigMap, CustomResourceDefinition, Endpoint,
    EndpointConditions, EndpointPort, EndpointSlice, IntOrString, Namespace, Service, ServicePort,
    ServiceSpec, TargetRef,
};
pub use enums::*;
pub use envoyproxy::{EnvoyProxy, EnvoyProxySpec};
pub use filter::{
    CORS, ExternalAuth, ForwardBody, Fraction, GRPCAuth, HTTPAuth, HTTPHeader, HTTPHeaderFilter,
    HTTPPathModifier, RequestMirror, RequestRedirect, RouteFilter, URLRewrite,
};
pub use gateway::{
    AllowedListeners, FrontendTLS, FrontendValidation, Gateway, GatewayAddress, GatewayBackendTLS,
    GatewayClass, GatewayClassSpec, GatewayInfrastructure, GatewaySpec, GatewayTLS, TLSConfig, TLSPortConfig,
};
pub use grant::{ReferenceGrant, ReferenceGrantFrom, ReferenceGrantSpec, ReferenceGrantTo};
pub use httproute::{
    HTTPHeaderMatch, HTTPPathMatch, HTTPRoute, HTTPRouteMatch, HTTPRouteRetry, HTTPRouteRule, HTTPRouteSpec,
    HTTPRouteTimeouts,
};
pub use listener::{
    AllowedRoutes, Listener, ListenerFilter, ListenerFilters, ListenerSet, ListenerSetSpec, ListenerTLS,
    NamespacesFrom, RouteGroupKind,
};
pub use meta::{LabelSelector, LabelSelectorRequirement, Meta, Resource};
pub use pod::{Pod, PodCondition, PodStatus};
pub use policy::{PolicyTarget, SelectorNamespaces, TargetSelector};
pub use reference::{
    BackendObjectReference, BackendRef, LocalObjectReference, ObjectReference, ParametersReference,
    ParentGatewayReference, ParentReference, SecretObjectReference,
};
pub use route::{
    CookieConfig, GRPCHeaderMatch, GRPCMethodMatch, GRPCRoute, GRPCRouteMatch, GRPCRouteRule, GRPCRouteSpec,
    HeaderConfig, L4RouteRule, L4RouteSpec, Route, SessionPersistence, TCPRoute, TLSRoute, UDPRoute,
};
pub use secret::{Secret, SecretBytes};
pub use telemetry::{
    AttributeSource, ParentBasedSampling, SpanAttribute, TelemetryMode, TelemetryPolicySpec, TracingConfig,
    TracingProvider, XTelemetryPolicy,
};
pub use xbackend::{EndpointSelector, ExternalHostname, XBackend, XBackendPort, XBackendSpec, XBackendTls};
pub use xbackendtraffic::{
    RequestRate, RetryBudget, RetryConstraint, XBackendTrafficPolicy, XBackendTrafficPolicySpec,
};

/// Deserialises `null` as the default value, as Go does for lists and maps (an EndpointSlice without endpoints
/// carries `endpoints: null`).
fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}
