//! The relay between one Envoy and the controller: a pure state machine.
//!
//! ```text
//!            Opened, Asked, Closed                    Connected, Answered, Lost
//!   Envoy ------------------------>  Relay + Shelf  <--------------------------- controller
//!         <--- responses ----------                 ---- requests ------------->
//! ```
//!
//! While the controller answers, messages pass in both directions, with nonces of the relay's own, and what Envoy
//! acknowledges is put on the shelf. A stream to the controller begins with what Envoy has acknowledged, so it brings
//! only differences; Envoy's stream outlives any number of them. While no controller answers, Envoy is answered from
//! the shelf, which holds what it (or the process before it) acknowledged last.
//!
//! Invariants: the controller is told only about responses of the stream it is told on; a type is asked for on a new
//! stream when nothing of it is in flight to Envoy, so that what Envoy is about to acknowledge is not sent again; a
//! version is presented only if its bytes are on the shelf.

mod kind;
mod local;
mod up;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gatehouse_model::ResourceType;

use self::kind::{Flight, Kind, Source};
use crate::wire::{Reason, Request, Response};

pub(crate) use self::kind::Held;

/// The last set that Envoy acknowledged, by type URL and name.
pub(crate) trait Shelf {
    /// What is on the shelf under a name.
    fn held(&self, kind: &str, name: &str) -> Option<Held>;
    /// The encoded `Resource`.
    fn body(&self, kind: &str, name: &str) -> Option<Bytes>;
    /// Everything of a type, sorted.
    fn names(&self, kind: &str) -> Vec<Arc<str>>;
    /// The types of which there is anything, sorted.
    fn kinds(&self) -> Vec<String>;
    /// Keeps an acknowledged resource, or that there is none of that name.
    fn put(&mut self, kind: &str, name: &Arc<str>, held: &Held, body: &Bytes);
    /// Forgets a name.
    fn remove(&mut self, kind: &str, name: &str);
    /// Whether Envoy has ever acknowledged an answer to "everything of this type".
    fn complete(&self, kind: &str) -> bool;
    /// Notes that it has.
    fn set_complete(&mut self, kind: &str);
}

/// What happens to a relay.
#[derive(Debug)]
pub(crate) enum Input {
    /// Envoy opened a stream; one before it is void.
    Opened,
    /// Envoy says something on it.
    Asked(Request),
    /// Envoy's stream ended.
    Closed,
    /// There is a new stream to a controller.
    Connected,
    /// The controller says something on it.
    Answered(Response),
    /// That stream ended, or there could be none.
    Lost,
    /// The time of [`Output::wake`] has come.
    Woken,
}

/// What is to be done about the stream to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// End the one there is, and open a new one now.
    Connect,
    /// End the one there is.
    Drop,
}

/// What a relay wants done.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) order: Option<Order>,
    pub(crate) to_envoy: Vec<Response>,
    /// How many of them come from the shelf.
    pub(crate) from_shelf: usize,
    pub(crate) to_controller: Vec<Request>,
    /// What Envoy refused: type and its words.
    pub(crate) refused: Vec<(String, String)>,
    /// When to call again at the latest.
    pub(crate) wake: Option<Instant>,
}

/// The relay's patience.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// How long a controller may be silent before Envoy is answered from the shelf.
    pub(crate) silence: Duration,
    /// How long a type waits for Envoy's acknowledgements before it is asked for on a new stream.
    pub(crate) settle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { silence: Duration::from_secs(2), settle: Duration::from_secs(1) }
    }
}

/// How far Envoy's configuration is, as far as its stream tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Counts Envoy's streams; zero: there was none.
    pub(crate) stream: u64,
    /// Envoy began without any configuration: it is a new process.
    pub(crate) fresh: bool,
    /// What it still needs; empty when it holds all that it asked for.
    pub(crate) needs: Vec<String>,
}

