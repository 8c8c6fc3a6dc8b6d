//! What a real Envoy does with our bytes. `GATEHOUSE_ENVOY` names the binary; `make test` sets it.
//!
//! Each test starts one Envoy by [`gatehouse_envoy::bootstrap`] and a small delta ADS server, serves what the
//! crate encodes, and compares answers and what the backends saw.

// Clippy exempts test functions, not their helpers.
#![allow(clippy::unwrap_used)]

mod ads;
mod auth;
mod client;
mod clients;
mod cors;
mod grpc;
mod matching;
mod policies;
mod pre_routing;
#[path = "../common/random.rs"]
mod random;
mod refusals;
mod rules;
mod shares;
mod startup;
mod tls;
mod tracing;
mod transforms;
mod world;
