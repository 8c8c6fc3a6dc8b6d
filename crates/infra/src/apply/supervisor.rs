//! The task that owns everything: who is wanted, what is live, what is to be done when.

mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_model::FleetKey;
use gatehouse_translate::FleetPlan;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::Client;
use super::job::{self, Job, Outcome, Waits};
use super::live::{Id, Live, Store, Watched};
use super::state::observe;
use super::watch::{Seen, Watch};
use super::{ApplierConfig, InfraEvent, WantedChange};
use crate::names::{self, label_value};
use crate::objects::{FleetObjects, Kind, Naming, objects};
use crate::settings::Settings;
use entry::Entry;

pub(super) struct Supervisor {
    client: Client,
    config: ApplierConfig,
    settings: Arc<Settings>,
    events: mpsc::UnboundedSender<InfraEvent>,
    store: Store,
    wanted: BTreeMap<FleetKey, Arc<FleetPlan>>,
    /// Wanted as they are, whether or not there was a plan before.
    kept: BTreeSet<FleetKey>,
    /// Fleets by the namespace and name that their objects have without a hash.
    claims: BTreeMap<(String, String), BTreeSet<FleetKey>>,
    complete: bool,
    entries: BTreeMap<FleetKey, Entry>,
    /// Fleets with work to do, by when; an entry's `due` is its place here.
    queue: BTreeSet<(Instant, FleetKey)>,
    /// Watches that have not listed yet. Nothing is done before: what is live decides.
    unlisted: BTreeSet<(Watched, Option<String>)>,
    complaint: String,
}

impl Supervisor {
    pub(super) fn new(
        client: Client,
        config: ApplierConfig,
        events: mpsc::UnboundedSender<InfraEvent>,
    ) -> Self {
        let namespaces: Vec<Option<String>> = match &config.namespaces {
            None => vec![None],
            Some(namespaces) => namespaces.iter().cloned().map(Some).collect(),
        };
        let unlisted = Watched::all()
            .flat_map(|watched| namespaces.iter().map(move |namespace| (watched, namespace.clone())))
            .collect();
        Self {
            client,
            settings: config.settings.clone(),
            config,
            events,
            store: Store::default(),
            wanted: BTreeMap::new(),
            kept: BTreeSet::new(),
            claims: BTreeMap::new(),
            complete: false,
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            unlisted,
            complaint: String::new(),
        }
    }

    pub(super) async fn run(mut self, mut wanted: mpsc::Receiver<WantedChange>) {
        let (seen, mut sightings) = mpsc::channel(256);
        // Dropped with this task, both end what runs in them.
        let mut watches = JoinSet::new();
        let mut jobs = JoinSet::new();
        for (watched, namespace) in &self.unlisted {
            let watch = Watch {
                client: self.client.clone(),
                watched: *watched,
                namespace: namespace.clone(),
                selector: job::selector(&label_value(&self.settings.controller)),
                seen: seen.clone(),
            };
            watches.spawn(watch.run());
        }
        while !self.events.is_closed() {
            self.launch(&mut jobs);
            let next = self.queue.first().map(|(due, _)| *due);
            // A job that is due but waits for its turn is looked at again when another one ends.
            let idle = jobs.len() < self.config.parallel && self.unlisted.is_empty();
            tokio::select! {
                change = wanted.recv() => match change {
                    Some(change) => self.change(change),
                    None => return,
                },
                Some(sighting) = sightings.recv() => self.see(sighting),
                Some(done) = jobs.join_next(), if !jobs.is_empty() => {
                    let Ok((fleet, outcome)) = done else { continue };
                    self.finish(&fleet, outcome);
                }
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if idle && next.is_some() => {}
            }
        }
    }

    fn change(&mut self, change: WantedChange) {
        let now = Instant::now();
        for (fleet, plan) in change.fleets {
            self.claim(&fleet, plan.as_deref());
            self.kept.remove(&fleet);
            let entry = self.entries.entry(fleet.clone()).or_default();
            entry.rendered = None;
            entry.failures = 0;
            entry.ended = plan.is_none();
            match plan {
                Some(plan) => self.wanted.insert(fleet.clone(), plan),
                None => self.wanted.remove(&fleet),
            };
            self.schedule(&fleet, now);
        }
        for fleet in change.kept {
            self.entries.entry(fleet.clone()).or_default();
            self.kept.insert(fleet.clone());
            self.report(&fleet);
        }
        if let Some(settings) = change.settings {
            self.settings = settings;
            let all: Vec<FleetKey> = self.wanted.keys().cloned().collect();
            for fleet in all {
                self.entries.entry(fleet.clone()).or_default().rendered = None;
                self.schedule(&fleet, now);
            }
        }
        if change.complete && !self.complete {
            self.complete = true;
            self.schedule_leftovers(now);
        }
    }

