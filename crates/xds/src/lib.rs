//! The delta ADS server. It knows no Kubernetes and no Gateway API: resources are names, versions and bytes.
//!
//! ```text
//! commit --> Table (revision log, edges, watches) --> Stream (pure: subscriptions, gates, NACKs) --> codec --> Envoy
//!              one per fleet, behind a short lock        one per client, in a thin async Session       |
//! events <-- Clients (refused, held, expired) <-----------------------------------------------------  ACK / NACK
//! ```
//!
//! Make before break: nothing is sent that names a cluster which is not warm on that stream (or a second has passed);
//! a cluster leaves only after everything that may name it was acknowledged as gone, and a linger later. A refused
//! response is taken apart until the bad resource is known; everything else goes on.
//!
//! What the caller guarantees: versions are hashes of bytes; a cluster has endpoints under its own name if and only if
//! it takes them by EDS; a virtual host is named `<route configuration>/<identity>`; edges are given with the change
//! that makes them true.

mod clients;
mod codec;
mod config;
mod event;
mod fleet;
mod metrics;
mod resource;
mod server;
mod service;
mod session;
mod stream;
mod table;

pub use codec::{DeltaCodec, encode, encoded_len};
pub use config::Config;
pub use event::{Event, FleetId, Notice, What};
pub use resource::{Body, Resource, table_of};
pub use server::{MAX_SOCKET_PATH, ServeError, Server};
pub use stream::{Holding, Input, Output, Response, Stage, Stream};
pub use table::{Commit, Need, Table, Watch, WatchChange};
