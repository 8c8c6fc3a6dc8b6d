//! Delta discovery messages, decoded only as far as a relay has to look.
//!
//! A message inside a message has the wire form of bytes, so what is only passed on (nodes, errors, resources) stays a
//! slice of what came.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

/// `DeltaDiscoveryRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    /// `Node`.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) node: Bytes,
    /// The type that this is about.
    #[prost(string, tag = "2")]
    pub(crate) type_url: String,
    /// `resource_names_subscribe`
    #[prost(string, repeated, tag = "3")]
    pub(crate) subscribe: Vec<String>,
    /// `resource_names_unsubscribe`
    #[prost(string, repeated, tag = "4")]
    pub(crate) unsubscribe: Vec<String>,
    /// Names and versions that the client has; only in its first request of a type.
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) initial_resource_versions: BTreeMap<String, String>,
    /// The response that this answers, if any.
    #[prost(string, tag = "6")]
    pub(crate) response_nonce: String,
    /// `google.rpc.Status`: why that response is refused.
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub(crate) error_detail: Option<Bytes>,
}

/// `DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Response {
    /// For people who look at dumps.
    #[prost(string, tag = "1")]
    pub(crate) system_version_info: String,
    /// `Resource`s.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) resources: Vec<Bytes>,
    /// The type of all of them.
    #[prost(string, tag = "4")]
    pub(crate) type_url: String,
    /// Pairs it with the request that answers it.
    #[prost(string, tag = "5")]
    pub(crate) nonce: String,
    /// Names of resources that are gone.
    #[prost(string, repeated, tag = "6")]
    pub(crate) removed_resources: Vec<String>,
}

/// The part of a `Resource` that says what it is.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Label {
    /// Its version.
    #[prost(string, tag = "1")]
    pub(crate) version: String,
    /// Its name.
    #[prost(string, tag = "3")]
    pub(crate) name: String,
}

/// The part of a `google.rpc.Status` that says why.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Reason {
    /// In words.
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

/// The one method that is served and called.
pub(crate) const DELTA: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// The largest message taken from either side: a first complete answer, or all versions of a proxy.
pub(crate) const MAX_MESSAGE: usize = 256 << 20;
