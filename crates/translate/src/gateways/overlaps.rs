//! Listeners of a port whose hostnames overlap (`OverlappingTLSConfig`).
//!
//! A client may use its connection to one of them for hosts of the other. Such requests are told 421, and come back on a
//! connection of their own; people should know what makes them.

use std::collections::BTreeMap;

use gatehouse_model::{Hostname, ListenerOwner};

use super::{Family, ListenerView};
use crate::facts::Socket;

/// Marks listeners that overlap with another one. Cost: the labels of their hostnames.
pub(super) fn mark(listeners: &mut [ListenerView]) {
    let mut places: BTreeMap<(Socket, Hostname), usize> = BTreeMap::new();
    let over_tls = |l: &ListenerView| l.usable() && l.speaks.family() == Family::Tls;
    for (index, listener) in listeners.iter().enumerate().filter(|(_, l)| over_tls(l)) {
        places.insert((listener.socket(), listener.hostname.clone()), index);
    }
    let mut pairs = Vec::new();
    for ((socket, hostname), index) in &places {
        // Patterns overlap only where one covers the other.
        let wider = hostname.ancestors().skip(1);
        let wider = wider.filter_map(|wider| places.get(&(*socket, wider)));
        pairs.extend(wider.map(|wider| (*index, *wider)));
    }
    for (narrow, wide) in pairs {
        let (of_narrow, of_wide) = (describe(&listeners[narrow]), describe(&listeners[wide]));
        listeners[narrow].overlap.get_or_insert(of_wide);
        listeners[wide].overlap.get_or_insert(of_narrow);
    }
}

fn describe(other: &ListenerView) -> std::sync::Arc<str> {
    let owner = match &other.key.owner {
        ListenerOwner::Gateway => String::new(),
        ListenerOwner::ListenerSet(set) => format!(" of ListenerSet {set}"),
    };
    let ListenerView { hostname, key, .. } = other;
    format!("it overlaps with hostname {hostname} of listener {}{owner} on the same port", key.name).into()
}
