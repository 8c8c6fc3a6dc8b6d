//! The task that keeps one Envoy of a fleet running.
//!
//! ```text
//!            launch            ready                 bootstrap changed
//! Idle ---------------> Starting ------> Ready ---------------------------> serving (until the next is Ready)
//!   ^  Waiting <---- crash ---+-------- crash                                   |
//!   |    |  back-off over: launch                                               v
//!   +----+---- fleet absent: everything drains --------------------------> draining --> ended
//! ```

use std::{collections::BTreeMap, fs, future, path::PathBuf, process::ExitStatus, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use gatehouse_envoy_admin::Drain;

use super::{
    backoff::Backoff,
    binary::EnvoyBinary,
    error::EnvoyError,
    event::{EnvoyEvent, EnvoyEventKind},
    generation::{Generation, Identity, describe},
    log::Log,
    state::private_dir,
    supervisor::FleetSpec,
};
use crate::status_file::write_atomically;

/// How often the log's size is looked at.
const LOG_CHECK: Duration = Duration::from_secs(5);
/// An Envoy that is not ready by then is reported.
const SLOW: Duration = Duration::from_secs(10);

/// What the fleet is to be.
#[derive(Debug, Clone)]
pub(super) enum Desired {
    Run(Arc<FleetSpec>),
    /// No such fleet: what runs is drained.
    Absent,
    /// All ends, and then the task.
    Stop(Drain),
    /// The task ends, Envoy runs on.
    Detach,
}

/// The state of a fleet's Envoy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FleetState {
    /// What it does.
    pub phase: Phase,
    /// The generation that serves or is to serve; 0 before the first.
    pub generation: u32,
    /// Its process, if there is one.
    pub pid: Option<u32>,
    /// Its admin interface, if there is one.
    pub admin_socket: Option<PathBuf>,
    /// Older generations that serve until this one is ready, or drain.
    pub older: usize,
}

/// What the newest Envoy of a fleet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// There is none, as none is wanted.
    #[default]
    Absent,
    /// It runs and is not ready yet.
    Starting,
    /// It serves.
    Ready,
    /// It crashed and will be started again.
    Restarting,
}

/// What all generations of a fleet share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) name: String,
    pub(super) dir: PathBuf,
    pub(super) binary: EnvoyBinary,
    pub(super) replaced: Drain,
    pub(super) log: Log,
    pub(super) events: mpsc::UnboundedSender<EnvoyEvent>,
}

impl Context {
    fn tell(&self, generation: u32, kind: EnvoyEventKind) {
        // Nobody needs to listen.
        let _ = self.events.send(EnvoyEvent { fleet: self.name.clone(), generation, kind });
    }
}

/// The newest generation.
#[derive(Debug)]
enum Target {
    Idle,
    Waiting { until: Instant },
    Starting { generation: Arc<Generation>, told_slow: bool },
    Ready { generation: Arc<Generation> },
}

/// What happened to the target.
#[derive(Clone, Copy)]
enum Step {
    Retry,
    Ready,
    Slow,
    Exited(Option<ExitStatus>),
}

impl Target {
    fn generation(&self) -> Option<&Arc<Generation>> {
        match self {
            Self::Starting { generation, .. } | Self::Ready { generation } => Some(generation),
            Self::Idle | Self::Waiting { .. } => None,
        }
    }

    /// Waits for the next step; may be dropped at any time.
    async fn next(&self) -> Step {
        match self {
            Self::Idle => future::pending().await,
            Self::Waiting { until } => {
                sleep_until(*until).await;
                Step::Retry
            }
            Self::Starting { generation, told_slow } => tokio::select! {
                status = generation.process.exited() => Step::Exited(status),
                () = generation.ready() => Step::Ready,
                () = sleep_until(generation.begun + SLOW), if !told_slow => Step::Slow,
            },
            Self::Ready { generation } => Step::Exited(generation.process.exited().await),
        }
    }
}

/// The state of the task.
pub(super) struct Fleet {
    context: Arc<Context>,
    desired: watch::Receiver<Desired>,
    state: watch::Sender<FleetState>,
    target: Target,
    /// What `target` runs or is to run.
    identity: Option<Identity>,
    /// The highest number given to a generation.
    number: u32,
    backoff: Backoff,
    /// Older generations that serve until the target is ready.
    serving: Vec<Arc<Generation>>,
    /// Generations whose drain is a task of `drains`, by number.
    draining: BTreeMap<u32, Arc<Generation>>,
    drains: JoinSet<u32>,
}

