//! Health, metrics and introspection over HTTP, for people and probes, never for proxies.
//!
//! ```text
//! Readiness (a flag with reasons) --> /readyz          Registry --> /metrics
//! status() (JSON, made when asked) --> /status         dump(name) --> /debug/<name>
//!                                     /healthz: the process answers
//! ```
//!
//! Everything is read when it is asked for; nothing here is told about changes. What is shown may name hosts and
//! backends, so the server listens on loopback unless told otherwise, and answers only requests that name it as a
//! local host or by the address it listens on: a web page cannot read it through a name it points here.

mod readiness;
mod server;

pub use readiness::Readiness;
pub use server::{Admin, AdminError, AdminServer, DEFAULT_ADDRESS, Dump, Status};
