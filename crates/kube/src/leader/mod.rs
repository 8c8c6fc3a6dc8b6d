//! Leader election by a Lease, and the label by which the Service of the xDS server finds the leader's pod.
//!
//! ```text
//! Lease --observe--> Election --write--> Lease
//!                        '--> Leadership --> status writer, infrastructure, xDS server
//!                                     '----> label on our pod
//! ```

mod election;
mod label;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::api::{Api, ResourceType, Target};
use crate::error::{Cause, Error};
use crate::health::Health;
use election::{Election, Record, Step};

const LEASES: ResourceType = ResourceType { group: "coordination.k8s.io", version: "v1", plural: "leases" };
const SUBJECT: &str = "leader election";

/// Whether we lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Somebody else does, or nobody.
    Standby {
        /// Who, as far as is known.
        holder: Option<Arc<str>>,
    },
    /// We do.
    Leader,
}

impl Leadership {
    /// Whether we lead.
    pub fn is_leader(&self) -> bool {
        *self == Self::Leader
    }
}

/// The pod that we run in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPod {
    /// Its name.
    pub name: String,
    /// The label that it carries while it leads, with the value `true`.
    pub label: String,
}

/// How the leader is elected.
#[derive(Clone, Debug)]
pub struct LeaseConfig {
    /// Where the Lease and our pod are.
    pub namespace: String,
    /// The Lease.
    pub name: String,
    /// Who we are; no two candidates may be called the same. A pod's name does.
    pub identity: String,
    /// How long others wait for a leader that says nothing.
    pub duration: Duration,
    /// How long a leader that cannot renew still leads; shorter than `duration`.
    pub renew_deadline: Duration,
    /// How often the lease is looked at or renewed.
    pub retry: Duration,
    /// The pod to label; `None` outside of a cluster.
    pub pod: Option<OwnPod>,
}

impl LeaseConfig {
    /// With the times that Kubernetes' own controllers use.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            pod: None,
        }
    }
}

/// A candidate. Dropped, it leads no more, but others wait for the lease to run out: better is [`Leader::release`].
#[derive(Debug)]
pub struct Leader {
    leadership: watch::Receiver<Leadership>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Leader {
    /// Runs for election on the current runtime.
    pub fn start(api: Api, config: LeaseConfig, health: Health) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (state, leadership) = watch::channel(Leadership::Standby { holder: None });
        let mut tasks = Vec::new();
        if let Some(pod) = config.pod.clone() {
            let keeper = label::Keeper::new(api.clone(), config.namespace.clone(), pod, health.clone());
            tasks.push(tokio::spawn(keeper.run(leadership.clone())));
        }
        let candidate = Candidate::new(api, config, health, State(state));
        tasks.insert(0, tokio::spawn(candidate.run(stopped)));
        Self { leadership, stop, tasks }
    }

