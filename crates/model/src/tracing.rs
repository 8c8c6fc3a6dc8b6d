//! Spans of requests.

use std::sync::Arc;

use serde::Serialize;

use crate::backend::ClusterName;
use crate::http::{Fraction, Header};

/// Which spans are made, of what, and who gets them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tracing {
    /// Speaks OTLP over gRPC.
    pub cluster: ClusterName,
    /// The host that it is called by.
    pub authority: Arc<str>,
    /// Headers of what it is sent.
    pub headers: Vec<Header>,
    /// The share of requests that are traced.
    pub sampling: Fraction,
    /// Whether the decision of who sent the request comes first, if it made one.
    pub follows_parent: bool,
    /// `service.name` of the resource.
    pub service_name: Arc<str>,
    /// The name of every span; Envoy's when there is none.
    pub span_name: Option<Arc<str>>,
    /// Attributes of every span by their names.
    pub attributes: Vec<(Arc<str>, AttributeValue)>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum AttributeValue {
    /// This text.
    Literal(Arc<str>),
    /// A header of the request; without it the attribute is left out.
    RequestHeader(Arc<str>),
    /// What is known of the request.
    Of(RequestProperty),
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RequestProperty {
    /// `http.request.method`
    Method,
    /// `http.response.status_code`
    Status,
    /// `url.path`
    Path,
    /// `url.scheme`
    Scheme,
    /// `user_agent.original`
    UserAgent,
    /// `client.address`
    ClientAddress,
    /// `client.port`
    ClientPort,
    /// `network.peer.address`
    PeerAddress,
    /// `http.request.body.size`
    RequestBytes,
    /// `http.response.body.size`
    ResponseBytes,
}
