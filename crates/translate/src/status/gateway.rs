//! Gateway and ListenerSet.

use gatehouse_engine::{Reads, Stage};
use gatehouse_model::status::{Condition, ConditionStatus};
use gatehouse_model::{ListenerOwner, NamespacedName};
use serde_json::{Value, json};

use super::listener::{ADDRESS_NOT_USABLE, Entry, PENDING, Programmed, Sources};
use super::{parameters_followed, to_json, verdict};
use crate::authorities;
use crate::config::{Config, Hosting};
use crate::facts::Facts;
use crate::gateways::{GatewayState, GatewayView, Problem, gateway_of_set};
use crate::output::{FleetAddress, FleetState, Routability};
use crate::parameters::Parameters;

/// Stage: the status of a Gateway; null when it is not ours.
pub(crate) fn gateway(
    sources: Sources<'_>,
    gateways: &Stage<NamespacedName, GatewayState>,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Value> {
    let object = sources.facts.gateways.get(reads, key)?;
    // One whose ports were not asked about yet has no state: it is looked at again when it has.
    let Some(view) = gateways.get(reads, key).and_then(GatewayState::view) else { return Some(Value::Null) };
    let all = entries(sources, reads, view, |_| true);
    let own = entries(sources, reads, view, |owner| *owner == ListenerOwner::Gateway);
    let generation = view.generation;
    let pods = sources.pods(reads, view);
    let refused = pods.refused(view);
    let accepted = match view.problem.as_ref().or(refused.as_ref()) {
        Some(problem) => verdict("Accepted", Some(problem), ("", ""), generation),
        None => gateway_accepted(&own, &all, generation),
    };
    let attached_sets = view.sets.keys().filter(|set| is_accepted(view, &all, set)).count();
    let programmed = programmed_in_pods(owner_programmed(&all, generation), &pods, view);
    let mut conditions = vec![accepted, programmed, addresses_assigned(sources.config, view, &pods)];
    let default = "routes with useDefaultGateways: All attach to this Gateway";
    conditions.extend(
        view.is_default
            .then(|| Condition::new("DefaultGateway", true, "DefaultGateway", default, generation)),
    );
    if authorities::is_lenient(object) {
        let message = "clients without a valid certificate are served where spec.tls.frontend says AllowInsecureFallback";
        let kind = "InsecureFrontendValidationMode";
        conditions.push(Condition::new(kind, true, "ConfigurationChanged", message, generation));
    }
    conditions.push(resolved(sources, reads, view, &own));
    conditions.extend(view.parameters.as_ref().map(|parameters| pods.followed(parameters, generation)));
    let mut status = json!({
        "conditions": to_json(&conditions),
        "listeners": own.into_iter().map(|entry| entry.json).collect::<Vec<_>>(),
        "attachedListenerSets": attached_sets,
    });
    if let Some(addresses) = addresses(sources, view, &pods) {
        status["addresses"] = Value::Array(addresses);
    }
    Some(status)
}

/// Whether a ListenerSet is accepted, as its own status says: under a good Gateway, with a listener that is valid.
fn is_accepted(view: &GatewayView, entries: &[Entry], set: &NamespacedName) -> bool {
    let owns = |owner: &ListenerOwner| matches!(owner, ListenerOwner::ListenerSet(key) if key == set);
    let mut listeners = view.listeners.iter().zip(entries);
    view.problem.is_none() && listeners.any(|(listener, entry)| owns(&listener.key.owner) && entry.is_valid())
}

/// A Gateway whose own listeners are all bad is still accepted while one of its sets has a good one: they count
/// as one list.
fn gateway_accepted(own: &[Entry], all: &[Entry], generation: i64) -> Condition {
    let accepted = owner_accepted(own, |entry| entry.accepted, generation);
    let served = all.iter().any(|entry| entry.accepted);
    if served { Condition { status: true.into(), ..accepted } } else { accepted }
}

/// Whether a Gateway's own references resolve, with its listeners' in sum.
fn resolved(sources: Sources<'_>, reads: &mut Reads, view: &GatewayView, own: &[Entry]) -> Condition {
    let shown = sources.shown.get(reads, &view.fleet.0);
    if shown.is_none() && view.shows.is_some() {
        // Its Secret is not known yet: the last status stays.
        reads.hold();
    }
    let unresolved = shown.and_then(|shown| shown.as_ref().err().cloned());
    let listeners = own.iter().filter(|entry| !entry.resolved).count();
    let of_listeners = || {
        Problem::new("ListenersNotResolved", format!("not all references of {listeners} listeners resolve"))
    };
    let problem = unresolved.or_else(|| (listeners > 0).then(of_listeners));
    let good = ("ResolvedRefs", "all references resolve");
    verdict("ResolvedRefs", problem.as_ref(), good, view.generation)
}

/// `None` while nothing is known of them.
fn addresses(sources: Sources<'_>, view: &GatewayView, pods: &Pods<'_>) -> Option<Vec<Value>> {
    let ip = |value: &dyn std::fmt::Display| json!({ "type": "IPAddress", "value": value.to_string() });
    Some(match (&sources.config.hosting, pods) {
        _ if !view.serves => Vec::new(),
        (Hosting::Host { address }, _) if view.addresses.0.is_empty() => vec![ip(address)],
        (Hosting::Host { .. }, _) => view.addresses.0.iter().map(|address| ip(address)).collect(),
        (Hosting::Pods, Pods::Known(state)) => {
            let shown = |known: &&FleetAddress| known.value.is_some() && asks_for(view, known.routability);
            state.addresses.iter().filter(shown).map(address).collect()
        }
        (Hosting::Pods, _) => return None,
    })
}

fn address(known: &FleetAddress) -> Value {
    let mut json = json!({ "type": known.kind, "value": known.value });
    // A field of the experimental channel: only who has that can have asked for it.
    if known.routability != Routability::Default {
        json["routability"] = known.routability.as_str().into();
    }
    json
}

/// Whether all addresses that were asked for are there; who asks for none is to have one.
fn addresses_assigned(config: &Config, view: &GatewayView, pods: &Pods<'_>) -> Condition {
    let condition = |status: bool, reason, message: String| {
        Condition::new("AddressesAssigned", status, reason, message, view.generation)
    };
    let all = || condition(true, "AddressesAssigned", "all addresses are assigned".to_owned());
    let none = |why: &str| condition(false, "NotAssigned", why.to_owned());
    let state = match (&config.hosting, pods) {
        _ if !view.serves => return none("the Gateway is not served"),
        (Hosting::Host { .. }, _) => return all(),
        (Hosting::Pods, Pods::Known(state)) => state,
        (Hosting::Pods, _) => return none("the proxies are being made"),
    };
    let has = |routability| state.addresses.iter().any(|known| known.routability == routability);
    let there = |wanted: &&FleetAddress| match wanted.value {
        Some(_) => state.addresses.contains(wanted),
        None => has(wanted.routability),
    };
    let (wanted, there) = match asked(view).count() {
        0 => (1, usize::from(has(Routability::Default))),
        wanted => (wanted, asked(view).filter(there).count()),
    };
    match there {
        there if there == wanted => all(),
        0 => none("no address is assigned yet"),
        _ => {
            let message = format!("{there} of {wanted} addresses are assigned");
            condition(false, "PartiallyAssigned", message)
        }
    }
}

/// Whether a Gateway is to be reached so; one that asks for no addresses has the default.
fn asks_for(view: &GatewayView, routability: Routability) -> bool {
    let mut asked = asked(view).peekable();
    match asked.peek() {
        None => routability == Routability::Default,
        Some(_) => asked.any(|address| address.routability == routability),
    }
}

fn asked(view: &GatewayView) -> impl Iterator<Item = &FleetAddress> {
    view.plan.iter().flat_map(|plan| &plan.addresses)
}

/// What is known of the pods of a Gateway.
enum Pods<'a> {
    /// It has none: the proxies run on this host.
    None,
    Unknown,
    Known(&'a FleetState),
}

impl<'a> Sources<'a> {
    fn pods(self, reads: &mut Reads, view: &GatewayView) -> Pods<'a> {
        match self.config.hosting {
            Hosting::Host { .. } => Pods::None,
            Hosting::Pods => {
                self.facts.pods.get(reads, &view.fleet).map_or(Pods::Unknown, |s| Pods::Known(s))
            }
        }
    }
}

