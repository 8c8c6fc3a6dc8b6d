//! The delta ADS server. It knows no Kubernetes and no Gateway API: resources are names, versions and bytes.
//!
//! ```text
//! commit --> Table (revision log, edges, watches) --> Stream (pure: subscriptions, gates, NACKs) --> codec --> Envoy
//!              one per fleet, behind a short lock        one per client, in a thin async Session       |
//! events <-- Clients (refused, held, expired) <-----------------------------------------------------  ACK / NACK
//! ```
//!
//! Make before break: nothing is sent that names a cluster which is not warm on that stream (or a second has passed);
//! what a change takes away does not wait for that; a cluster leaves only after everything that may name it was acknowledged as gone, and a linger later. A refused
//! response is taken apart until the bad resource is known; everything else goes on.
//!
//! One TCP address serves all fleets over TLS: the client's token, proven by the caller, decides which one a stream
//! sees, and nothing that the client says about itself does. On a Unix socket, the socket is the identity.
//!
//! What the caller guarantees: versions are hashes of bytes; a cluster has endpoints under its own name if and only if
//! it takes them by EDS; a virtual host is named `<route configuration>/<identity>`; edges are given with the change
//! that makes them true.

mod authorize;
mod body;
mod clients;
mod codec;
mod config;
mod event;
mod fleet;
mod metrics;
mod requests;
mod resource;
mod server;
mod service;
mod session;
mod stream;
mod table;
mod tls;

pub use authorize::{Admission, Authorize, Denied, Identity, Verdict};
pub use codec::{encode, encoded_len};
pub use config::Config;
pub use event::{Event, FleetId, Notice, What};
pub use resource::{Resource, table_of};
pub use server::{MAX_SOCKET_PATH, ServeError, Server, bind_unix};
pub use stream::{Holding, Input, Output, Response, Stage, Stream};
pub use table::{Commit, Need, Table, Watch, WatchChange};
pub use tls::{TlsError, tls_config};