impl Fleet {
    pub(super) fn new(
        context: Context,
        desired: watch::Receiver<Desired>,
        state: watch::Sender<FleetState>,
    ) -> Self {
        Self {
            context: Arc::new(context),
            desired,
            state,
            target: Target::Idle,
            identity: None,
            number: 0,
            backoff: Backoff::default(),
            serving: Vec::new(),
            draining: BTreeMap::new(),
            drains: JoinSet::new(),
        }
    }

    /// Runs until stopped, detached, or until nobody can desire anything any more, which is as detached.
    pub(super) async fn run(mut self) {
        let mut log_check = interval(LOG_CHECK);
        log_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.find();
        loop {
            let desired = self.desired.borrow_and_update().clone();
            match desired {
                Desired::Run(spec) => self.keep(&spec).await,
                Desired::Absent => self.leave(),
                Desired::Stop(drain) => return self.stop(drain).await,
                Desired::Detach => return,
            }
            self.publish();
            tokio::select! {
                changed = self.desired.changed() => if changed.is_err() { return },
                step = self.target.next() => self.advance(step),
                Some(done) = self.drains.join_next() => if let Ok(number) = done { self.draining.remove(&number); },
                _ = log_check.tick() => self.check_log(),
            }
        }
    }

    /// Finds what an earlier gatehouse left running. It serves until the target is ready, or becomes the target.
    fn find(&mut self) {
        let (running, highest) = Generation::find_all(&self.context.dir);
        self.number = highest;
        self.serving = running.into_iter().map(Arc::new).collect();
    }

    /// Makes the target run `spec`.
    async fn keep(&mut self, spec: &FleetSpec) {
        let wanted = Identity::of(spec, &self.context.binary);
        if self.identity == Some(wanted) && !matches!(self.target, Target::Idle) {
            return;
        }
        self.retire_target();
        // An earlier gatehouse may have started it; and a change that never became ready may be reverted.
        if !self.take_back(wanted).await {
            self.identity = Some(wanted);
            self.backoff.reset();
            self.launch(spec);
        }
    }

    /// Makes the newest serving generation that is the wanted one the target.
    async fn take_back(&mut self, wanted: Identity) -> bool {
        for at in (0..self.serving.len()).rev() {
            let generation = &self.serving[at];
            if generation.identity != Some(wanted) {
                continue;
            }
            // One that drains, or does not answer, cannot serve again.
            let state = generation.admin.server_state().await.unwrap_or_default();
            if !["LIVE", "INITIALIZING", "PRE_INITIALIZING"].contains(&state.as_str()) {
                continue;
            }
            let generation = self.serving.remove(at);
            self.context.tell(generation.number, EnvoyEventKind::TakenOver { pid: generation.pid() });
            self.identity = Some(wanted);
            self.target = Target::Starting { generation, told_slow: false };
            if state == "LIVE" {
                self.advance(Step::Ready);
            }
            return true;
        }
        false
    }

    fn retire_target(&mut self) {
        match std::mem::replace(&mut self.target, Target::Idle) {
            Target::Ready { generation } => self.serving.push(generation),
            // It serves nobody yet.
            Target::Starting { generation, .. } => self.drain(generation, None),
            Target::Idle | Target::Waiting { .. } => {}
        }
    }

    fn launch(&mut self, spec: &FleetSpec) {
        self.number += 1;
        let context = &self.context;
        let started = self
            .name_dir()
            .and_then(|()| Generation::start(&context.dir, self.number, spec, &context.binary, &context.log));
        self.target = match started {
            Ok(generation) => {
                context.tell(generation.number, EnvoyEventKind::Started { pid: generation.pid() });
                Target::Starting { generation: Arc::new(generation), told_slow: false }
            }
            Err(error) => {
                let retry_in = self.backoff.after(Duration::ZERO);
                context.tell(self.number, EnvoyEventKind::NotStarted { why: error.to_string(), retry_in });
                Target::Waiting { until: Instant::now() + retry_in }
            }
        };
    }