impl Pods<'_> {
    /// Why a Gateway's parameters cannot be followed, as whoever makes its pods says.
    fn refused(&self, view: &GatewayView) -> Option<Problem> {
        let (Self::Known(state), Some(parameters)) = (self, &view.parameters) else { return None };
        let why = state.refused.as_ref()?;
        Some(Problem::new("InvalidParameters", format!("{}: {why}", parameters.names)))
    }

    /// A Gateway that serves may still have pods that do not start, as when an update of them fails: that must be told.
    fn warn(&self, programmed: Condition) -> Condition {
        match self {
            Self::Known(FleetState { problem: Some(problem), .. }) => {
                Condition { message: format!("{}; but {problem}", programmed.message).into(), ..programmed }
            }
            _ => programmed,
        }
    }

    /// What came of a Gateway's parameters.
    fn followed(&self, parameters: &Parameters, generation: i64) -> Condition {
        let mut unheeded: Vec<&str> = parameters.unheeded.iter().map(String::as_str).collect();
        let mut refused = None;
        if let Self::Known(state) = self {
            unheeded.extend(state.unheeded.iter().map(|field| &**field));
            refused = state.refused.as_deref();
        }
        unheeded.sort_unstable();
        unheeded.dedup();
        parameters_followed(&parameters.names, refused, &unheeded, generation)
    }
}

