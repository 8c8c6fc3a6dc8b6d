//! One listener's entry, alike for Gateways and ListenerSets.

use std::sync::Arc;

use gatehouse_engine::{Reads, Stage, Tally};
use gatehouse_model::status::Condition;
use gatehouse_model::{ListenerKey, NamespacedName, PortKey, RouteKey};
use serde_json::{Value, json};

use super::{to_json, verdict};
use crate::authorities::{GatewayPort, OfClients};
use crate::certificates::{Certificates, KeyPair, Shown};
use crate::config::Config;
use crate::facts::Facts;
use crate::gateways::{GatewayView, ListenerView, Problem};
use crate::grants::GATEWAY_GROUP;
use crate::http::guards::Guard;
use crate::output::{SecretKey, WatchKey};
use crate::overlaps::Overlaps;
use crate::ports::{self, PortState};

/// What listener entries are made from.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) config: &'a Config,
    pub(crate) certificates: &'a Stage<ListenerKey, Arc<Certificates>>,
    pub(crate) overlaps: &'a Stage<NamespacedName, Arc<Overlaps>>,
    pub(crate) guards: &'a Stage<ListenerKey, Arc<Guard>>,
    pub(crate) pairs: &'a Stage<NamespacedName, KeyPair>,
    pub(crate) authorities: &'a Stage<GatewayPort, Arc<OfClients>>,
    pub(crate) shown: &'a Stage<NamespacedName, Shown>,
    pub(crate) ports: &'a Stage<PortKey, PortState>,
    pub(crate) attached: &'a Tally<RouteKey, Arc<ListenerKey>>,
}

/// What the system says through Envoy when the host does not have an address (`EADDRNOTAVAIL`).
const NO_SUCH_ADDRESS: &str = "Cannot assign requested address";
/// A Gateway's reason for that.
pub(super) const ADDRESS_NOT_USABLE: &str = "AddressNotUsable";

/// No proxy has answered yet.
pub(super) const PENDING: &str = "Pending";

/// Whether a listener serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Programmed {
    /// A proxy holds it, as of this generation.
    Yes { generation: i64 },
    /// It does not, for this reason.
    No(Problem),
}

impl Programmed {
    /// Both, as of the older generation; what is wrong says more than what is awaited.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes { generation: a }, Self::Yes { generation: b }) => Self::Yes { generation: a.min(b) },
            (Self::No(problem), Self::Yes { .. }) => Self::No(problem),
            (Self::No(problem), Self::No(_)) if problem.reason != PENDING => Self::No(problem),
            (_, no) => no,
        }
    }
}

/// A listener's entry with what its owner's conditions need.
pub(super) struct Entry {
    pub(super) name: Arc<str>,
    pub(super) json: Value,
    pub(super) accepted: bool,
    /// Whether all that it refers to is there.
    pub(super) resolved: bool,
    pub(super) programmed: Programmed,
}

impl Entry {
    /// Whether it makes a ListenerSet acceptable.
    pub(super) fn is_valid(&self) -> bool {
        self.accepted && self.resolved
    }
}

impl<'a> Sources<'a> {
    pub(super) fn entry(self, reads: &mut Reads, view: &GatewayView, listener: &ListenerView) -> Entry {
        let generation = listener.generation;
        let clients = self.clients(reads, listener);
        let unresolved = self.unresolved(reads, listener, clients);
        let programmed = self.programmed(reads, view, listener, unresolved.as_ref());
        let untrusting = no_authority(clients);
        let guard = self.guards.get(reads, &listener.key);
        let refused = guard.and_then(|guard| guard.refused.as_ref());
        let problem = listener.conflict.as_ref().or(listener.problem.as_ref());
        let not_accepted = problem.or(untrusting.as_ref()).or(refused);
        let mut conditions = vec![
            verdict("Accepted", not_accepted, ("Accepted", "the listener is valid"), generation),
            conflicted(listener),
            programmed_condition(&programmed, generation),
            verdict(
                "ResolvedRefs",
                unresolved.as_ref(),
                ("ResolvedRefs", "all references resolve"),
                generation,
            ),
        ];
        conditions.extend(self.overlapping(reads, listener));
        let kinds: Vec<_> =
            listener.kinds.iter().map(|k| json!({ "group": GATEWAY_GROUP, "kind": k.as_str() })).collect();
        let attached = self.attached.count(reads, &listener.key);
        Entry {
            name: listener.key.name.clone(),
            json: json!({
                "name": listener.key.name,
                "supportedKinds": kinds,
                "attachedRoutes": attached,
                "conditions": to_json(&conditions),
            }),
            accepted: not_accepted.is_none(),
            resolved: unresolved.is_none(),
            programmed,
        }
    }