    /// A later gatehouse finds the fleet by this name.
    fn name_dir(&self) -> Result<(), EnvoyError> {
        let Context { dir, name, .. } = &*self.context;
        private_dir(dir)?;
        let path = dir.join("name");
        write_atomically(&path, name.as_bytes()).map_err(EnvoyError::file("write", path))
    }

    fn advance(&mut self, step: Step) {
        match step {
            Step::Retry => {
                let desired = self.desired.borrow().clone();
                if let Desired::Run(spec) = desired {
                    self.launch(&spec);
                }
            }
            Step::Ready => {
                if let Target::Starting { generation, .. } = std::mem::replace(&mut self.target, Target::Idle)
                {
                    self.context.tell(generation.number, EnvoyEventKind::Ready);
                    self.target = Target::Ready { generation };
                }
                for generation in std::mem::take(&mut self.serving) {
                    self.drain(generation, Some(self.context.replaced));
                }
            }
            Step::Slow => {
                if let Target::Starting { generation, told_slow } = &mut self.target {
                    *told_slow = true;
                    self.context.tell(generation.number, EnvoyEventKind::Slow { after: SLOW });
                }
            }
            Step::Exited(status) => self.crashed(status),
        }
    }

    fn crashed(&mut self, status: Option<ExitStatus>) {
        let Some(generation) = self.target.generation() else { return };
        let retry_in = self.backoff.after(generation.begun.elapsed());
        let (how, log) = (describe(status), self.context.log.tail());
        self.context.tell(generation.number, EnvoyEventKind::Crashed { how, log, retry_in });
        generation.forget();
        self.target = Target::Waiting { until: Instant::now() + retry_in };
    }

    /// Drains everything; the name goes with the last process.
    fn leave(&mut self) {
        self.retire_target();
        self.identity = None;
        for generation in std::mem::take(&mut self.serving) {
            self.drain(generation, Some(self.context.replaced));
        }
        if self.draining.is_empty() {
            // Absent already when the fleet never ran, or left before.
            let _ = fs::remove_file(self.context.dir.join("name"));
        }
    }

    fn drain(&mut self, generation: Arc<Generation>, drain: Option<Drain>) {
        self.draining.insert(generation.number, generation.clone());
        let context = self.context.clone();
        self.drains.spawn(async move {
            end(&context, &generation, drain).await;
            generation.number
        });
    }

    /// Ends every generation within the deadline of `drain`; drains under way start anew with it.
    async fn stop(mut self, drain: Drain) {
        self.drains.shutdown().await;
        let starting = matches!(self.target, Target::Starting { .. });
        let mut ends = JoinSet::new();
        let target = self.target.generation().cloned().map(|target| (target, (!starting).then_some(drain)));
        let older = self.serving.drain(..).chain(std::mem::take(&mut self.draining).into_values());
        for (generation, drain) in older.map(|older| (older, Some(drain))).chain(target) {
            let context = self.context.clone();
            ends.spawn(async move { end(&context, &generation, drain).await });
        }
        ends.join_all().await;
        self.target = Target::Idle;
        self.leave();
        self.publish();
    }

    fn check_log(&self) {
        if let Err(error) = self.context.log.bound() {
            tracing::warn!("bound {}: {error}", self.context.log.path().display());
        }
    }

    fn publish(&self) {
        let generation = self.target.generation();
        let state = FleetState {
            phase: match &self.target {
                Target::Idle => Phase::Absent,
                Target::Waiting { .. } => Phase::Restarting,
                Target::Starting { .. } => Phase::Starting,
                Target::Ready { .. } => Phase::Ready,
            },
            generation: generation.map_or(self.number, |generation| generation.number),
            pid: generation.map(|generation| generation.pid()),
            admin_socket: generation.map(|generation| generation.admin_socket.clone()),
            older: self.serving.len() + self.draining.len(),
        };
        self.state.send_if_modified(|published| {
            let changed = *published != state;
            *published = state;
            changed
        });
    }
}

async fn end(context: &Context, generation: &Generation, drain: Option<Drain>) {
    context.tell(generation.number, EnvoyEventKind::Draining);
    generation.end(drain).await;
    context.tell(generation.number, EnvoyEventKind::Ended);
}
