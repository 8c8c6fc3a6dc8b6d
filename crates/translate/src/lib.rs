//! From facts to Envoy resources and statuses.
//!
//! ```text
//! Facts (tables) -> classes -> gateways (+ parameters, ListenerSets, policies) -> certificates (-> overlaps) --\
//!                        \-> bindings (route x listener) --\                                      +-> listeners (Envoy)
//!                            lowered (rules, backends) -----+-> streams (connections) ------------/
//!                                      \                    \-> fragments -> virtual hosts
//!                                       \-> clusters, endpoints
//!                        all of them -> statuses
//! ```
//!
//! [`World`] owns the facts and the stages. [`World::apply`] takes changes, [`World::settle`] runs what they
//! touch and returns [`Outputs`]: resources that changed per fleet, statuses that changed. Stages are pure:
//! no I/O, no clock, no randomness. A user's mistake is a value that ends in a condition.

mod attach;
mod authorities;
mod backends;
mod certificates;
mod config;
pub mod duration;
mod facts;
mod fragments;
mod gateways;
mod grants;
mod http;
mod names;
mod output;
mod overlaps;
mod parameters;
mod policies;
mod ports;
mod status;
mod streams;
mod uses;
mod vhosts;
mod world;

pub use config::{Config, Hosting, PortSource, SecretSource};
pub use facts::{Change, ObjectId, PodSelection};
pub use fragments::{Fragment, FragmentId, Origin};
pub use output::{
    ClusterNews, FleetAddress, FleetChange, FleetPlan, FleetPort, FleetState, Outputs, Resource, Routability,
    SecretKey, StatusChange, Watch, WatchKey, WatchState,
};
pub use world::{Texts, World};