/// A Gateway in pods is programmed when besides its listeners there is an address, as asked for, and a proxy behind it.
fn programmed_in_pods(listeners: Condition, pods: &Pods<'_>, view: &GatewayView) -> Condition {
    // What is wrong with the listeners themselves says more than what is not there yet.
    if listeners.status == ConditionStatus::False && listeners.reason != PENDING {
        return listeners;
    }
    match pods_problem(pods, view) {
        None => pods.warn(listeners),
        Some(problem) => {
            Condition::new("Programmed", false, problem.reason, problem.message, view.generation)
        }
    }
}

fn pods_problem(pods: &Pods<'_>, view: &GatewayView) -> Option<Problem> {
    let state = match pods {
        Pods::None => return None,
        Pods::Unknown => return Some(Problem::new(PENDING, "the proxies are being made")),
        Pods::Known(state) => state,
    };
    let because = |what: String| match &state.problem {
        Some(problem) => format!("{what}: {problem}"),
        None => what,
    };
    let mut missing = asked(view).filter(|asked| asked.value.is_some() && !state.addresses.contains(asked));
    if let Some(address) = missing.next().and_then(|address| address.value.as_ref()) {
        let what = format!("address {address} of spec.addresses is not assigned");
        return Some(Problem::new(ADDRESS_NOT_USABLE, because(what)));
    }
    let lacks = |routability| !state.addresses.iter().any(|known| known.routability == routability);
    if [Routability::Default, Routability::Cluster].into_iter().any(|r| asks_for(view, r) && lacks(r)) {
        return Some(Problem::new("AddressNotAssigned", because("there is no address yet".to_owned())));
    }
    (!state.ready).then(|| Problem::new("NoResources", because("no proxy is ready".to_owned())))
}

fn entries(
    sources: Sources<'_>,
    reads: &mut Reads,
    view: &GatewayView,
    owned: impl Fn(&ListenerOwner) -> bool,
) -> Vec<Entry> {
    let listeners = view.listeners.iter().filter(|l| owned(&l.key.owner));
    listeners.map(|listener| sources.entry(reads, view, listener)).collect()
}