    fn claim(&mut self, fleet: &FleetKey, plan: Option<&FleetPlan>) {
        let place = |plan: &FleetPlan, settings: &Settings| {
            let namespace = names::namespace(&plan.fleet, settings).to_owned();
            (namespace, names::object_name(plan, settings, Naming::Plain))
        };
        if let Some(old) = self.wanted.get(fleet) {
            let place = place(old, &self.settings);
            if let Some(fleets) = self.claims.get_mut(&place) {
                fleets.remove(fleet);
                if fleets.is_empty() {
                    self.claims.remove(&place);
                }
            }
        }
        if let Some(plan) = plan {
            self.claims.entry(place(plan, &self.settings)).or_default().insert(fleet.clone());
        }
    }

    fn schedule_leftovers(&mut self, now: Instant) {
        if !self.complete || !self.unlisted.is_empty() {
            return;
        }
        let left: Vec<FleetKey> =
            self.store.fleets().filter(|fleet| !self.wanted.contains_key(*fleet)).cloned().collect();
        for fleet in left {
            self.schedule(&fleet, now);
        }
    }

    fn schedule(&mut self, fleet: &FleetKey, due: Instant) {
        let entry = self.entries.entry(fleet.clone()).or_default();
        if let Some(old) = entry.due {
            if old <= due {
                return;
            }
            self.queue.remove(&(old, fleet.clone()));
        }
        entry.due = Some(due);
        self.queue.insert((due, fleet.clone()));
    }

    fn see(&mut self, seen: Seen) {
        let now = Instant::now();
        let (watched, touched) = match seen {
            Seen::Put(id, live) => (id.watched, self.store.put(id, live)),
            Seen::Gone(id, uid) => (id.watched, self.store.remove(&id, &uid)),
            Seen::Listed { watched, namespace, objects } => {
                let ids = objects.iter().map(|(id, _)| id.clone()).collect();
                let mut touched = self.store.retain(watched, namespace.as_deref(), &ids);
                touched.extend(objects.into_iter().flat_map(|(id, live)| self.store.put(id, live)));
                if self.unlisted.remove(&(watched, namespace)) && self.unlisted.is_empty() {
                    self.schedule_leftovers(now);
                }
                (watched, touched)
            }
            Seen::Failed(failure) => {
                let advice = match failure.code {
                    Some(403) => "; pods are made and repaired only when all that is theirs is seen",
                    _ => "",
                };
                self.complain(format!("infrastructure is not watched: {failure}{advice}"));
                return;
            }
        };
        let touched: BTreeSet<FleetKey> = touched.into_iter().collect();
        for fleet in touched {
            if !self.wanted.contains_key(&fleet) && !self.complete && !self.entries.contains_key(&fleet) {
                continue;
            }
            if watched != Watched::Pod {
                let delay = self.entries.entry(fleet.clone()).or_default().repair_delay(now);
                self.schedule(&fleet, now + delay);
            }
            self.report(&fleet);
        }
    }

    /// Logs what is wrong with our rights or the connection, once while it stays the same.
    fn complain(&mut self, complaint: String) {
        if complaint != self.complaint {
            tracing::warn!("{complaint}");
            self.complaint = complaint;
        }
    }

    fn launch(&mut self, jobs: &mut JoinSet<(FleetKey, Outcome)>) {
        if !self.unlisted.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut waiting = Vec::new();
        while jobs.len() < self.config.parallel {
            let Some((due, fleet)) = self.queue.first().cloned().filter(|(due, _)| *due <= now) else {
                break;
            };
            self.queue.pop_first();
            if self.entries.get(&fleet).is_some_and(|entry| entry.running) {
                waiting.push((due, fleet));
                continue;
            }
            if let Some(job) = self.job(&fleet) {
                let entry = self.entries.entry(fleet.clone()).or_default();
                (entry.due, entry.running) = (None, true);
                jobs.spawn(async move { (fleet, job.run().await) });
            } else {
                if let Some(entry) = self.entries.get_mut(&fleet) {
                    entry.due = None;
                }
                self.report(&fleet);
            }
        }
        for (due, fleet) in waiting {
            // Looked at again when its job ends.
            if let Some(entry) = self.entries.get_mut(&fleet) {
                entry.due = None;
                entry.again = Some(due);
            }
        }
    }

    /// The work for a fleet; `None` when there is nothing that may be done.
    fn job(&mut self, fleet: &FleetKey) -> Option<Job> {
        let objects = match self.wanted.get(fleet).cloned() {
            Some(plan) => Some(self.render(fleet, &plan)?),
            None if self.kept.contains(fleet) => return None,
            None if self.complete || self.entries.get(fleet).is_some_and(|entry| entry.ended) => None,
            None => return None,
        };
        let live = self.store.of_fleet(fleet).filter(|(id, _)| id.watched != Watched::Pod);
        let live: BTreeMap<Id, Live> = live.map(|(id, live)| (id.clone(), live.clone())).collect();
        if objects.is_none() && live.is_empty() {
            return None;
        }
        let named = objects.iter().flat_map(|objects| &objects.objects).map(job::id);
        let strangers = named.filter(|id| !live.contains_key(id));
        let strangers = strangers.filter_map(|id| Some((id.clone(), self.store.get(&id)?.clone()))).collect();
        Some(Job {
            client: self.client.clone(),
            fleet: fleet.clone(),
            controller: label_value(&self.settings.controller),
            objects,
            live,
            strangers,
            memory: self.entries.get(fleet).map(|entry| entry.memory.clone()).unwrap_or_default(),
        })
    }

