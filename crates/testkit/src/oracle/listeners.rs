//! The listeners that serve: merged, without those in conflict, and which of them has a hostname.

use super::world::{Gateway, Listener, Name, Namespaces, Protocol, World};

/// A listener of a Gateway or of one of its ListenerSets.
#[derive(Clone, Debug)]
pub struct Merged<'a> {
    /// The ListenerSet that declares it; none: the Gateway itself.
    pub set: Option<&'a Name>,
    /// The namespace of what declares it.
    pub namespace: &'static str,
    /// The listener.
    pub listener: &'a Listener,
    /// Whether it is in conflict: then it serves nothing.
    pub conflicted: bool,
}

/// `from` of namespaces (GatewaySpec `allowedListeners`, Listener `allowedRoutes`).
pub(super) fn allows(world: &World, from: Namespaces, own: &str, other: &str) -> bool {
    match from {
        Namespaces::None => false,
        Namespaces::Same => own == other,
        Namespaces::All => true,
        Namespaces::Team => world.team.contains(&other),
    }
}

/// All listeners of a Gateway (ListenerSetSpec `listeners`): its own, then those of the ListenerSets that it allows, the
/// oldest set first, then by `{namespace}/{name}`. A set without a time of creation (only files have such) is the oldest.
///
/// Conflicts (GatewaySpec `listeners`, "Distinct Listeners" and "Handling indistinct Listeners"): among listeners of one
/// object "MUST NOT pick one conflicting Listener as the winner"; between objects the one of lower precedence is in conflict
/// (GEP-1713, and the suite's ListenerSetHostnameConflict and ListenerSetProtocolConflict). Left open by the text, and so as
/// the implementation has it: a listener that lost against another object does not take its siblings along, and listeners
/// that lost among themselves do not stand in the way of the objects after them.
pub fn merged<'a>(world: &'a World, gateway: &'a Gateway) -> Vec<Merged<'a>> {
    let mut sets: Vec<_> = world.sets.iter().filter(|set| set.gateway == gateway.name).collect();
    sets.retain(|set| allows(world, gateway.allowed_listeners, gateway.name.namespace, set.name.namespace));
    sets.sort_by_key(|set| (set.created, set.name.text()));

    let own = (None, gateway.name.namespace, &gateway.listeners);
    let sets = sets.into_iter().map(|set| (Some(&set.name), set.name.namespace, &set.listeners));
    let mut all: Vec<Merged<'a>> = Vec::new();
    for (set, namespace, listeners) in std::iter::once(own).chain(sets) {
        let against =
            |rivals: &[&Listener], own: &Listener| rivals.iter().any(|rival| indistinct(rival, own));
        let before: Vec<_> =
            all.iter().filter(|other| !other.conflicted).map(|other| other.listener).collect();
        let still: Vec<_> = listeners.iter().filter(|own| !against(&before, own)).collect();
        for listener in listeners {
            let siblings: Vec<_> =
                still.iter().filter(|other| !std::ptr::eq(**other, listener)).copied().collect();
            let conflicted = against(&before, listener) || against(&siblings, listener);
            all.push(Merged { set, namespace, listener, conflicted });
        }
    }
    all
}

/// GatewaySpec `listeners`: listeners of HTTP and HTTPS differ in port or hostname, those of TCP in port, and nobody shares a
/// port with TCP. HTTP and HTTPS on one port are distinct and not compatible ("Compatible Listeners" leaves that open): one
/// port speaks one of them.
fn indistinct(one: &Listener, other: &Listener) -> bool {
    one.port == other.port
        && (one.protocol != other.protocol || one.protocol == Protocol::Tcp || one.hostname == other.hostname)
}

/// Hostname (shared by Listener `hostname` and HTTPRoute `hostnames`): without one every host, `*.` any labels before the
/// suffix and at least one, else the host itself.
pub(super) fn matches(pattern: Option<&str>, host: &str) -> bool {
    match pattern {
        None => true,
        Some(pattern) => match pattern.strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
            None => pattern == host,
        },
    }
}

/// "Listeners that are distinct only by Hostname": exact before wildcard before none; of wildcards the one with more dots.
fn specificity(pattern: Option<&str>) -> (u8, usize) {
    match pattern {
        None => (0, 0),
        Some(pattern) if pattern.starts_with('*') => (1, pattern.matches('.').count()),
        Some(_) => (2, 0),
    }
}

/// The most specific listener for a host.
pub(super) fn owner<'a, 'w>(listeners: &'a [Merged<'w>], host: &str) -> Option<&'a Merged<'w>> {
    let of_host = listeners.iter().filter(|merged| matches(merged.listener.hostname, host));
    of_host.max_by_key(|merged| specificity(merged.listener.hostname))
}
