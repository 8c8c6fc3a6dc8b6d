//! Which route gets the connections of a listener that does not look into them.
//!
//! All routes that a listener takes are attached to it, and one of them serves a server name: the one with the most
//! specific hostname of its own, then the oldest, then the first by name. TCP and UDP have a single name, every host.

use std::cmp::Reverse;
use std::sync::Arc;

use gatehouse_engine::{Graph, Index, Reads, SmallMap};
use gatehouse_model::l4::Forward;
use gatehouse_model::{Hostname, ListenerKey, RouteKey};

use crate::attach::Bindings;
use crate::http::Lowered;

/// A claim to a server name; the smallest one has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// What route and listener both name.
    host: Hostname,
    /// Specificity of what the route itself names.
    own: Reverse<(u8, usize)>,
    age: Arc<str>,
    route: RouteKey,
}

/// The claims to all listeners.
#[derive(Debug)]
pub(crate) struct Streams(Index<RouteKey, ListenerKey, Claim, Arc<Forward>>);

impl Streams {
    pub(crate) fn new(graph: &mut Graph) -> Self {
        Self(Index::new(graph, "streams"))
    }

    /// Replaces the claims of a route of this age; `None` takes them away.
    pub(crate) fn set(
        &mut self,
        graph: &mut Graph,
        route: &RouteKey,
        claimed: Option<(&Bindings, &Lowered, Arc<str>)>,
    ) {
        let mut entries = Vec::new();
        if let Some((bindings, lowered, age)) = claimed {
            let mut listeners: Vec<_> = bindings.listeners().collect();
            // Two references may name one listener.
            listeners.sort_by(|a, b| a.site.key.cmp(&b.site.key));
            listeners.dedup_by(|a, b| a.site.key == b.site.key);
            for listener in listeners {
                let Some(forward) = lowered.forward_at(&listener.site) else { continue };
                for (host, own) in &listener.hosts {
                    let own = Reverse(own.specificity());
                    let claim = Claim { host: host.clone(), own, age: age.clone(), route: route.clone() };
                    entries.push(((*listener.site.key).clone(), claim, forward.clone()));
                }
            }
        }
        self.0.set(graph, route.clone(), entries);
    }

    /// The server names of a listener that are served, sorted, with what serves them.
    pub(crate) fn served(&self, reads: &mut Reads, listener: &ListenerKey) -> Vec<(Hostname, Arc<Forward>)> {
        let claims = self.0.get(reads, listener).into_iter().flat_map(SmallMap::iter);
        let mut served: Vec<_> =
            claims.map(|(claim, forward)| (claim.host.clone(), forward.clone())).collect();
        served.dedup_by(|later, first| later.0 == first.0);
        served
    }
}
