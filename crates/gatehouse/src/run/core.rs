//! The graph thread of `gatehouse run`: owns objects and world, and settles once per burst of changes.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Instant;

use gatehouse_model::FleetKey;
use gatehouse_standalone::files::FileBatch;
use gatehouse_standalone::intake::{FileProblem, Intake};
use gatehouse_translate::StatusChange;
use gatehouse_xds::Event;
use jiff::Timestamp;
use prometheus::{IntGaugeVec, Opts, Registry};
use tokio::sync::mpsc::UnboundedSender;

use crate::inbox::Question;
use crate::load::change;
use crate::plane::Plane;
use crate::print;
use crate::run::ports::HostPorts;
use crate::run::publish::SharedDocument;

/// What wakes the thread.
pub(crate) enum Input {
    /// Files changed.
    Files { batch: FileBatch, initial: bool, seen: Instant },
    /// The xDS server tells of proxies.
    Proxy(Event),
    /// Somebody wants to see inside.
    Dump(Question),
    /// The end.
    Stop,
}

/// Everything that the thread owns.
pub(crate) struct Core {
    plane: Plane,
    ports: HostPorts,
    intake: Intake,
    /// The fleets that should run, sent when they change.
    fleets: UnboundedSender<BTreeSet<FleetKey>>,
    /// Whether any were sent.
    sent: bool,
    document: SharedDocument,
    problems: FileProblems,
    /// Whether all files were read once: before that nothing is served.
    complete: bool,
    reported: Vec<FileProblem>,
}

/// How many problems the files have, as a metric.
pub(crate) struct FileProblems(IntGaugeVec);

impl FileProblems {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = IntGaugeVec::new(
            Opts::new(
                "gatehouse_file_problems",
                "Problems in files, and files whose last good content counts.",
            ),
            &["what"],
        )?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(Self(gauge))
    }

    fn set(&self, problems: usize, stale: usize) {
        for (what, count) in [("problems", problems), ("stale_files", stale)] {
            self.0.with_label_values(&[what]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl Core {
    pub(crate) fn new(
        plane: Plane,
        ports: HostPorts,
        fleets: UnboundedSender<BTreeSet<FleetKey>>,
        document: SharedDocument,
        problems: FileProblems,
    ) -> Self {
        Self {
            plane,
            ports,
            intake: Intake::default(),
            fleets,
            sent: false,
            document,
            problems,
            complete: false,
            reported: Vec::new(),
        }
    }

    /// Runs until told to stop. Bursts coalesce: everything that waits is taken before one settle.
    pub(crate) fn run(mut self, inputs: &mpsc::Receiver<Input>) {
        loop {
            let mut next = match self.ports.quiet_for() {
                None => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(quiet) => inputs.recv_timeout(quiet),
            };
            while let Ok(input) = next {
                if matches!(input, Input::Stop) {
                    return;
                }
                self.take(input);
                next = inputs.try_recv().map_err(|_| RecvTimeoutError::Timeout);
            }
            if matches!(next, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            self.ports.retry(self.plane.world());
            if self.complete {
                self.settle();
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Files { batch, initial, seen } => {
                self.complete |= initial;
                self.files(&batch, seen);
            }
            Input::Proxy(event) => self.plane.proxy(&event),
            Input::Dump(Question { name, answer }) => {
                // Whoever asked may have gone away.
                let _ = answer.send(self.dump(&name));
            }
            Input::Stop => {}
        }
    }

    fn files(&mut self, batch: &FileBatch, seen: Instant) {
        let now = Timestamp::now();
        let changes = self.intake.apply(batch);
        tracing::debug!(files = batch.events.len(), objects = changes.len(), "files changed");
        for object in changes {
            self.document.lock().unwrap_or_else(PoisonError::into_inner).object(&object, now);
            self.plane.change(change(object), seen);
        }
        self.document.touch();
        let problems = self.intake.problems();
        for problem in problems.iter().filter(|problem| !self.reported.contains(problem)) {
            print::error_line(problem);
        }
        if problems.is_empty() && !self.reported.is_empty() {
            tracing::info!("all files are good again");
        }
        self.problems.set(problems.len(), self.intake.stale().count());
        self.reported = problems;
    }

    fn settle(&mut self) {
        // The first set is sent even when empty: Envoys that an earlier run left behind must go.
        let mut changed = !std::mem::replace(&mut self.sent, true);
        loop {
            let settled = self.plane.settle(Instant::now());
            changed |= settled.fleets_changed;
            self.show(&settled.statuses);
            // A Gateway whose ports were not asked about yet has changed nothing.
            if !self.ports.answer(self.plane.world()) {
                break;
            }
        }
        if changed {
            // The receiver ends with the process only.
            let _ = self.fleets.send(self.plane.fleets().clone());
        }
    }

    fn show(&self, statuses: &[StatusChange]) {
        if statuses.is_empty() {
            return;
        }
        let now = Timestamp::now();
        let mut document = self.document.lock().unwrap_or_else(PoisonError::into_inner);
        for status in statuses {
            document.status(status, now);
        }
        drop(document);
        self.document.touch();
    }

    fn dump(&self, name: &str) -> Option<String> {
        match name {
            "stages" => self.plane.stages(),
            "problems" => {
                let problems: Vec<_> = self.reported.iter().map(ToString::to_string).collect();
                serde_json::to_string(&problems).ok()
            }
            _ => None,
        }
    }
}
