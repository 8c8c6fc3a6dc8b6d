//! Builders, case-file runner, an xDS client that warms like Envoy, event generators, an oracle of who answers, an echo
//! backend, a collector of spans, a real Envoy.

#[cfg(feature = "apiserver")]
pub mod apiserver;
pub mod certificates;
pub mod collector;
pub mod echo;
pub mod envoy;
pub mod events;
pub mod hostile;
pub mod http;
pub mod objects;
pub mod oracle;
pub mod scale;
pub mod xds_client;