    /// It is not set unless it is true.
    fn overlapping(self, reads: &mut Reads, listener: &ListenerView) -> Option<Condition> {
        let Some(overlaps) = self.overlaps.get(reads, &listener.key.gateway) else {
            // It depends on Secrets that are not known yet: the last status stays.
            reads.hold();
            return None;
        };
        let Problem { reason, message } = overlaps.get(&listener.key)?;
        let message = message.clone();
        Some(Condition::new("OverlappingTLSConfig", true, reason, message, listener.generation))
    }

    /// The authorities of a listener's clients, where they are checked.
    fn clients(self, reads: &mut Reads, listener: &ListenerView) -> Option<&'a OfClients> {
        listener.check.filter(|_| listener.usable())?;
        let authorities = self.authorities.get(reads, &(listener.key.gateway.clone(), listener.port));
        if authorities.is_none() {
            // What they stand in is not known yet: the last status stays.
            reads.hold();
        }
        authorities.map(|authorities| &**authorities)
    }

    fn unresolved(
        self,
        reads: &mut Reads,
        listener: &ListenerView,
        clients: Option<&OfClients>,
    ) -> Option<Problem> {
        let kinds = listener.invalid_kinds.clone().map(|message| Problem::new("InvalidRouteKinds", message));
        let Some(certificates) = self.certificates.get(reads, &listener.key) else {
            // Its Secrets are not known yet: the last status stays.
            reads.hold();
            return kinds;
        };
        let unresolved = kinds.or_else(|| certificates.problem.clone());
        let unresolved = unresolved.or_else(|| clients?.unresolved.clone());
        unresolved.or_else(|| self.guards.get(reads, &listener.key)?.unresolved.clone())
    }

    fn programmed(
        self,
        reads: &mut Reads,
        view: &GatewayView,
        listener: &ListenerView,
        unresolved: Option<&Problem>,
    ) -> Programmed {
        if let Some(conflict) = &listener.conflict {
            return Programmed::No(conflict.clone());
        }
        let invalid = |message: &str| Programmed::No(Problem::new("Invalid", message));
        let unserved = view.problem.as_ref().filter(|_| !view.serves);
        if let Some(problem) = listener.problem.as_ref().or(unserved) {
            return invalid(&problem.message);
        }
        if let Some(problem) = self.filters_problem(reads, listener) {
            return Programmed::No(problem);
        }
        let mut secrets = self.secrets(reads, listener);
        if listener.speaks.terminates() && secrets.is_empty() {
            return invalid(unresolved.map_or("the listener has no usable certificate", |p| &p.message));
        }
        if listener.check.is_some() {
            let Some(authorities) = self.clients(reads, listener).and_then(|c| c.secret.as_ref()) else {
                return invalid(unresolved.map_or("nobody signs certificates of clients", |p| &p.message));
            };
            let key = SecretKey::Clients(listener.key.gateway.clone(), listener.port);
            secrets.push((key, &authorities.version));
        }
        let key = ports::key(view, listener.socket());
        let Some(port) = self.ports.get(reads, &key).and_then(PortState::serving) else {
            return invalid("the port has nothing to serve");
        };
        let digest = &port.watch.digest;
        let held = self.held(reads, &WatchKey::Port(key), digest, view.generation);
        let secrets = secrets.iter().map(|(secret, digest)| {
            let watch = WatchKey::Secret(view.fleet.clone(), secret.clone());
            match self.held(reads, &watch, digest, view.generation) {
                Programmed::No(problem) => {
                    Programmed::No(Problem::new(problem.reason, format!("{secret}: {}", problem.message)))
                }
                yes @ Programmed::Yes { .. } => yes,
            }
        });
        secrets.fold(held, Programmed::and)
    }

    /// Why all of its requests are refused ahead of routes.
    fn filters_problem(self, reads: &mut Reads, listener: &ListenerView) -> Option<Problem> {
        let Some(guard) = self.guards.get(reads, &listener.key) else {
            if listener.usable() && !listener.filters.is_empty() {
                // What they refer to is not known yet: the last status stays.
                reads.hold();
            }
            return None;
        };
        if let Some(problem) = guard.refused.as_ref().or(guard.unresolved.as_ref()) {
            return Some(Problem::new("Invalid", format!("every request is refused: {}", problem.message)));
        }
        let message = self.facts.quarantined.get(reads, &guard.fragment.id)?;
        Some(Problem::new("Invalid", format!("the proxy refused the listener's filters: {message}")))
    }

    /// The Secrets that a listener serves now, with their versions.
    fn secrets(self, reads: &mut Reads, listener: &ListenerView) -> Vec<(SecretKey, &'a Arc<str>)> {
        let certificates = self.certificates.get(reads, &listener.key);
        let usable = certificates.iter().flat_map(|certificates| &certificates.usable);
        let version = |secret: &NamespacedName| {
            let resource = self.pairs.get(reads, secret)?.usable()?;
            Some((SecretKey::Pair(secret.clone()), &resource.version))
        };
        usable.filter_map(version).collect()
    }

    fn held(self, reads: &mut Reads, watch: &WatchKey, digest: &Arc<str>, generation: i64) -> Programmed {
        let held = self.facts.held.get(reads, watch);
        if let Some((refused, message)) = held.and_then(|held| held.refused.as_ref())
            && refused == digest
        {
            let reason = if message.contains(NO_SUCH_ADDRESS) { ADDRESS_NOT_USABLE } else { "Invalid" };
            return Programmed::No(Problem::new(reason, format!("refused by the proxy: {message}")));
        }
        match held.and_then(|held| Some((held.digest.as_ref()?, held.generation))) {
            Some((held, _)) if held == digest => Programmed::Yes { generation },
            // A later push is on its way: what was programmed still serves, and says for which generation.
            Some((_, held_generation)) => Programmed::Yes { generation: held_generation },
            None if self.config.assume_programmed => Programmed::Yes { generation },
            None => Programmed::No(Problem::new(PENDING, "waiting for a proxy to acknowledge")),
        }
    }
}

