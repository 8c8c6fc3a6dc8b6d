//! ClientTrafficPolicy: the most specific one counts alone, of equally specific ones the oldest.
//!
//! A listener's own comes before its ListenerSet's, which comes before the Gateway's. All HTTP listeners of a port share a
//! filter chain, so a policy can only concern all of them; some settings concern all listeners of a port anyway.

mod lower;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_api::types::{ClientTrafficPolicy, PolicyTarget, TargetSelector};
use gatehouse_engine::Reads;
use gatehouse_model::client::{ClientSettings, ConnectionSettings};
use gatehouse_model::{ListenerOwner, NamespacedName};

use super::{Attached, Outcome, Place, Policies, Policy, PolicyKind, Target, TargetKind, Told};
use crate::facts::Socket;
use crate::gateways::{Family, ListenerView, Problem};

impl Policy for ClientTrafficPolicy {
    fn named(&self) -> impl Iterator<Item = &PolicyTarget> {
        self.spec.targets()
    }

    fn selectors(&self) -> impl Iterator<Item = &TargetSelector> {
        self.spec.target_selectors.iter().flatten()
    }
}

/// What a policy asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientPolicy {
    pub(crate) clients: Arc<ClientSettings>,
    pub(crate) connections: ConnectionSettings,
}

/// A policy where it counts.
struct Claim {
    place: Place,
    key: NamespacedName,
    policy: Arc<ClientPolicy>,
    /// Clients must show what we do not check: nobody may be served.
    closed: bool,
}

/// A claim that does not hold.
struct Refusal {
    key: NamespacedName,
    place: Place,
    message: String,
    /// It holds nowhere.
    whole: bool,
}

/// The policies of a Gateway and its ListenerSets.
pub(crate) struct Claims {
    claims: BTreeMap<Place, Claim>,
    told: BTreeMap<(NamespacedName, Place), Outcome>,
}

/// An object that declares listeners, with its labels.
pub(crate) struct Declarer<'a> {
    pub(crate) target: Target,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) listeners: BTreeSet<&'a str>,
}

