//! Health, metrics and introspection.