/// Whether there is a stream to a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first attempt since Envoy came is under way.
    Trying,
    /// An attempt failed, or a stream ended, and there is none since.
    Lost,
    Up,
}

/// The stream to the controller.
#[derive(Debug)]
struct Link {
    phase: Phase,
    since: Instant,
    /// The controller has answered on it.
    spoke: bool,
    /// The node is said once per stream.
    introduced: bool,
    /// The controller owes an answer for so long that the shelf answers for it.
    silent: bool,
}

impl Link {
    fn new(phase: Phase, since: Instant) -> Self {
        Self { phase, since, spoke: false, introduced: false, silent: false }
    }

    fn up(&self) -> bool {
        self.phase == Phase::Up
    }
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Relay {
    timing: Timing,
    now: Instant,
    /// Envoy has a stream.
    envoy: bool,
    streams: u64,
    fresh: bool,
    node: Bytes,
    /// What Envoy asked for on its stream: clusters, then the others in its order.
    kinds: Vec<Kind>,
    link: Link,
    /// Counts streams to controllers: part of each nonce.
    epoch: u64,
    /// Counts responses from the shelf.
    served: u64,
    /// Since when something that Envoy asked for is not answered.
    demand: Option<Instant>,
    /// Virtual hosts on the shelf may have found a table.
    hosts_due: bool,
    out: Output,
}

impl Relay {
    pub(crate) fn new(timing: Timing, now: Instant) -> Self {
        Self {
            timing,
            now,
            envoy: false,
            streams: 0,
            fresh: false,
            node: Bytes::new(),
            kinds: Vec::new(),
            link: Link::new(Phase::Trying, now),
            epoch: 0,
            served: 0,
            demand: None,
            hosts_due: false,
            out: Output::default(),
        }
    }

    /// Takes one input and says what to do; time never goes back.
    pub(crate) fn handle(&mut self, input: Input, store: &mut dyn Shelf, now: Instant) -> Output {
        self.now = now;
        match input {
            Input::Opened => self.opened(),
            Input::Asked(request) if self.envoy => self.asked(&request, store),
            Input::Connected if self.envoy => self.connected(),
            Input::Answered(response) if self.envoy => self.answered(response),
            Input::Lost if self.envoy => self.lost(),
            Input::Closed => self.closed(),
            Input::Woken | Input::Asked(_) | Input::Connected | Input::Answered(_) | Input::Lost => {}
        }
        for at in 0..self.kinds.len() {
            self.attach(at, store);
        }
        self.link.silent |= self.silent_at().is_some_and(|at| at <= now);
        self.serve_locally(store);
        self.demand = if self.demanding() { self.demand.or(Some(now)) } else { None };
        self.out.wake = self.next_wake();
        std::mem::take(&mut self.out)
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress { stream: self.streams, fresh: self.fresh, needs: self.needs() }
    }

    /// Takes from the shelf what Envoy, which has all that it asked for, does not have.
    pub(crate) fn prune(&self, store: &mut dyn Shelf) {
        for url in store.kinds() {
            let kind = self.kinds.iter().find(|kind| kind.url == url);
            for name in store.names(&url) {
                if !kind.is_some_and(|kind| kind.held.contains_key(&name)) {
                    store.remove(&url, &name);
                }
            }
        }
    }

    fn opened(&mut self) {
        self.envoy = true;
        self.streams += 1;
        self.fresh = false;
        self.start_over();
        self.out.order = Some(Order::Connect);
    }

    fn closed(&mut self) {
        self.envoy = false;
        self.start_over();
        self.out.order = Some(Order::Drop);
    }

    fn start_over(&mut self) {
        self.kinds.clear();
        self.demand = None;
        self.hosts_due = false;
        self.link = Link::new(Phase::Trying, self.now);
    }

