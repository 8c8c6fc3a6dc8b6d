//! Builders, case-file runner, an xDS client that warms like Envoy, event generators.

pub mod xds_client;
