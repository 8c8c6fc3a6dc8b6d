//! A world with proxies that answer what it sends: what they refuse depends on nothing but content.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_model::{FleetKey, ResourceType};
use gatehouse_testkit::events::{Answer, POISON};
use gatehouse_translate::{Change, ClusterNews, Config, Resource, WatchState, World};
use serde_json::Value;

use super::{Picture, decode};

/// Their words on everything that they refuse.
const WORDS: &str = "refused";
/// More questions than any search asks.
const ROUNDS: usize = 200;

pub(crate) struct Proxies {
    pub(crate) world: World,
    pub(crate) picture: Picture,
    /// Clusters that were named before they were ready.
    waits: BTreeSet<(FleetKey, Arc<str>)>,
}

impl Proxies {
    pub(crate) fn new(config: Config) -> Self {
        Self { world: World::new(config), picture: Picture::default(), waits: BTreeSet::new() }
    }

    pub(crate) fn settle(&mut self) {
        loop {
            self.picture.absorb(self.world.settle());
            assert_eq!(self.world.take_panics(), []);
            // Pods are told as they come: whoever wants some has them all.
            let wants = self.world.take_pod_wants();
            if wants.is_empty() {
                break;
            }
            for (selection, _) in wants.into_iter().filter(|(_, wanted)| *wanted) {
                self.world.apply(Change::Selected(selection));
            }
        }
        let Self { picture, waits, .. } = self;
        waits.retain(|(fleet, _)| picture.fleets.contains_key(fleet));
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        let picked = |number: usize, among: usize| number.checked_rem(among);
        match answer {
            Answer::Watch(number) => {
                let watches = self.watches();
                let picked = picked(number, watches.len());
                if let Some(at) = picked {
                    self.answer_watch(&watches[at]);
                }
            }
            Answer::Host(number) => {
                let hosts = self.resources(ResourceType::VirtualHost);
                let picked = picked(number, hosts.len());
                if let Some(at) = picked {
                    self.answer_host(&hosts[at]);
                }
            }
            Answer::Waits(number) => {
                let clusters = self.resources(ResourceType::Cluster);
                let Some(at) = picked(number, clusters.len()) else { return };
                let (fleet, cluster) = (clusters[at].0.clone(), clusters[at].1.name.clone());
                self.world.cluster_says(&fleet, &cluster, ClusterNews::Waits(true));
                self.waits.insert((fleet, cluster));
            }
            Answer::Ready(number) => {
                let at = picked(number, self.waits.len());
                let Some(cluster) = at.and_then(|at| self.waits.iter().nth(at)).cloned() else { return };
                self.world.cluster_says(&cluster.0, &cluster.1, ClusterNews::Waits(false));
                self.waits.remove(&cluster);
            }
        }
    }

    /// Says what others were told last and what they did not take back.
    pub(crate) fn repeat(&mut self, others: &Self) {
        for (fleet, cluster) in &others.waits {
            self.world.cluster_says(fleet, cluster, ClusterNews::Waits(true));
        }
        self.waits.clone_from(&others.waits);
    }

    /// Answers everything until nothing new comes.
    pub(crate) fn answer_all(&mut self) {
        for _ in 0..ROUNDS {
            let (hosts, watches) = (self.resources(ResourceType::VirtualHost), self.watches());
            for host in &hosts {
                self.answer_host(host);
            }
            for watch in &watches {
                self.answer_watch(watch);
            }
            self.settle();
            if self.resources(ResourceType::VirtualHost) == hosts && self.watches() == watches {
                let refused = hosts.iter().find(|(_, host)| is_poisoned(&host.body));
                assert!(refused.is_none(), "the search is over, and this is still refused: {refused:?}");
                return;
            }
        }
        panic!("it never ends");
    }

    fn resources(&self, kind: ResourceType) -> Vec<(FleetKey, Resource)> {
        let all = self.picture.fleets.iter();
        let all =
            all.flat_map(|(key, fleet)| fleet.resources.values().map(move |r| (key.clone(), r.clone())));
        all.filter(|(_, resource)| resource.kind == kind).collect()
    }

    fn watches(&self) -> Vec<(gatehouse_translate::WatchKey, Arc<str>)> {
        let all = self.picture.fleets.values().flat_map(|fleet| &fleet.watches);
        all.map(|(key, watch)| (key.clone(), watch.digest.clone())).collect()
    }

    fn answer_host(&mut self, (fleet, host): &(FleetKey, Resource)) {
        if is_poisoned(&host.body) {
            self.world.host_refused(fleet, &host.name, &host.version, &WORDS.into());
        } else {
            self.world.host_acknowledged(fleet, &host.name, &host.version);
        }
    }

    fn answer_watch(&mut self, (key, digest): &(gatehouse_translate::WatchKey, Arc<str>)) {
        let refused = digest.bytes().last().is_some_and(|last| last % 4 == 0);
        let state = if refused { WatchState::Refused(WORDS.into()) } else { WatchState::Held };
        self.world.proxy_says(key.clone(), digest, state);
    }
}

fn is_poisoned(bytes: &[u8]) -> bool {
    bytes.windows(POISON.len()).any(|window| window == POISON.as_bytes())
}

/// Objects with rules that proxies refuse: fleet, virtual host, name.
#[derive(Debug, Default)]
pub(crate) struct Withheld(BTreeSet<(FleetKey, Arc<str>, String)>);

impl Withheld {
    /// What they will refuse of this.
    pub(crate) fn of(picture: &Picture) -> Self {
        let mut found = BTreeSet::new();
        for (fleet, held) in &picture.fleets {
            let hosts = held.resources.values().filter(|r| r.kind == ResourceType::VirtualHost);
            for host in hosts.filter(|host| is_poisoned(&host.body)) {
                let bad = routes(host).into_iter().filter(|route| is_poisoned(route.to_string().as_bytes()));
                found.extend(bad.map(|route| (fleet.clone(), host.name.clone(), origin(&route))));
            }
        }
        Self(found)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some of this virtual host is refused.
    pub(crate) fn is_in(&self, fleet: &FleetKey, host: &str) -> bool {
        self.0.iter().any(|(owner, name, _)| owner == fleet && **name == *host)
    }

    /// The routes of a virtual host that come from objects of which nothing is refused.
    pub(crate) fn rest(&self, fleet: &FleetKey, host: &Resource) -> Vec<Value> {
        let refused = |route: &Value| self.0.contains(&(fleet.clone(), host.name.clone(), origin(route)));
        routes(host).into_iter().filter(|route| !refused(route)).collect()
    }
}

fn routes(host: &Resource) -> Vec<Value> {
    decode(host)["routes"].as_array().cloned().unwrap_or_default()
}

/// The object that it comes from. What stands in for a refused rule may have had another place there.
fn origin(route: &Value) -> String {
    let name = route["name"].as_str().unwrap_or_default();
    name.split("/rule/").next().unwrap_or_default().to_owned()
}
