//! One Envoy process per fleet, which outlives gatehouse.
//!
//! ```text
//! FleetSpec (name, bootstrap) --> Supervisor --> one task per fleet --> generation n: process + admin socket
//!                                                     |                 generation n-1: drains beside it
//!                                                     +--> EnvoyEvent
//! ```
//!
//! Invariants:
//! - An Envoy that runs with the same bootstrap and binary is taken over, never restarted: its connections live on.
//! - Otherwise a new generation starts beside the old one (Envoy binds with `SO_REUSEPORT`), and the old one drains only
//!   when the new one is ready. A bootstrap that Envoy refuses therefore costs nothing that is being served.
//! - A process is signalled only through a handle that was opened for its id *and* its time of start.
//! - One gatehouse per state directory, by a lock.

mod backoff;
mod binary;
mod error;
mod event;
mod fleet;
mod generation;
mod log;
mod process;
mod state;
mod supervisor;

pub use binary::{ENVOY_VERSION, EnvoyBinary, find_envoy};
pub use error::EnvoyError;
pub use event::{EnvoyEvent, EnvoyEventKind};
pub use fleet::{FleetState, Phase};
pub use gatehouse_envoy_admin::{AdminClient, AdminError, Drain};
pub use process::ProcessId;
pub use state::StateDir;
pub use supervisor::{FleetSpec, Supervisor, SupervisorOptions};
