//! The graph thread of `gatehouse controller`.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use gatehouse_infra::InfraEvent;
use gatehouse_kube::events::Events;
use gatehouse_kube::source::{SourceEvent, SourceHandle};
use gatehouse_kube::status::StatusWriter;
use gatehouse_model::{FleetKey, NamespacedName};
use gatehouse_translate::FleetPlan;
use gatehouse_xds::{Event, What};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::admission::Accounts;
use super::hearing::Hearing;
use super::notes::note;
use super::patience::Patience;
use crate::inbox::Question;
use crate::plane::{Plane, Settled, fleet_key};

/// What wakes the thread.
pub(crate) enum Input {
    /// The cluster changed.
    Source(SourceEvent),
    /// The xDS server tells of proxies.
    Proxy(Event),
    /// A fleet's pods are in another state.
    Infra(InfraEvent),
    /// We lead from now on, or no longer.
    Term {
        /// Which of both.
        leads: bool,
    },
    /// Somebody wants to see inside.
    Dump(Question),
    /// The end.
    Stop,
}

/// Plans that changed, for whoever makes the pods.
#[derive(Debug, Default)]
pub(crate) struct PlanNews {
    /// New or changed plans; `None` leaves alone what stands.
    pub(crate) plans: Vec<(FleetKey, Option<Arc<FleetPlan>>)>,
    /// Fleets that are no more.
    pub(crate) removed: Vec<FleetKey>,
}

/// Where the thread's outputs go.
pub(crate) struct Sinks {
    pub(crate) source: SourceHandle,
    pub(crate) statuses: StatusWriter,
    pub(crate) events: Events,
    pub(crate) plans: UnboundedSender<PlanNews>,
    pub(crate) accounts: Accounts,
    /// Turns true when the first complete snapshot is committed.
    pub(crate) committed: watch::Sender<bool>,
    /// The last question that the source answered, once what it told is committed.
    pub(crate) caught_up: watch::Sender<u64>,
    /// True while we lead and the proxies have told what they refuse.
    pub(crate) heard: watch::Sender<bool>,
}

/// Everything that the thread owns.
pub(crate) struct Core {
    plane: Plane,
    sinks: Sinks,
    /// Whether everything that is watched was listed once: before that nothing is served.
    synced: bool,
    /// What the source answered, until that is committed.
    answered: Option<u64>,
    patience: Patience,
    hearing: Hearing,
}

impl Core {
    pub(crate) fn new(plane: Plane, sinks: Sinks) -> Self {
        let (patience, hearing) = (Patience::default(), Hearing::default());
        Self { plane, sinks, synced: false, answered: None, patience, hearing }
    }

