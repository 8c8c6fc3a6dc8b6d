//! Which listeners are distinct (Gateway `spec.listeners`, "Distinct Listeners").
//!
//! Among the listeners of one object no winner is picked: all that are alike are conflicted. Between objects the
//! Gateway comes before its ListenerSets and an older set before a younger: the later listener is conflicted.
//!
//! TCP and UDP do not meet on a port. HTTPS and TLS share one by hostname, whoever ends the TLS.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gatehouse_model::{Hostname, ListenerOwner};

use super::{Family, ListenerView, Problem};
use crate::facts::Socket;

/// What is taken on a port.
struct Taken {
    family: Family,
    /// Who has each, and in which namespace that is.
    hosts: HashMap<Hostname, (String, Arc<str>)>,
}

/// Marks conflicts; groups come in the order of precedence.
pub(super) fn resolve(groups: Vec<Vec<ListenerView>>) -> Vec<ListenerView> {
    let mut taken: HashMap<Socket, Taken> = HashMap::new();
    let mut all = Vec::new();
    for mut group in groups {
        for listener in group.iter_mut().filter(|l| l.usable()) {
            listener.conflict = conflict_with(&taken, listener);
        }
        // What does not fit what is there already cannot take its siblings along.
        mark_within(&mut group);
        for listener in group.iter().filter(|l| l.usable()) {
            taken
                .entry(listener.socket())
                .or_insert_with(|| Taken { family: listener.speaks.family(), hosts: HashMap::new() })
                .hosts
                .insert(listener.hostname.clone(), (describe(listener), listener.namespace().clone()));
        }
        all.extend(group);
    }
    all
}

fn mark_within(group: &mut [ListenerView]) {
    let mut ports: HashMap<Socket, BTreeMap<Family, HashMap<Hostname, usize>>> = HashMap::new();
    for listener in group.iter().filter(|l| l.usable()) {
        let families = ports.entry(listener.socket()).or_default();
        let hosts = families.entry(listener.speaks.family()).or_default();
        *hosts.entry(listener.hostname.clone()).or_default() += 1;
    }
    for listener in group.iter_mut().filter(|l| l.usable()) {
        let families = &ports[&listener.socket()];
        let alike = families[&listener.speaks.family()][&listener.hostname];
        if families.len() > 1 {
            let message = format!("listeners of different protocols share port {}", listener.port);
            listener.conflict = Some(Problem::new("ProtocolConflict", message));
        } else if alike > 1 {
            listener.conflict = Some(same_host(listener, "several listeners have"));
        }
    }
}

fn conflict_with(taken: &HashMap<Socket, Taken>, listener: &ListenerView) -> Option<Problem> {
    let port = taken.get(&listener.socket())?;
    if port.family != listener.speaks.family() {
        let message = format!("port {} already has listeners of another protocol", listener.port);
        return Some(Problem::new("ProtocolConflict", message));
    }
    let (owner, namespace) = port.hosts.get(&listener.hostname)?;
    // Who may read a set's status need not know what other namespaces hold.
    let owner = if namespace == listener.namespace() { owner } else { "a listener of another namespace" };
    Some(same_host(listener, &format!("{owner} already has")))
}

/// Protocols without hostnames have one listener on a port.
fn same_host(listener: &ListenerView, who: &str) -> Problem {
    let ListenerView { hostname, port, .. } = listener;
    if listener.speaks.has_hostnames() {
        Problem::new("HostnameConflict", format!("{who} hostname {hostname} on port {port}"))
    } else {
        let protocol = listener.speaks.transport().as_str().to_uppercase();
        Problem::new("ProtocolConflict", format!("{who} {protocol} port {port}"))
    }
}

fn describe(listener: &ListenerView) -> String {
    match &listener.key.owner {
        ListenerOwner::Gateway => {
            format!("listener {} of Gateway {}", listener.key.name, listener.key.gateway)
        }
        ListenerOwner::ListenerSet(set) => format!("listener {} of ListenerSet {set}", listener.key.name),
    }
}
