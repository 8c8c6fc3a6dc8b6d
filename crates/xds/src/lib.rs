//! The delta ADS server.
