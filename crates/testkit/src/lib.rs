//! Builders, case-file runner, an xDS client that warms like Envoy, event generators, an echo backend.

pub mod echo;
