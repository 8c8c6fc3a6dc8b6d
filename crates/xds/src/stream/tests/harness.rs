//! A stream and a client with a wire between them that can be slow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use gatehouse_model::ResourceType;
use gatehouse_testkit::xds_client::{Client, Kind, words};
use prost::Message;

use crate::config::Config;
use crate::event::Notice;
use crate::stream::{Holding, Input, Response, Stream};
use crate::table::{Commit, Table};

pub(super) struct Harness {
    pub(super) table: Table,
    pub(super) stream: Stream,
    pub(super) client: Client,
    pub(super) now: Instant,
    pub(super) to_server: VecDeque<DeltaDiscoveryRequest>,
    pub(super) to_client: VecDeque<Response>,
    pub(super) notices: Vec<Notice>,
    pub(super) holdings: Vec<Holding>,
    /// Everything sent on this stream.
    pub(super) sent: Vec<Response>,
    pub(super) wake: Option<Instant>,
}

pub(super) fn kind(of: ResourceType) -> Kind {
    Kind::ALL[of.rank()]
}

/// The response as a client decodes it from our bytes.
pub(super) fn decoded(response: &Response) -> DeltaDiscoveryResponse {
    let mut bytes = Vec::new();
    crate::codec::encode(response, &mut bytes);
    assert_eq!(bytes.len(), crate::codec::encoded_len(response), "the length is known before");
    DeltaDiscoveryResponse::decode(&bytes[..]).expect("our bytes are a response")
}

impl Harness {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let mut harness = Self {
            table: Table::default(),
            stream: Stream::new(Config::default(), now),
            client: Client::new(words),
            now,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            notices: Vec::new(),
            holdings: Vec::new(),
            sent: Vec::new(),
            wake: None,
        };
        harness.to_server.extend(harness.client.connect());
        harness
    }

    pub(super) fn commit(&mut self, commit: Commit) {
        self.table.apply(commit, self.now);
        self.handle(&Input::Wake);
    }

    fn handle(&mut self, input: &Input<'_>) {
        let output = self.stream.handle(input, &self.table, self.now);
        self.notices.extend(output.notices);
        self.holdings.extend(output.holdings);
        self.sent.extend(output.responses.iter().cloned());
        self.to_client.extend(output.responses);
        self.wake = output.wake;
    }

    /// One request arrives at the server.
    pub(super) fn serve(&mut self) -> bool {
        let Some(request) = self.to_server.pop_front() else { return false };
        self.handle(&Input::Request(&request));
        true
    }

    /// One response arrives at the client.
    pub(super) fn receive(&mut self) -> bool {
        let Some(response) = self.to_client.pop_front() else { return false };
        self.to_server.extend(self.client.receive(&decoded(&response)));
        true
    }

    /// Delivers everything, without any time passing.
    pub(super) fn drain(&mut self) {
        for _ in 0..100_000 {
            if !self.serve() && !self.receive() {
                return;
            }
        }
        panic!("the two never stop talking");
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.handle(&Input::Wake);
    }

    /// Lets time pass from one wake-up to the next until nothing is due any more.
    pub(super) fn rest(&mut self) {
        self.drain();
        for _ in 0..10_000 {
            let Some(at) = self.wake else { return };
            self.now = self.now.max(at);
            self.handle(&Input::Wake);
            self.drain();
        }
        panic!("the stream never rests");
    }

    pub(super) fn reconnect(&mut self) {
        let doubts = self.stream.doubts();
        self.stream = Stream::new(Config::default(), self.now);
        self.stream.doubt(doubts);
        self.sent.clear();
        self.to_client.clear();
        self.to_server.clear();
        self.to_server.extend(self.client.connect());
    }

    /// Names in responses of a type since the stream began, in order.
    pub(super) fn names_sent(&self, of: ResourceType) -> Vec<String> {
        let responses = self.sent.iter().filter(|response| response.kind == of);
        responses.flat_map(|response| response.resources.iter().map(|(name, _)| name.to_string())).collect()
    }

    pub(super) fn names_removed(&self, of: ResourceType) -> Vec<String> {
        let responses = self.sent.iter().filter(|response| response.kind == of);
        responses.flat_map(|response| response.removed.iter().map(ToString::to_string)).collect()
    }

    /// What the client should have: everything of the wildcard types, the rest as far as it asked for it.
    pub(super) fn expected(&self, of: ResourceType) -> BTreeMap<String, String> {
        let asked = self.client.subscribed(kind(of));
        let routes = self.client.subscribed(Kind::Rds);
        let all = self.table.resources(of).filter(|resource| match of {
            ResourceType::Cluster | ResourceType::Listener => true,
            ResourceType::VirtualHost => {
                crate::resource::table_of(&resource.name).is_some_and(|table| routes.contains(table))
            }
            _ => asked.contains(&*resource.name),
        });
        all.map(|resource| (resource.name.to_string(), resource.version.to_string())).collect()
    }

    /// The client has the table, and nothing waits.
    pub(super) fn assert_synced(&self) {
        assert_eq!(self.client.warming(), Vec::<String>::new(), "these would wait for 15 seconds");
        assert!(self.stream.gates.late().is_empty(), "{:?}", self.stream.gates.late());
        for of in ResourceType::ALL {
            assert_eq!(self.client.effective(kind(of)), self.expected(of), "{of:?}");
        }
        for of in ResourceType::ALL {
            assert!(
                self.stream.settled(&[of], self.table.seq()),
                "{of:?} owes: {:?}",
                self.stream.unsettled[of]
            );
            assert!(
                self.stream.subs[of].queue.pending.is_empty(),
                "{of:?}: {:?}",
                self.stream.subs[of].queue
            );
        }
    }

    /// Nothing named a cluster that could not be used, except what the gate let go after its deadline.
    pub(super) fn assert_unbroken(&self) {
        let expired: BTreeSet<(Kind, String)> = self
            .notices
            .iter()
            .filter_map(|notice| match notice {
                Notice::GateExpired { target, .. } => Some((kind(target.0), target.1.to_string())),
                _ => None,
            })
            .collect();
        let broken: Vec<_> = self
            .client
            .violations
            .iter()
            .filter(|violation| !expired.contains(&(violation.kind, violation.name.clone())))
            .collect();
        assert!(broken.is_empty(), "named before warm: {broken:?}");
    }
}
