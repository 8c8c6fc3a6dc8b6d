//! The domain's vocabulary: keys, hostnames, HTTP rules, shares of connections, backends, listeners, conditions, resource types.
//!
//! `api` objects are lowered into these types by `translate`; `envoy` encodes them. Nothing here knows
//! Kubernetes clients, protobuf or I/O, and every type is a plain value: equal values mean equal outputs.

pub mod backend;
pub mod client;
pub mod hostname;
pub mod http;
pub mod key;
pub mod l4;
pub mod listener;
pub mod resource;
pub mod status;
pub mod tracing;

pub use hostname::Hostname;
pub use key::{
    AddressSet, FleetKey, ListenerKey, ListenerOwner, NamespacedName, PortKey, RouteKey, RouteKind, Transport,
};
pub use resource::{Body, Edge, Interim, ResourceType, Target};
