//! Envoy's admin interface: its state, its load, and how it is drained.
//!
//! ```text
//! Drain --> healthcheck/fail, drain_listeners --> AdminClient --> Unix socket or loopback port
//!   ^------ Load (connections, requests) <--------------|
//! ```

mod client;
mod drain;
mod load;

pub use client::{Address, AdminClient, AdminError};
pub use drain::Drain;
pub use hyper::body::Incoming;
pub use load::Load;
