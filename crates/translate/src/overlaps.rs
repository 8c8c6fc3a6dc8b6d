//! Listeners of a port whose hostnames or certificates overlap (`OverlappingTLSConfig`).
//!
//! A client may use its connection to one of them for hosts of the other. Such requests are told 421, and come back on a
//! connection of their own; people should know what makes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_engine::{Reads, Stage};
use gatehouse_model::{Hostname, ListenerKey, ListenerOwner, NamespacedName};

use crate::certificates::Certificates;
use crate::facts::Socket;
use crate::gateways::{Family, GatewayState, ListenerView, Problem};

/// Listeners that overlap with another one, and with what. Overlapping certificates come before overlapping hostnames.
pub(crate) type Overlaps = BTreeMap<ListenerKey, Problem>;

/// Stage: what overlaps in a Gateway. Cost: the labels of its hostnames and the names in its certificates.
pub(crate) fn overlaps(
    gateways: &Stage<NamespacedName, GatewayState>,
    certificates: &Stage<ListenerKey, Arc<Certificates>>,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Arc<Overlaps>> {
    let view = gateways.get(reads, key)?.view()?;
    let over_tls = |l: &&Arc<ListenerView>| l.usable() && l.speaks.family() == Family::Tls;
    let listeners: Vec<&ListenerView> = view.listeners.iter().filter(over_tls).map(|l| &**l).collect();
    let mut certified = Vec::new();
    for listener in listeners.iter().filter(|listener| listener.speaks.terminates()) {
        match certificates.get(reads, &listener.key) {
            Some(certificates) => certified.push((*listener, &**certificates)),
            // Its Secrets are not known yet: what overlapped is told until they are.
            None => reads.hold(),
        }
    }
    let mut found = of_certificates(&certified);
    for (listener, message) in of_hostnames(&listeners) {
        found.entry(listener).or_insert_with(|| Problem::new("OverlappingHostnames", message));
    }
    Some(Arc::new(found))
}

fn of_hostnames(listeners: &[&ListenerView]) -> BTreeMap<ListenerKey, String> {
    let places: BTreeMap<_, _> = listeners.iter().map(|l| ((l.socket(), l.hostname.clone()), *l)).collect();
    let mut found = BTreeMap::new();
    for ((socket, hostname), narrow) in &places {
        // Patterns overlap only where one covers the other.
        for wide in hostname.ancestors().skip(1).filter_map(|wider| places.get(&(*socket, wider))) {
            for (one, other) in [(narrow, wide), (wide, narrow)] {
                let message = || match described(other, one) {
                    Some(listener) => {
                        format!("it overlaps with hostname {} of {listener} on the same port", other.hostname)
                    }
                    None => format!("it overlaps with the hostname of {STRANGER} on the same port"),
                };
                found.entry(one.key.clone()).or_insert_with(message);
            }
        }
    }
    found
}

fn of_certificates(certified: &[(&ListenerView, &Certificates)]) -> Overlaps {
    let mut named = Named::default();
    for (listener, certificates) in certified {
        certificates.names().for_each(|name| named.add(listener, name));
    }
    let overlap = |(listener, certificates): &(&ListenerView, &Certificates)| {
        let (name, other) =
            certificates.names().find_map(|name| Some((name, named.other(listener, name)?)))?;
        let theirs = match described(other.listener, listener) {
            Some(listener) => format!("that of {listener} on the same port for {}", other.name),
            None => format!("and that of {STRANGER} on the same port overlaps with it"),
        };
        let message =
            format!("its certificate is for {name}, {theirs}: clients may use one connection for both");
        Some((listener.key.clone(), Problem::new("OverlappingCertificates", message)))
    };
    certified.iter().filter_map(overlap).collect()
}

/// What a listener is called where the namespaces differ: who may read the one's status need not know what the other is
/// called, nor what its certificate holds.
const STRANGER: &str = "a listener of another namespace";

/// A listener as another one may be told of it; `None` for a stranger.
fn described(listener: &ListenerView, to: &ListenerView) -> Option<String> {
    (listener.namespace() == to.namespace()).then(|| match &listener.key.owner {
        ListenerOwner::Gateway => format!("listener {}", listener.key.name),
        ListenerOwner::ListenerSet(set) => format!("listener {} of ListenerSet {set}", listener.key.name),
    })
}

/// A name in a certificate of a listener.
#[derive(Clone, Copy)]
struct Claim<'a> {
    listener: &'a ListenerView,
    name: &'a Hostname,
}

/// The claims of the first two listeners: one of them is another's, whoever asks.
#[derive(Clone, Copy)]
struct FirstTwo<'a>(Claim<'a>, Option<Claim<'a>>);

impl<'a> FirstTwo<'a> {
    fn add(&mut self, claim: Claim<'a>) {
        if self.0.listener.key != claim.listener.key {
            self.1.get_or_insert(claim);
        }
    }

    fn other_than(self, listener: &ListenerView) -> Option<Claim<'a>> {
        if self.0.listener.key == listener.key { self.1 } else { Some(self.0) }
    }
}

/// The names in the certificates of all listeners. Unlike in a hostname, a wildcard in a certificate stands for one label.
#[derive(Default)]
struct Named<'a> {
    /// Who has this name.
    same: BTreeMap<(Socket, &'a Hostname), FirstTwo<'a>>,
    /// Who has a name without wildcard right below this one.
    below: BTreeMap<(Socket, &'a str), FirstTwo<'a>>,
}

impl<'a> Named<'a> {
    fn add(&mut self, listener: &'a ListenerView, name: &'a Hostname) {
        let claim = Claim { listener, name };
        let first = FirstTwo(claim, None);
        let socket = listener.socket();
        self.same.entry((socket, name)).or_insert(first).add(claim);
        if let Some(above) = above(name) {
            self.below.entry((socket, above)).or_insert(first).add(claim);
        }
    }

    /// The first other listener with a certificate for a host that this name stands for, too.
    fn other(&self, listener: &ListenerView, name: &Hostname) -> Option<Claim<'a>> {
        let socket = listener.socket();
        let same = |name: &Hostname| self.same.get(&(socket, name))?.other_than(listener);
        same(name).or_else(|| match name {
            Hostname::Wildcard(suffix) => self.below.get(&(socket, &**suffix))?.other_than(listener),
            _ => same(&Hostname::Wildcard(above(name)?.into())),
        })
    }
}

/// What stands behind the first label of a name without wildcard.
fn above(name: &Hostname) -> Option<&str> {
    let Hostname::Exact(name) = name else { return None };
    name.split_once('.').map(|(_, above)| above)
}
