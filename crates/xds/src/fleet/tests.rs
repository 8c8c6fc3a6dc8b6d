use std::collections::VecDeque;
use std::time::Instant;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use gatehouse_model::{ResourceType, Target};
use gatehouse_testkit::xds_client::{Client, words};
use prost::Message;

use super::Fleet;
use crate::config::Config;
use crate::event::{FleetId, Notice, What};
use crate::resource::Resource;
use crate::stream::{Input, Stream};
use crate::table::Commit;

/// A fleet with one client.
struct Scene {
    fleet: Fleet,
    stream: Stream,
    client: Client,
    requests: VecDeque<DeltaDiscoveryRequest>,
    now: Instant,
}

impl Scene {
    /// The client holds a virtual host.
    fn new() -> Self {
        let now = Instant::now();
        let mut client = Client::new(words);
        let requests = client.connect().into();
        let stream = Stream::new(Config::default(), now);
        let mut scene = Self { fleet: Fleet::new(FleetId::new("one")), stream, client, requests, now };
        scene.commit(ResourceType::Listener, "l", "route:r");
        scene.commit(ResourceType::RouteConfiguration, "r", "vhds");
        scene.host("good");
        assert_eq!(scene.talk(), [], "nothing is wrong yet");
        scene
    }

    fn commit(&mut self, kind: ResourceType, name: &str, body: &str) -> Vec<What> {
        let resource = Resource::new(name, body, body.to_owned());
        let commit = Commit { upserts: vec![(kind, resource)], ..Commit::default() };
        self.fleet.commit(commit, self.now).1
    }

    fn host(&mut self, body: &str) -> Vec<What> {
        self.commit(ResourceType::VirtualHost, "r/h", body)
    }

    /// Delivers everything; returns what is new.
    fn talk(&mut self) -> Vec<What> {
        let mut news = Vec::new();
        loop {
            let request = self.requests.pop_front();
            let input = request.as_ref().map_or(Input::Wake, Input::Request);
            let (output, more) = self.fleet.handle(1, &mut self.stream, &input, self.now);
            news.extend(more);
            for response in &output.responses {
                let mut bytes = Vec::new();
                crate::codec::encode(response, &mut bytes);
                let response = DeltaDiscoveryResponse::decode(&bytes[..]).expect("our bytes are a response");
                self.requests.extend(self.client.receive(&response));
            }
            if request.is_none() && self.requests.is_empty() {
                return news;
            }
        }
    }
}

fn host() -> Target {
    (ResourceType::VirtualHost, "r/h".into())
}

/// The versions in refusals of the host; nothing else is expected.
fn refused(news: Vec<What>) -> Vec<String> {
    let version = |what| match what {
        What::Resource(Notice::Refused { target, version, message }) if target == host() => {
            assert!(!message.is_empty(), "the client's words");
            version.to_string()
        }
        other => panic!("{other:?}"),
    };
    news.into_iter().map(version).collect()
}

#[test]
fn refusal_is_told_again_when_a_commit_goes_back_to_what_was_refused() {
    let mut scene = Scene::new();
    assert_eq!(refused(scene.host("bad")), [""; 0], "nobody has it yet");
    assert_eq!(refused(scene.talk()), ["bad"]);
    assert_eq!(refused(scene.host("other")), [""; 0]);
    assert_eq!(refused(scene.host("bad")), ["bad"]);
    assert_eq!(refused(scene.host("bad")), [""; 0], "that changes nothing");
    let refusals = scene.client.refused;
    assert_eq!(refused(scene.talk()), [""; 0]);
    assert_eq!(scene.client.refused, refusals, "the bytes are not sent again");
}

#[test]
fn refusal_that_was_cleared_is_told_by_the_client_alone() {
    let mut scene = Scene::new();
    scene.host("bad");
    assert_eq!(refused(scene.talk()), ["bad"]);
    scene.host("other");
    assert_eq!(scene.talk(), [What::Resource(Notice::Cleared { target: host() })]);
    assert_eq!(refused(scene.host("bad")), [""; 0]);
    assert_eq!(refused(scene.talk()), ["bad"]);
}
