//! Which listeners are distinct (Gateway `spec.listeners`, "Distinct Listeners").
//!
//! Among the listeners of one object no winner is picked: all that are alike are conflicted. Between objects the
//! Gateway comes before its ListenerSets and an older set before a younger: the later listener is conflicted.

use std::collections::HashMap;

use gatehouse_model::Hostname;

use super::{ListenerView, Problem};

/// What is taken on a port.
struct Taken {
    https: bool,
    hosts: HashMap<Hostname, String>,
}

/// Marks conflicts; groups come in the order of precedence.
pub(super) fn resolve(groups: Vec<Vec<ListenerView>>) -> Vec<ListenerView> {
    let mut taken: HashMap<u16, Taken> = HashMap::new();
    let mut all = Vec::new();
    for mut group in groups {
        mark_within(&mut group);
        for listener in &mut group {
            if listener.usable() || listener.tcp {
                listener.conflict = conflict_with(&taken, listener);
            }
        }
        for listener in group.iter().filter(|l| l.usable()) {
            taken
                .entry(listener.port)
                .or_insert_with(|| Taken { https: listener.https, hosts: HashMap::new() })
                .hosts
                .insert(listener.hostname.clone(), describe(listener));
        }
        all.extend(group);
    }
    all
}

fn mark_within(group: &mut [ListenerView]) {
    let mut protocols: HashMap<u16, [bool; 2]> = HashMap::new();
    let mut hosts: HashMap<(u16, Hostname), usize> = HashMap::new();
    for listener in group.iter().filter(|l| l.usable()) {
        protocols.entry(listener.port).or_default()[usize::from(listener.https)] = true;
        *hosts.entry((listener.port, listener.hostname.clone())).or_default() += 1;
    }
    for listener in group.iter_mut().filter(|l| l.usable()) {
        let port = listener.port;
        if protocols.get(&port) == Some(&[true, true]) {
            listener.conflict =
                Some(Problem::new("ProtocolConflict", format!("HTTP and HTTPS listeners share port {port}")));
        } else if hosts.get(&(port, listener.hostname.clone())).is_some_and(|n| *n > 1) {
            let message = format!("several listeners have hostname {} on port {port}", listener.hostname);
            listener.conflict = Some(Problem::new("HostnameConflict", message));
        }
    }
}

fn conflict_with(taken: &HashMap<u16, Taken>, listener: &ListenerView) -> Option<Problem> {
    let port = taken.get(&listener.port)?;
    if listener.tcp || port.https != listener.https {
        let message = format!("port {} already has listeners of another protocol", listener.port);
        return Some(Problem::new("ProtocolConflict", message));
    }
    let owner = port.hosts.get(&listener.hostname)?;
    let message =
        format!("hostname {} on port {} already belongs to {owner}", listener.hostname, listener.port);
    Some(Problem::new("HostnameConflict", message))
}

fn describe(listener: &ListenerView) -> String {
    use gatehouse_model::ListenerOwner;
    match &listener.key.owner {
        ListenerOwner::Gateway => {
            format!("listener {} of Gateway {}", listener.key.name, listener.key.gateway)
        }
        ListenerOwner::ListenerSet(set) => format!("listener {} of ListenerSet {set}", listener.key.name),
    }
}
