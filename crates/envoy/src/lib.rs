//! The model to Envoy bytes. Everything here is pure and deterministic to the byte.
//!
//! ```text
//! model::HttpRoute --validate::http_route--> encode::route --> RouteFragments (bytes of `VirtualHost.routes`)
//!                                                                  | concatenated by encode::virtual_host
//! model::{EnvoyListener, Cluster, Endpoints, ..} --encode::*-->  resource bytes --> Versioner::version
//!                                                                  | json::decode (readable), validate::message
//! BootstrapOptions --bootstrap--> JSON for `envoy --config-path`
//! ```
//!
//! Protobuf maps with several entries are written as sorted fragments (`wire`), because the generated types
//! hold them as hash maps with an order of their own in every process.

mod bootstrap;
mod descriptors;
pub mod encode;
mod invalid;
pub mod json;
pub mod validate;
mod version;
mod wire;

pub use bootstrap::{Address, BootstrapOptions, StatsScope, bootstrap};
pub use invalid::Invalid;
pub use version::{Versioner, version};
