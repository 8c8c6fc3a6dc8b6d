//! What runs a fleet of proxies in Kubernetes.
//!
//! ```text
//! FleetPlan + Settings --objects (pure)--> FleetObjects | problems
//!                                             | ServiceAccount, ConfigMap, Deployment or DaemonSet, Service,
//!                                             | PodDisruptionBudget, HorizontalPodAutoscaler
//! WantedChange --Applier--> API server            v
//!                  '--> InfraEvent: addresses, replicas, problems
//! ```
//!
//! Equal plans and settings give equal objects. What a user may change (EnvoyProxy, patches) is applied on top, and what
//! holds a fleet together (names, owner, selector, identity) is put back after it.

mod apply;
mod bootstrap;
mod jsonpatch;
mod names;
mod objects;
mod settings;

pub use apply::{AddressKind, Applier, ApplierConfig, InfraEvent, InfraState, WantedChange};
pub use names::{
    CONTROLLER_LABEL, GATEWAY_ANNOTATION, GATEWAY_UID_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, label_value,
};
pub use objects::{FleetObject, FleetObjects, Kind, Naming, Problem, objects};
pub use settings::{ADMIN_PORT, AGENT_PORT, Placement, RESERVED_PORTS, Settings, port_refusal};