    fn render(&mut self, fleet: &FleetKey, plan: &FleetPlan) -> Option<Arc<FleetObjects>> {
        let known = self.entries.get(fleet).and_then(|entry| entry.rendered.clone());
        let rendered =
            known.unwrap_or_else(|| objects(plan, &self.settings, self.naming(fleet, plan)).map(Arc::new));
        self.entries.entry(fleet.clone()).or_default().rendered = Some(rendered.clone());
        rendered.ok()
    }

    /// Who has the plain name keeps it; of several that are new the first in order gets it.
    fn naming(&self, fleet: &FleetKey, plan: &FleetPlan) -> Naming {
        let namespace = names::namespace(fleet, &self.settings).to_owned();
        let unhashed = names::object_name(plan, &self.settings, Naming::Plain);
        let hashed = names::object_name(plan, &self.settings, Naming::Hashed);
        let holds = |fleet: &FleetKey, name: &str| {
            let mut objects = self.store.of_fleet(fleet).map(|(id, _)| id);
            objects.any(|id| id.watched != Watched::Pod && id.namespace == namespace && id.name == name)
        };
        if holds(fleet, &unhashed) {
            return Naming::Plain;
        }
        if holds(fleet, &hashed) {
            return Naming::Hashed;
        }
        let others = self.claims.get(&(namespace.clone(), unhashed.clone())).into_iter().flatten();
        let taken =
            others.filter(|other| *other != fleet).any(|other| other < fleet || holds(other, &unhashed));
        if taken { Naming::Hashed } else { Naming::Plain }
    }

    fn finish(&mut self, fleet: &FleetKey, outcome: Outcome) {
        let now = Instant::now();
        for (id, answer) in &outcome.applied {
            self.store.put(id.clone(), Live::new(id.watched, answer.clone()));
        }
        // The next attempt asks what there is.
        for id in &outcome.mistaken {
            self.store.remove(id, "");
        }
        if let Some(Waits::Unknown(failure)) = &outcome.waits {
            self.complain(format!("why a Service has no address is not known: {failure}"));
        }
        let again = self.entries.entry(fleet.clone()).or_default().finish(outcome, now);
        if let Some(again) = again {
            self.schedule(fleet, again);
        }
        self.report(fleet);
    }

    fn report(&mut self, fleet: &FleetKey) {
        let Some(entry) = self.entries.get_mut(fleet) else { return };
        if !self.wanted.contains_key(fleet) && !self.kept.contains(fleet) {
            if !entry.running && entry.due.is_none() && self.store.of_fleet(fleet).next().is_none() {
                self.entries.remove(fleet);
            }
            return;
        }
        if !self.unlisted.is_empty() {
            return;
        }
        let rendered = entry.rendered.as_ref().and_then(|rendered| rendered.as_ref().ok());
        let wanted = |id: &Id| rendered.is_none_or(|objects| keeps(objects, id));
        let mut state = observe(self.store.of_fleet(fleet), wanted, entry.balancer.as_deref());
        state.accounts = accounts(rendered, &self.store, fleet, &self.settings);
        entry.amend(&mut state);
        if entry.reported.as_ref() != Some(&state) {
            entry.reported = Some(state.clone());
            // Nobody listens any more: the loop ends.
            let _ = self.events.send(InfraEvent { fleet: fleet.clone(), state });
        }
    }
}

/// Who the pods of a fleet run as. An EnvoyProxy may name any account, and anybody may put our annotations on one: only
/// those count that are both this fleet's own and where and what its objects say.
fn accounts(
    rendered: Option<&Arc<FleetObjects>>,
    store: &Store,
    fleet: &FleetKey,
    settings: &Settings,
) -> Vec<(String, String)> {
    let made = rendered.map(|objects| objects.get(Kind::ServiceAccount).map(job::id));
    let place = names::namespace(fleet, settings);
    let own = store.of_fleet(fleet).map(|(id, _)| id);
    let own = own.filter(|id| id.watched == Watched::Object(Kind::ServiceAccount) && id.namespace == place);
    let own = own.filter(|id| made.as_ref().is_none_or(|made| made.as_ref() == Some(*id)));
    own.map(|id| (id.namespace.clone(), id.name.clone())).collect()
}

fn keeps(objects: &FleetObjects, id: &Id) -> bool {
    let kept = |kind: &Kind| id.watched == Watched::Object(*kind);
    objects.kept.iter().any(kept) || objects.objects.iter().any(|object| job::id(object) == *id)
}
