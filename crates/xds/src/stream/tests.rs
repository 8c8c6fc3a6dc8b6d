//! The stream against a client that behaves like Envoy.

mod gates;
mod harness;
mod interim;
mod random;
mod refusals;
mod subscriptions;
mod world;
