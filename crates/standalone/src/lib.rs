//! What `gatehouse run PATH...` needs beside translation: files in, Envoy processes and a status file out.
//!
//! ```text
//! PATH... --files--> batches of (path, text) --> [decode, graph, xDS: other crates] --> bootstrap per fleet
//!                                                        |                                     |
//!                                                  status_file                               envoy
//!                                              (one JSON document)          (one process per fleet, taken over,
//!                                                                            replaced, drained, restarted)
//! ```
//!
//! Nothing here knows a Kubernetes kind: files are text, a fleet is a name and a bootstrap. `ports` answers which host
//! port a listener gets, whether this user may bind it, and who else listens there.

pub mod digest;
pub mod envoy;
pub mod files;
pub mod intake;
pub mod ports;
pub mod status_file;
