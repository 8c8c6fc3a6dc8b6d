//! What runs a fleet of proxies in Kubernetes.
//!
//! ```text
//! FleetPlan + Settings --objects (pure)--> FleetObjects | problems
//!                                             | ServiceAccount, ConfigMap, Deployment or DaemonSet, Service,
//!                                             | PodDisruptionBudget, HorizontalPodAutoscaler
//! ```
//!
//! Equal plans and settings give equal objects. What a user may change (EnvoyProxy, patches) is applied on top, and what
//! holds a fleet together (names, owner, selector, identity) is put back after it.

mod bootstrap;
mod jsonpatch;
mod names;
mod objects;
mod settings;

pub use names::{
    CONTROLLER_LABEL, GATEWAY_ANNOTATION, GATEWAY_UID_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, label_value,
};
pub use objects::{FleetObject, FleetObjects, Kind, Naming, Problem, objects};
pub use settings::{AGENT_PORT, Placement, RESERVED_PORTS, Settings, refuse_port};
