//! A relay between models of both sides: the controller's own stream, and a client that behaves like Envoy.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use gatehouse_model::{Edge, ResourceType, Target};
use gatehouse_testkit::xds_client::{Client, Kind, words};
use gatehouse_xds::{Commit, Resource, Stream, Table, table_of};
use prost::Message;

use super::super::*;

/// Bodies by type and name.
pub(super) type Bodies = BTreeMap<(ResourceType, String), String>;

/// A shelf in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct MapShelf {
    pub(super) entries: BTreeMap<(String, Arc<str>), (Held, Bytes)>,
    pub(super) whole: BTreeSet<String>,
    pub(super) puts: usize,
}

impl Shelf for MapShelf {
    fn held(&self, kind: &str, name: &str) -> Option<Held> {
        self.entries.get(&(kind.to_owned(), name.into())).map(|entry| entry.0.clone())
    }
    fn body(&self, kind: &str, name: &str) -> Option<Bytes> {
        self.entries.get(&(kind.to_owned(), name.into())).map(|entry| entry.1.clone())
    }
    fn names(&self, kind: &str) -> Vec<Arc<str>> {
        self.entries.keys().filter(|(of, _)| of == kind).map(|(_, name)| name.clone()).collect()
    }
    fn kinds(&self) -> Vec<String> {
        self.entries.keys().map(|(kind, _)| kind.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }
    fn put(&mut self, kind: &str, name: &Arc<str>, held: &Held, body: &Bytes) {
        self.puts += 1;
        self.entries.insert((kind.to_owned(), name.clone()), (held.clone(), body.clone()));
    }
    fn remove(&mut self, kind: &str, name: &str) {
        self.entries.remove(&(kind.to_owned(), name.into()));
    }
    fn complete(&self, kind: &str) -> bool {
        self.whole.contains(kind)
    }
    fn set_complete(&mut self, kind: &str) {
        self.whole.insert(kind.to_owned());
    }
}

pub(super) struct Harness {
    pub(super) now: Instant,
    /// What the controller should serve, and what of it is committed.
    pub(super) wanted: Bodies,
    committed: Bodies,
    table: Table,
    stream: Option<Stream>,
    doubts: BTreeSet<Target>,
    controller_wake: Option<Instant>,
    /// The relay waits for a stream to the controller.
    pub(super) wants_link: bool,
    /// Nonces that the controller waits for on its present stream.
    outstanding: BTreeSet<String>,
    pub(super) relay: Relay,
    relay_wake: Option<Instant>,
    pub(super) shelf: MapShelf,
    pub(super) client: Client,
    asked: VecDeque<DeltaDiscoveryRequest>,
    answers: VecDeque<Response>,
    up: VecDeque<DeltaDiscoveryRequest>,
    down: VecDeque<gatehouse_xds::Response>,
    /// What the controller sent since this was cleared.
    pub(super) sent: Vec<gatehouse_xds::Response>,
    pub(super) from_shelf: usize,
}

pub(super) fn of(kind: ResourceType) -> Kind {
    Kind::ALL[kind.rank()]
}

impl Harness {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            wanted: Bodies::new(),
            committed: Bodies::new(),
            table: Table::default(),
            stream: None,
            doubts: BTreeSet::new(),
            controller_wake: None,
            wants_link: false,
            outstanding: BTreeSet::new(),
            relay: Relay::new(Timing::default(), now),
            relay_wake: None,
            shelf: MapShelf::default(),
            client: Client::new(words),
            asked: VecDeque::new(),
            answers: VecDeque::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            sent: Vec::new(),
            from_shelf: 0,
        }
    }

    /// Listener `l<n>` with table `r<n>`, whose virtual host `h` names cluster `c<n>`.
    pub(super) fn site(&mut self, n: u8, version: &str) {
        let mut put = |kind, name: String, words: String| drop(self.wanted.insert((kind, name), words));
        put(ResourceType::Listener, format!("l{n}"), format!("route:r{n}"));
        put(ResourceType::RouteConfiguration, format!("r{n}"), "vhds".to_owned());
        put(ResourceType::VirtualHost, format!("r{n}/h"), format!("domain:d{n} names:c{n} {version}"));
        put(ResourceType::Cluster, format!("c{n}"), "eds".to_owned());
        put(ResourceType::Endpoint, format!("c{n}"), "here".to_owned());
    }

    pub(super) fn unsite(&mut self, n: u8) {
        let suffix = n.to_string();
        self.wanted.retain(|(_, name), _| name.trim_end_matches("/h")[1..] != suffix);
    }

    /// The difference to what was committed last.
    pub(super) fn commit(&mut self) {
        let (old, new) = (std::mem::replace(&mut self.committed, self.wanted.clone()), self.wanted.clone());
        let mut commit = Commit::default();
        for ((kind, name), words) in &new {
            if old.get(&(*kind, name.clone())) != Some(words) {
                let resource = Resource::new(name.as_str(), format!("v({words})"), words.clone());
                commit.upserts.push((*kind, resource));
            }
        }
        let gone = old.keys().filter(|target| !new.contains_key(*target));
        commit.removals = gone.map(|(kind, name)| (*kind, name.as_str().into())).collect();
        let (before, after) = (edges(&old), edges(&new));
        for (edges, delta) in [(before.difference(&after), -1), (after.difference(&before), 1)] {
            commit.edges.extend(edges.map(|(from, cluster)| Edge {
                from: from.clone(),
                cluster: cluster.as_str().into(),
                delta,
                linger: Duration::from_secs(15),
            }));
        }
        self.table.apply(commit, self.now);
        self.control(None);
    }

    pub(super) fn relay(&mut self, input: Input) {
        let output = self.relay.handle(input, &mut self.shelf, self.now);
        if output.order.is_some() {
            self.unlink();
            self.wants_link = output.order == Some(Order::Connect);
        }
        for request in output.to_controller {
            if !request.response_nonce.is_empty() {
                let known = self.outstanding.remove(&request.response_nonce);
                assert!(known, "{request:?} answers nothing of this stream");
            }
            let bytes = request.encode_to_vec();
            self.up.push_back(DeltaDiscoveryRequest::decode(&bytes[..]).unwrap());
        }
        self.answers.extend(output.to_envoy);
        self.from_shelf += output.from_shelf;
        self.relay_wake = output.wake;
    }

    fn control(&mut self, request: Option<&DeltaDiscoveryRequest>) {
        let Some(stream) = &mut self.stream else { return };
        let input = request.map_or(gatehouse_xds::Input::Wake, gatehouse_xds::Input::Request);
        let output = stream.handle(&input, &self.table, self.now);
        self.controller_wake = output.wake;
        self.outstanding.extend(output.responses.iter().map(|response| response.nonce.clone()));
        self.sent.extend(output.responses.iter().cloned());
        self.down.extend(output.responses);
    }

    /// Envoy opens a stream.
    pub(super) fn open(&mut self) {
        self.asked.clear();
        self.answers.clear();
        self.relay(Input::Opened);
        let requests = self.client.connect();
        self.asked.extend(requests);
    }

    /// Envoy begins anew, with nothing.
    pub(super) fn restart_envoy(&mut self) {
        self.client = Client::new(words);
        self.relay(Input::Closed);
        self.open();
    }

    /// The relay begins anew, with what is on the shelf.
    pub(super) fn restart_agent(&mut self) {
        self.unlink();
        self.relay = Relay::new(Timing::default(), self.now);
        self.open();
    }

    /// A controller answers, one that was started just now if need be.
    pub(super) fn link(&mut self) {
        if !std::mem::take(&mut self.wants_link) {
            return;
        }
        let mut stream = Stream::new(gatehouse_xds::Config::default(), self.now);
        stream.doubt(std::mem::take(&mut self.doubts));
        self.stream = Some(stream);
        self.relay(Input::Connected);
    }

    fn unlink(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.doubts = stream.doubts();
        }
        self.outstanding.clear();
        self.up.clear();
        self.down.clear();
        self.controller_wake = None;
    }

    /// The stream to the controller breaks, or cannot be made.
    pub(super) fn cut(&mut self) {
        if self.stream.is_some() || self.wants_link {
            self.unlink();
            self.wants_link = true;
            self.relay(Input::Lost);
        }
    }

    /// One message moves on one of the four ways.
    pub(super) fn step(&mut self, way: u8) -> bool {
        match way {
            0 => self.asked.pop_front().map(|request| {
                let request = Request::decode(&request.encode_to_vec()[..]).unwrap();
                self.relay(Input::Asked(request));
            }),
            1 => self.up.pop_front().map(|request| self.control(Some(&request))),
            2 => self.down.pop_front().map(|response| {
                let mut bytes = Vec::new();
                gatehouse_xds::encode(&response, &mut bytes);
                self.relay(Input::Answered(Response::decode(&bytes[..]).unwrap()));
            }),
            _ => self.answers.pop_front().map(|response| {
                let response = DeltaDiscoveryResponse::decode(&response.encode_to_vec()[..]).unwrap();
                let requests = self.client.receive(&response);
                self.asked.extend(requests);
            }),
        }
        .is_some()
    }

    /// Delivers everything, without any time passing.
    pub(super) fn drain(&mut self) {
        for _ in 0..100_000 {
            if !(0..4).any(|way| self.step(way)) {
                return;
            }
        }
        panic!("they never stop talking");
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.relay(Input::Woken);
        self.control(None);
    }

    /// Lets time pass until nothing is due any more.
    pub(super) fn rest(&mut self) {
        self.drain();
        for _ in 0..10_000 {
            let Some(at) = [self.relay_wake, self.controller_wake].into_iter().flatten().min() else {
                return;
            };
            self.now = self.now.max(at);
            self.pass(Duration::ZERO);
            self.drain();
        }
        panic!("it never rests");
    }

    pub(super) fn expected(&self, kind: ResourceType) -> BTreeMap<String, String> {
        let asked = self.client.subscribed(of(kind));
        let routes = self.client.subscribed(Kind::Rds);
        let all = self.committed.iter().filter(|((of, name), _)| {
            *of == kind
                && match kind {
                    ResourceType::Cluster | ResourceType::Listener => true,
                    ResourceType::VirtualHost => table_of(name).is_some_and(|table| routes.contains(table)),
                    _ => asked.contains(name),
                }
        });
        all.map(|((_, name), words)| (name.clone(), format!("v({words})"))).collect()
    }

    /// Envoy has what the controller serves, and so has the shelf.
    pub(super) fn assert_synced(&mut self) {
        assert_eq!(self.client.warming(), Vec::<String>::new(), "these would wait for 15 seconds");
        assert_eq!(self.relay.needs(), Vec::<String>::new());
        self.relay.prune(&mut self.shelf);
        for kind in ResourceType::ALL {
            let expected = self.expected(kind);
            assert_eq!(self.client.effective(of(kind)), expected, "{kind:?}");
            let stored = self.shelf.entries.iter().filter_map(|((url, name), (held, _))| match held {
                Held::Version(version) if url == kind.type_url() => {
                    Some((name.to_string(), version.to_string()))
                }
                _ => None,
            });
            assert_eq!(stored.collect::<BTreeMap<_, _>>(), expected, "{kind:?} on the shelf");
        }
    }

    pub(super) fn sent_names(&self) -> Vec<String> {
        let names = self.sent.iter().flat_map(|response| {
            let resources = response.resources.iter().map(|(name, _)| name.to_string());
            resources.chain(response.removed.iter().map(|name| format!("-{name}")))
        });
        names.collect()
    }
}

fn edges(bodies: &Bodies) -> BTreeSet<(Target, String)> {
    let all = bodies.iter().flat_map(|((kind, name), words)| {
        let clusters = words.split_whitespace().filter_map(|word| word.strip_prefix("names:"));
        clusters.map(|cluster| ((*kind, name.as_str().into()), cluster.to_owned()))
    });
    all.collect()
}