    /// Runs until told to stop. Bursts coalesce: everything that waits is taken before one settle.
    pub(crate) fn run(mut self, inputs: &mpsc::Receiver<Input>) {
        loop {
            let mut next = match self.next(inputs) {
                Ok(input) => Some(input),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            while let Some(input) = next {
                if matches!(input, Input::Stop) {
                    return;
                }
                self.take(input);
                next = inputs.try_recv().ok();
            }
            if self.synced {
                self.settle();
            }
        }
    }

    fn next(&self, inputs: &mpsc::Receiver<Input>) -> Result<Input, mpsc::RecvTimeoutError> {
        let times = [self.plane.wake_at(), self.patience.ends_at(), self.hearing.wake_at()];
        match times.into_iter().flatten().min() {
            Some(at) => inputs.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => inputs.recv().map_err(|mpsc::RecvError| mpsc::RecvTimeoutError::Disconnected),
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Source(SourceEvent::Changes(changes)) => {
                let seen = Instant::now();
                for change in changes {
                    self.plane.change(change, seen);
                }
            }
            Input::Source(SourceEvent::Synced) => self.synced = true,
            Input::Source(SourceEvent::CaughtUp(question)) => self.answered = Some(question),
            Input::Proxy(event) => {
                if let (What::Streams { connected }, Some(fleet)) = (&event.what, fleet_key(&event.fleet)) {
                    self.hearing.streams(&fleet, *connected);
                }
                self.plane.proxy(&event);
            }
            Input::Term { leads: true } => self.hearing.begin(Instant::now()),
            Input::Term { leads: false } => {
                self.hearing.end();
                self.sinks.heard.send_replace(false);
            }
            Input::Infra(event) => self.infra(event),
            Input::Dump(Question { name, answer }) => {
                let dump = (name == "stages").then(|| self.plane.stages()).flatten();
                // Whoever asked may have gone away.
                let _ = answer.send(dump);
            }
            Input::Stop => {}
        }
    }

    fn infra(&mut self, InfraEvent { fleet, state }: InfraEvent) {
        let accounts = state.accounts.iter();
        let accounts =
            accounts.map(|(namespace, name)| NamespacedName::new(namespace.as_str(), name.as_str()));
        self.sinks.accounts.set(&fleet, accounts.collect());
        self.hearing.ready(&fleet, state.ready_replicas > 0);
        let state = self.patience.hear(&fleet, state.fleet_state(), Instant::now());
        self.plane.world().fleet_is(&fleet, state);
    }

    fn settle(&mut self) {
        let now = Instant::now();
        for (fleet, state) in self.patience.lost(now) {
            self.plane.world().fleet_is(&fleet, state);
        }
        loop {
            let settled = self.plane.settle(now);
            self.hand_out(settled);
            // A Gateway whose ports were not asked about yet has changed nothing.
            if !self.answer_ports() {
                break;
            }
        }
        let wanting = self.hand_out_wants();
        if let Some(question) = self.answered.take() {
            if wanting {
                // What is not known yet is held at its old value: that is not caught up.
                self.sinks.source.catch_up(question);
            } else {
                self.sinks.caught_up.send_replace(question);
            }
        }
        let plane = &self.plane;
        if self.hearing.look(plane.fleets().iter(), |fleet| plane.awaits_answers(fleet), now) {
            self.sinks.heard.send_replace(true);
        }
        if self.plane.wake_at().is_none() {
            self.sinks.committed.send_if_modified(|committed| !std::mem::replace(committed, true));
        }
    }

    /// Returns whether there was something to want.
    fn hand_out_wants(&mut self) -> bool {
        let world = self.plane.world();
        let (secrets, config_maps) = (world.take_secret_wants(), world.take_config_map_wants());
        let pods = world.take_pod_wants();
        let wanting = !secrets.is_empty() || !config_maps.is_empty() || !pods.is_empty();
        if !secrets.is_empty() {
            self.sinks.source.want_secrets(secrets);
        }
        if !config_maps.is_empty() {
            self.sinks.source.want_config_maps(config_maps);
        }
        if !pods.is_empty() {
            self.sinks.source.want_pods(pods);
        }
        wanting
    }

    fn hand_out(&mut self, settled: Settled) {
        let Settled { statuses, plans, removed_fleets, .. } = settled;
        for status in statuses {
            for note in note(&status) {
                self.sinks.events.record(note);
            }
            self.sinks.statuses.write(status);
        }
        if !plans.is_empty() || !removed_fleets.is_empty() {
            for fleet in &removed_fleets {
                self.patience.forget(fleet);
                self.hearing.forget(fleet);
                self.sinks.accounts.remove(fleet);
            }
            // The receiver ends with the process only.
            let _ = self.sinks.plans.send(PlanNews { plans, removed: removed_fleets });
        }
    }

    /// Answers which ports can be had: all but the pods' own. Returns whether there was a question.
    fn answer_ports(&mut self) -> bool {
        let wants = self.plane.world().take_port_wants();
        let asked: Vec<_> = wants.into_iter().filter(|(_, wanted)| *wanted).map(|(port, _)| port).collect();
        for port in &asked {
            let why = gatehouse_infra::port_refusal(port.port).map(Arc::from);
            self.plane.world().port_asked(port.clone(), why);
        }
        !asked.is_empty()
    }
}