    /// Follows whether we lead.
    pub fn watch(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Leads no more, takes the label away and gives the lease back, so that the next one takes over at once.
    pub async fn release(mut self) {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await {
                tracing::error!(%error, "leader election ended by a fault of ours");
            }
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// However the candidate ends, it does not lead any more.
#[derive(Debug)]
struct State(watch::Sender<Leadership>);

impl State {
    fn set(&self, new: Leadership) {
        self.0.send_if_modified(|old| {
            let changed = *old != new;
            if changed {
                match &new {
                    Leadership::Leader => tracing::info!("we lead"),
                    Leadership::Standby { holder } => {
                        tracing::info!(holder = holder.as_deref().unwrap_or("nobody"), "we stand by");
                    }
                }
                *old = new;
            }
            changed
        });
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.set(Leadership::Standby { holder: None });
    }
}

struct Candidate {
    api: Api,
    config: LeaseConfig,
    health: Health,
    election: Election,
    state: State,
    started: Instant,
}

impl Candidate {
    fn new(api: Api, config: LeaseConfig, health: Health, state: State) -> Self {
        let election = Election::new(config.identity.clone(), config.renew_deadline);
        Self { api, config, health, election, state, started: Instant::now() }
    }

    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut next = tokio::time::interval(self.config.retry);
        next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // A renewal that hangs must not keep us in office.
            tokio::select! {
                () = async { next.tick().await; } => {}
                () = deadline(self.ends()) => { self.publish(); continue; }
                _ = stopped.wait_for(|stop| *stop) => break,
            }
            // A request that hangs must not keep us from the next one either.
            let ends = self.ends().unwrap_or_else(|| Instant::now() + self.config.renew_deadline);
            tokio::select! {
                result = self.round() => self.judge(result),
                () = tokio::time::sleep_until(ends) => self.election.lose(),
                _ = stopped.wait_for(|stop| *stop) => break,
            }
            self.publish();
        }
        if self.election.until(self.now()).is_some() {
            // First nobody leads, then others may.
            self.state.set(Leadership::Standby { holder: None });
            self.release().await;
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// When our leadership ends unless it is renewed.
    fn ends(&self) -> Option<Instant> {
        self.election.until(self.now()).map(|until| self.started + until)
    }

    fn publish(&self) {
        self.state.set(if self.election.until(self.now()).is_some() {
            Leadership::Leader
        } else {
            Leadership::Standby { holder: self.election.holder().map(Arc::from) }
        });
    }

    fn judge(&self, result: Result<(), Error>) {
        match result {
            Ok(()) => {
                self.health.clear(SUBJECT);
            }
            // Somebody else was faster: the next round sees who.
            Err(Error { cause: Cause::Conflict(_), .. }) => {}
            Err(error) => self.health.failed(SUBJECT, &error),
        }
    }

    /// Looks at the lease, and takes or renews it if we may.
    async fn round(&mut self) -> Result<(), Error> {
        let began = self.now();
        let LeaseConfig { namespace, name, .. } = &self.config;
        let live: Option<Lease> = match self.api.get(&Target::one(LEASES, namespace, name)).await {
            Ok(lease) => Some(lease),
            Err(Error { cause: Cause::NotFound, .. }) => None,
            Err(error) => return Err(error),
        };
        let step = self.election.observe(live.as_ref().map(record).unwrap_or_default(), self.now());
        if step == Step::Wait {
            return Ok(());
        }
        let lease = self.with_our_name(live.clone().unwrap_or_default());
        let written: Lease = if live.is_some() {
            self.api.update(&Target::one(LEASES, namespace, name), &lease).await?
        } else {
            self.api.create(&Target::all(LEASES, namespace), &lease).await?
        };
        self.election.renewed(record(&written), began);
        Ok(())
    }

    fn with_our_name(&self, mut lease: Lease) -> Lease {
        lease.metadata.name = Some(self.config.name.clone());
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        let now = MicroTime(Timestamp::now());
        if spec.holder_identity.as_deref() != Some(&self.config.identity) {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
        }
        spec.holder_identity = Some(self.config.identity.clone());
        spec.renew_time = Some(now);
        spec.lease_duration_seconds = i32::try_from(self.config.duration.as_secs().max(1)).ok();
        lease
    }

    /// Leaves the lease to whoever comes first.
    async fn release(&self) {
        let LeaseConfig { namespace, name, identity, renew_deadline, .. } = &self.config;
        let target = Target::one(LEASES, namespace, name);
        let released = async {
            let mut lease: Lease = self.api.get(&target).await?;
            let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
            if spec.holder_identity.as_deref() != Some(identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            self.api.update::<Lease>(&target, &lease).await.map(|_| ())
        };
        match tokio::time::timeout(*renew_deadline, released).await {
            Ok(Ok(())) => tracing::info!("the lease is released"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease is left to run out"),
            Err(_) => tracing::warn!("the lease is left to run out: the API server does not answer"),
        }
    }
}

async fn deadline(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn record(lease: &Lease) -> Record {
    let Some(spec) = &lease.spec else { return Record::default() };
    let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or_default();
    Record {
        holder: spec.holder_identity.clone().unwrap_or_default(),
        duration: Duration::from_secs(seconds),
        renewed: spec.renew_time.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
    }
}
