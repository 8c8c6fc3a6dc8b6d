//! File source, Envoy processes, status file.