/// A listener whose clients nobody may vouch for is none.
fn no_authority(clients: Option<&OfClients>) -> Option<Problem> {
    let clients = clients.filter(|clients| clients.secret.is_none())?;
    let why = clients.unresolved.as_ref().map_or("caCertificateRefs is empty", |problem| &*problem.message);
    Some(Problem::new("NoValidCACertificate", why))
}

fn conflicted(listener: &ListenerView) -> Condition {
    match &listener.conflict {
        None => Condition::new("Conflicted", false, "NoConflicts", "", listener.generation),
        Some(conflict) => {
            Condition::new("Conflicted", true, conflict.reason, conflict.message.clone(), listener.generation)
        }
    }
}

/// The `Programmed` condition. A listener of a ListenerSet counts its own generations: it follows the owner's.
fn programmed_condition(programmed: &Programmed, generation: i64) -> Condition {
    match programmed {
        Programmed::Yes { .. } => {
            Condition::new("Programmed", true, "Programmed", "a proxy holds the listener", generation)
        }
        Programmed::No(problem) => {
            // A listener has no reason of its own for the Gateway's address.
            let reason = if problem.reason == ADDRESS_NOT_USABLE { "Invalid" } else { problem.reason };
            Condition::new("Programmed", false, reason, problem.message.clone(), generation)
        }
    }
}