/// Who counts where.
pub(crate) fn claims(
    policies: &Policies<ClientTrafficPolicy>,
    reads: &mut Reads,
    declarers: &[Declarer<'_>],
) -> Claims {
    let mut claims = Claims { claims: BTreeMap::new(), told: BTreeMap::new() };
    for declarer in declarers {
        for attached in policies.attached(reads, &declarer.target, declarer.labels) {
            claims.add(declarer, attached);
        }
    }
    claims
}

fn target_of(listener: &ListenerView) -> Target {
    match &listener.key.owner {
        ListenerOwner::Gateway => Target { kind: TargetKind::Gateway, object: listener.key.gateway.clone() },
        ListenerOwner::ListenerSet(set) => Target { kind: TargetKind::ListenerSet, object: set.clone() },
    }
}

impl Claims {
    fn add(&mut self, declarer: &Declarer<'_>, attached: Attached<ClientTrafficPolicy>) {
        let Attached { key, policy, section } = attached;
        let place = Place { target: declarer.target.clone(), section };
        let problem = self.add_claim(declarer, &key, &policy, &place).err();
        self.told.insert((key, place), Outcome { problem, ..Outcome::default() });
    }

    fn add_claim(
        &mut self,
        declarer: &Declarer<'_>,
        key: &NamespacedName,
        policy: &ClientTrafficPolicy,
        place: &Place,
    ) -> Result<(), Problem> {
        let Target { kind, object } = &place.target;
        if let Some(section) = place.section.as_deref()
            && !declarer.listeners.contains(section)
        {
            let message = format!("{} {object} has no listener {section}", kind.as_str());
            return Err(Problem::new("TargetNotFound", message));
        }
        if let Some(first) = self.claims.get(place) {
            let message = format!("{} counts here: it is older, or comes first by name", first.key);
            return Err(Problem::new("Conflicted", message));
        }
        let closed = policy.spec.validates_clients();
        let (policy, problem) = match lower::lower(&policy.spec) {
            Ok(policy) => (Arc::new(policy), None),
            Err(message) => (Arc::default(), Some(Problem::new("Invalid", message))),
        };
        let claim = Claim { place: place.clone(), key: key.clone(), policy, closed };
        self.claims.insert(place.clone(), claim);
        let unchecked =
            "tls.clientValidation is not supported: HTTPS listeners that it concerns are not served";
        problem.or_else(|| closed.then(|| Problem::new("Invalid", unchecked))).map_or(Ok(()), Err)
    }

    /// A policy for a whole object is told which of its parts are another's.
    fn tell_overridden(&mut self) {
        let mut others: BTreeMap<&Place, BTreeSet<String>> = BTreeMap::new();
        let gateway = self
            .claims
            .keys()
            .find(|place| place.target.kind == TargetKind::Gateway && place.section.is_none());
        for place in self.claims.keys() {
            let whole = Place { section: None, target: place.target.clone() };
            if let (Some(section), Some((whole, _))) = (&place.section, self.claims.get_key_value(&whole)) {
                others.entry(whole).or_default().insert(section.to_string());
            }
            if let (Some(gateway), TargetKind::ListenerSet) = (gateway, place.target.kind) {
                let section = place.section.as_ref().map(|section| format!("/{section}")).unwrap_or_default();
                let set = format!("ListenerSet {}{section}", place.target.object);
                others.entry(gateway).or_default().insert(set);
            }
        }
        for (whole, others) in others {
            let Some(claim) = self.claims.get(whole) else { continue };
            if let Some(outcome) = self.told.get_mut(&(claim.key.clone(), whole.clone())) {
                let others: Vec<_> = others.into_iter().collect();
                let message = format!("other policies count for {}", others.join(", "));
                outcome.overridden = Some(message.into());
            }
        }
    }

    /// What counts for a listener, the most specific first.
    fn of(&self, listener: &ListenerView) -> impl Iterator<Item = &Claim> {
        let own = target_of(listener);
        let section = Some(listener.key.name.clone());
        let gateway = Target { kind: TargetKind::Gateway, object: listener.key.gateway.clone() };
        let places = [
            Place { target: own.clone(), section },
            Place { target: own, section: None },
            Place { target: gateway, section: None },
        ];
        places.into_iter().filter_map(|place| self.claims.get(&place))
    }

    /// Why a listener must not be served.
    pub(crate) fn closes(&self, listener: &ListenerView) -> Option<Problem> {
        let claim = self.of(listener).next().filter(|claim| claim.closed && listener.speaks.terminates())?;
        let message = format!(
            "ClientTrafficPolicy {} asks for client certificates (tls.clientValidation), which is not supported",
            claim.key
        );
        Some(Problem::new("UnsupportedValue", message))
    }

    /// Gives each listener its policy.
    pub(crate) fn assign(&mut self, listeners: &mut [ListenerView]) {
        let mut by_socket: BTreeMap<Socket, Vec<&mut ListenerView>> = BTreeMap::new();
        for listener in listeners.iter_mut().filter(|l| l.usable()) {
            by_socket.entry(listener.socket()).or_default().push(listener);
        }
        let mut refused = Vec::new();
        for (socket, mut of_port) in by_socket {
            self.assign_port(socket.0, &mut of_port, &mut refused);
        }
        for Refusal { key, place, message, whole } in refused {
            if whole {
                self.claims.remove(&place);
            }
            if let Some(outcome) = self.told.get_mut(&(key, place)) {
                outcome.problem.get_or_insert_with(|| Problem::new("Invalid", message));
            }
        }
    }

    fn assign_port(&self, port: u16, listeners: &mut [&mut ListenerView], refused: &mut Vec<Refusal>) {
        let mut refuse = |claim: &Claim, message: String, whole: bool| {
            let (key, place) = (claim.key.clone(), claim.place.clone());
            refused.push(Refusal { key, place, message, whole });
        };
        let http = listeners.first().is_some_and(|l| l.speaks.family() == Family::Http);
        let claims: Vec<Option<&Claim>> = if http {
            let shared = self.shared(port, listeners, &mut refuse);
            vec![shared; listeners.len()]
        } else {
            listeners.iter().map(|listener| self.of(listener).next()).collect()
        };
        let default = ConnectionSettings::default();
        // Of how many connections are taken at once the smallest number counts.
        let connections = |claim: Option<&Claim>| {
            let settings = claim.map_or(&default, |claim| &claim.policy.connections).clone();
            ConnectionSettings { accepts: None, ..settings }
        };
        let agreed = claims.first().copied().map(connections);
        let agree = claims.iter().all(|claim| Some(connections(*claim)) == agreed);
        for (listener, claim) in listeners.iter_mut().zip(claims) {
            let Some(claim) = claim else { continue };
            if agree || connections(Some(claim)) == default {
                listener.clients = claim.policy.clone();
                continue;
            }
            let message = format!(
                "tcpKeepalive, proxyProtocol, timeout.tcp.connectionInspectionTimeout and connection.bufferLimit concern \
                 all listeners of port {port}, and some of them have another policy or none: they have no effect"
            );
            refuse(claim, message, false);
            let ClientPolicy { clients, connections } = &*claim.policy;
            let connections = ConnectionSettings { accepts: connections.accepts, ..default.clone() };
            listener.clients = Arc::new(ClientPolicy { clients: clients.clone(), connections });
        }
    }

    /// What counts for all HTTP listeners of a port.
    fn shared(
        &self,
        port: u16,
        listeners: &[&mut ListenerView],
        refuse: &mut impl FnMut(&Claim, String, bool),
    ) -> Option<&Claim> {
        let mut counts: BTreeMap<&Place, (&Claim, usize)> = BTreeMap::new();
        for listener in listeners {
            let claims: BTreeMap<_, _> = self.of(listener).map(|claim| (&claim.place, claim)).collect();
            for (place, claim) in claims {
                counts.entry(place).or_insert((claim, 0)).1 += 1;
            }
        }
        let everywhere = |count: usize| count == listeners.len();
        let names: Vec<&str> = listeners.iter().map(|listener| &*listener.key.name).collect();
        let names = names.join(", ");
        for (claim, _) in counts.values().filter(|(_, count)| !everywhere(*count)) {
            let message =
                format!("HTTP listeners {names} share port {port}: a policy can only concern all of them");
            // A listener has one port, a whole ListenerSet may have others.
            refuse(claim, message, claim.place.section.is_some());
        }
        let mut first = self.of(listeners.first()?);
        first.find(|claim| counts.get(&claim.place).is_some_and(|(_, count)| everywhere(*count)))
    }

    /// What the policies are told.
    pub(crate) fn told(mut self) -> Told {
        self.tell_overridden();
        let told = self.told.into_iter();
        told.map(|((key, place), outcome)| ((PolicyKind::ClientTraffic, key), place, Arc::new(outcome)))
            .collect()
    }
}
