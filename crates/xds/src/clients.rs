//! What the connected proxies of one fleet say, brought together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_model::{ResourceType, Target};

use crate::event::{Notice, What};
use crate::resource::Resource;
use crate::stream::Holding;
use crate::table::Table;

/// Tells the streams of a server apart.
pub(crate) type StreamId = u64;

/// The clients of one fleet.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    connected: BTreeSet<StreamId>,
    /// Who refuses what, with version and message.
    refused: BTreeMap<Target, BTreeMap<StreamId, (Arc<str>, String)>>,
    watches: BTreeMap<u64, Holders>,
    /// Who was sent something that names a cluster which is not warm there.
    late: BTreeMap<Arc<str>, BTreeSet<StreamId>>,
}

#[derive(Debug, Default)]
struct Holders {
    generation: u64,
    streams: BTreeSet<StreamId>,
    /// What was told last: whether it is held, and why it is refused.
    told: (bool, Option<String>),
}

impl Clients {
    pub(crate) fn connect(&mut self, stream: StreamId) -> Vec<What> {
        self.connected.insert(stream);
        vec![What::Streams { connected: self.connected.len() }]
    }

    pub(crate) fn disconnect(&mut self, stream: StreamId, table: &Table) -> Vec<What> {
        self.connected.remove(&stream);
        let mut news = vec![What::Streams { connected: self.connected.len() }];
        let refused = self.refused.iter().filter(|(_, by)| by.contains_key(&stream));
        let targets: Vec<Target> = refused.map(|(target, _)| target.clone()).collect();
        for target in targets {
            self.cleared(stream, &target, table, &mut news);
        }
        let late = self.late.iter().filter(|(_, by)| by.contains(&stream));
        let clusters: Vec<_> = late.map(|(cluster, _)| cluster.clone()).collect();
        for cluster in clusters {
            self.warmed(stream, &cluster, &mut news);
        }
        let holding = self.watches.iter().filter(|(_, holders)| holders.streams.contains(&stream));
        let ids: Vec<u64> = holding.map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(holders) = self.watches.get_mut(&id) {
                holders.streams.remove(&stream);
            }
            self.tell(id, table, &mut news);
        }
        news
    }

    /// The watches changed: what is known about their old needs is void.
    pub(crate) fn committed(&mut self, changed: BTreeSet<u64>, table: &Table) -> Vec<What> {
        let mut news = Vec::new();
        for id in changed {
            let Some(generation) = table.watches.generation(id) else {
                self.watches.remove(&id);
                continue;
            };
            let holders = self.watches.entry(id).or_default();
            if holders.generation != generation {
                holders.generation = generation;
                holders.streams.clear();
                self.tell(id, table, &mut news);
            }
        }
        news
    }

    /// Keeps who refuses what, and passes on what is new for the fleet.
    pub(crate) fn noticed(&mut self, stream: StreamId, notices: Vec<Notice>, table: &Table) -> Vec<What> {
        let mut news = Vec::new();
        for notice in notices {
            match &notice {
                Notice::GateExpired { clusters, .. } => {
                    for cluster in clusters {
                        self.late.entry(cluster.clone()).or_default().insert(stream);
                    }
                    news.push(What::Resource(notice));
                }
                Notice::Warmed { cluster } => self.warmed(stream, cluster, &mut news),
                Notice::Refused { target, version, message } => {
                    let target = target.clone();
                    let by = self.refused.entry(target.clone()).or_default();
                    let fresh = !by.values().any(|(v, m)| v == version && m == message);
                    by.insert(stream, (version.clone(), message.clone()));
                    if fresh {
                        news.push(What::Resource(notice));
                    }
                    self.tell_watches_of(&target, table, &mut news);
                }
                Notice::Cleared { target } => self.cleared(stream, target, table, &mut news),
            }
        }
        news
    }

    /// Refusals of what a change brings back. A stream sends no bytes again that its client refused, so nobody would hear
    /// of them once more. `table` is the one before the change.
    pub(crate) fn refusals_again(&self, upserts: &[(ResourceType, Resource)], table: &Table) -> Vec<What> {
        if self.refused.is_empty() {
            return Vec::new();
        }
        let again = upserts.iter().filter_map(|(kind, Resource { name, version, .. })| {
            let target = (*kind, name.clone());
            let mut by = self.refused.get(&target)?.values();
            let (_, message) = by.find(|(refused, _)| refused == version)?;
            let back = table.get(*kind, name).is_none_or(|old| old.version != *version);
            let (version, message) = (version.clone(), message.clone());
            back.then_some(What::Resource(Notice::Refused { target, version, message }))
        });
        again.collect()
    }

    /// Keeps who holds what; answers about an older generation of a watch are void.
    pub(crate) fn holds(&mut self, stream: StreamId, holdings: Vec<Holding>, table: &Table) -> Vec<What> {
        let mut news = Vec::new();
        for Holding { watch, generation, held } in holdings {
            let holders = self.watches.entry(watch).or_default();
            if holders.generation == generation {
                if held {
                    holders.streams.insert(stream);
                } else {
                    holders.streams.remove(&stream);
                }
                self.tell(watch, table, &mut news);
            }
        }
        news
    }

    fn cleared(&mut self, stream: StreamId, target: &Target, table: &Table, news: &mut Vec<What>) {
        let Some(by) = self.refused.get_mut(target) else { return };
        by.remove(&stream);
        if by.is_empty() {
            self.refused.remove(target);
            news.push(What::Resource(Notice::Cleared { target: target.clone() }));
        }
        self.tell_watches_of(target, table, news);
    }

    fn warmed(&mut self, stream: StreamId, cluster: &Arc<str>, news: &mut Vec<What>) {
        let Some(by) = self.late.get_mut(cluster) else { return };
        by.remove(&stream);
        if by.is_empty() {
            self.late.remove(cluster);
            news.push(What::Resource(Notice::Warmed { cluster: cluster.clone() }));
        }
    }

    fn tell_watches_of(&mut self, target: &Target, table: &Table, news: &mut Vec<What>) {
        for id in table.watches.of(target) {
            self.tell(id, table, news);
        }
    }

    fn tell(&mut self, watch: u64, table: &Table, news: &mut Vec<What>) {
        let refused = self.refusal(watch, table);
        let Some(holders) = self.watches.get_mut(&watch) else { return };
        let now = (!holders.streams.is_empty(), refused.clone());
        if holders.told != now {
            holders.told = now;
            news.push(What::Held { watch, holders: holders.streams.len(), refused });
        }
    }

    /// Why one of the needs of a watch is refused; refusals are few.
    fn refusal(&self, watch: u64, table: &Table) -> Option<String> {
        let mut matching = self.refused.iter().filter_map(|(target, by)| {
            let needed = table.watches.version(watch, target)?;
            by.values().find(|(version, _)| version == needed)
        });
        matching.next().map(|(_, message)| message.clone())
    }
}

#[cfg(test)]
mod tests;
