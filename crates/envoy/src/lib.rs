//! The model to Envoy bytes.