    fn asked(&mut self, request: &Request, store: &mut dyn Shelf) {
        if !request.node.is_empty() {
            self.node = request.node.clone();
        }
        let known = self.kinds.iter().position(|kind| kind.url == request.type_url);
        let at = known.unwrap_or_else(|| self.begin(request));
        let reply = if request.response_nonce.is_empty() { None } else { self.reply(at, request, store) };
        if known.is_some() {
            self.kinds[at].merge(request, store);
        }
        self.hosts_due |= request.type_url == ResourceType::VirtualHost.type_url();
        self.forward(at, request, reply);
    }

    /// Takes up a type. Clusters are asked for first on later streams, wherever Envoy had them on this one: last means to
    /// a controller that some of them warm.
    fn begin(&mut self, request: &Request) -> usize {
        self.fresh |= self.kinds.is_empty() && request.initial_resource_versions.is_empty();
        let clusters = request.type_url == ResourceType::Cluster.type_url();
        let at = if clusters { 0 } else { self.kinds.len() };
        self.kinds.insert(at, Kind::first(request));
        at
    }

    /// Settles a response; the nonce under which the controller knows it, if this one does.
    fn reply(&mut self, at: usize, request: &Request, store: &mut dyn Shelf) -> Option<String> {
        let kind = &mut self.kinds[at];
        let found = kind.flights.iter().position(|flight| flight.nonce == request.response_nonce)?;
        let flight = kind.flights.remove(found);
        let source = flight.source.clone();
        if let Some(error) = &request.error_detail {
            let words = <Reason as prost::Message>::decode(error.clone()).unwrap_or_default().message;
            self.out.refused.push((kind.url.clone(), words));
            if source == Source::Shelf {
                self.split(at, flight);
            }
        } else {
            kind.accept(flight, store);
            self.hosts_due |= kind.url == ResourceType::RouteConfiguration.type_url();
        }
        match source {
            Source::Controller { epoch, nonce } if self.link.up() && epoch == self.epoch => Some(nonce),
            Source::Controller { .. } | Source::Shelf => None,
        }
    }

    fn send(&mut self, at: usize, flight: Flight, mut response: Response) {
        let kind = &mut self.kinds[at];
        for name in flight.names() {
            kind.waiting.remove(name);
        }
        response.nonce.clone_from(&flight.nonce);
        kind.flights.push(flight);
        self.out.to_envoy.push(response);
    }

    /// Whether Envoy waits for an answer that somebody should give. Nobody is late with virtual hosts: there is no
    /// answer while there are none.
    fn demanding(&self) -> bool {
        let hosts = ResourceType::VirtualHost.type_url();
        self.kinds.iter().any(|kind| !kind.waiting.is_empty() || (kind.url != hosts && kind.unanswered()))
    }

    fn next_wake(&self) -> Option<Instant> {
        let unsettled = self.kinds.iter().any(|kind| !kind.attached && !kind.flights.is_empty());
        let settle = (self.link.up() && unsettled).then(|| self.link.since + self.timing.settle);
        let silent = self.silent_at();
        [settle, silent].into_iter().flatten().filter(|at| *at > self.now).min()
    }

    fn needs(&self) -> Vec<String> {
        if !self.envoy {
            return vec!["a stream from Envoy".to_owned()];
        }
        let mut needs = Vec::new();
        for kind in [ResourceType::Cluster, ResourceType::Listener] {
            let answered = self.kinds.iter().any(|known| known.url == kind.type_url() && known.answered);
            if !answered {
                needs.push(format!("the first {}s", kind.label()));
            }
        }
        for kind in self.kinds.iter().filter(|kind| !kind.waiting.is_empty() || !kind.flights.is_empty()) {
            let short = kind.url.rsplit('.').next().unwrap_or(&kind.url);
            let (waiting, flights) = (kind.waiting.len(), kind.flights.len());
            needs.push(format!("{short}: {waiting} unanswered, {flights} unacknowledged"));
        }
        needs
    }
}

#[cfg(test)]
mod tests;