/// Accepted while at least one listener is valid; says so when some are not.
fn owner_accepted(entries: &[Entry], valid: impl Fn(&Entry) -> bool, generation: i64) -> Condition {
    let (good, bad): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| valid(entry));
    let names = |entries: &[&Entry]| entries.iter().map(|entry| &*entry.name).collect::<Vec<_>>().join(", ");
    let message = match (good.len(), bad.len()) {
        (0, _) => format!("listeners that are not valid: {}", names(&bad)),
        _ => format!("listeners that are not valid: {}; valid: {}", names(&bad), names(&good)),
    };
    match (good.len(), bad.len()) {
        (_, 0) => Condition::new("Accepted", true, "Accepted", "all listeners are valid", generation),
        (0, _) => Condition::new("Accepted", false, "ListenersNotValid", message, generation),
        _ => Condition::new("Accepted", true, "ListenersNotValid", message, generation),
    }
}

/// Programmed while at least one listener is; the oldest generation that a serving listener speaks of counts.
fn owner_programmed(entries: &[Entry], generation: i64) -> Condition {
    let held = entries.iter().filter_map(|entry| match entry.programmed {
        Programmed::Yes { generation } => Some(generation),
        Programmed::No(_) => None,
    });
    if let Some(held) = held.min() {
        let message = "a proxy holds the configuration";
        return Condition::new("Programmed", true, "Programmed", message, held.min(generation));
    }
    let problem = entries.iter().find_map(|entry| match &entry.programmed {
        Programmed::No(problem) => Some(problem.clone()),
        Programmed::Yes { .. } => None,
    });
    let problem = problem.unwrap_or_else(|| Problem::new("Invalid", "there are no listeners"));
    let reason = match problem.reason {
        reason @ (PENDING | ADDRESS_NOT_USABLE) => reason,
        _ => "Invalid",
    };
    Condition::new("Programmed", false, reason, problem.message, generation)
}

/// A set is programmed when its listeners and its Gateway are. It has no reason of its own for what its Gateway lacks.
fn set_programmed(listeners: Condition, gateway: Option<Problem>, generation: i64) -> Condition {
    let listeners = Condition { observed_generation: generation, ..listeners };
    let (reason, message) = match gateway.filter(|_| listeners.status == ConditionStatus::True) {
        None if listeners.reason == ADDRESS_NOT_USABLE => (ADDRESS_NOT_USABLE, listeners.message),
        None => return listeners,
        Some(problem) => (problem.reason, problem.message),
    };
    let reason = if reason == PENDING { PENDING } else { "ParentNotProgrammed" };
    Condition::new("Programmed", false, reason, message, generation)
}

/// Stage: the status of a ListenerSet; null when its Gateway is not ours.
pub(crate) fn listener_set(
    sources: Sources<'_>,
    facts: &Facts,
    gateways: &Stage<NamespacedName, GatewayState>,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Value> {
    facts.listener_sets.get(reads, key)?;
    let gateway = gateway_of_set(facts, reads, key);
    let view = gateway.and_then(|gateway| gateways.get(reads, &gateway)?.view());
    let Some((view, set)) = view.and_then(|view| Some((view, view.sets.get(key)?))) else {
        return Some(Value::Null);
    };
    let generation = set.generation;
    let parent = view.problem.as_ref().map(|p| Problem::new("ParentNotAccepted", p.message.clone()));
    if let Some(problem) = set.problem.as_ref().or(parent.as_ref()) {
        let conditions =
            ["Accepted", "Programmed"].map(|kind| verdict(kind, Some(problem), ("", ""), generation));
        return Some(json!({ "conditions": to_json(&conditions) }));
    }
    let entries = entries(sources, reads, view, |owner| *owner == ListenerOwner::ListenerSet(key.clone()));
    // Unlike a Gateway, a set is not accepted for listeners whose references do not resolve.
    let accepted = owner_accepted(&entries, Entry::is_valid, generation);
    let programmed = if accepted.status == ConditionStatus::True {
        let pods = sources.pods(reads, view);
        set_programmed(owner_programmed(&entries, generation), pods_problem(&pods, view), generation)
    } else {
        Condition { kind: "Programmed", ..accepted.clone() }
    };
    Some(json!({
        "conditions": to_json(&[accepted, programmed]),
        "listeners": entries.into_iter().map(|entry| entry.json).collect::<Vec<_>>(),
    }))
}
