//! The pods of all fleets, made by whichever controller leads.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use gatehouse_infra::{Applier, ApplierConfig, Settings, WantedChange};
use gatehouse_kube::Api;
use gatehouse_kube::ca::Material;
use gatehouse_kube::leader::Leadership;
use gatehouse_model::FleetKey;
use gatehouse_translate::FleetPlan;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

use super::thread::{Input, PlanNews};
use crate::inbox::forward;

/// Plans that wait for the applier; more of them coalesce.
const BACKLOG: usize = 16;

/// What decides whether and how pods are made.
pub(crate) struct Pods {
    pub(crate) api: Api,
    pub(crate) settings: Settings,
    pub(crate) namespaces: Option<Vec<String>>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) material: watch::Receiver<Option<Material>>,
    pub(crate) committed: watch::Receiver<bool>,
    pub(crate) inbox: mpsc::Sender<Input>,
}

/// Why an applier ends.
enum End {
    /// Somebody else leads now.
    Deposed,
    /// The process stops.
    Stopping,
}

impl Pods {
    /// Follows the plans until their channel closes.
    pub(crate) async fn run(mut self, mut news: UnboundedReceiver<PlanNews>) {
        let mut plans = BTreeMap::new();
        loop {
            if self.stand_by(&mut plans, &mut news).await.is_err() {
                return;
            }
            match self.lead(&mut plans, &mut news).await {
                End::Deposed => tracing::info!("no longer leading: the pods are left to the new leader"),
                End::Stopping => return,
            }
        }
    }

    /// Remembers plans until we lead, the first snapshot is complete and there is an authority that agents can trust.
    async fn stand_by(
        &mut self,
        plans: &mut Plans,
        news: &mut UnboundedReceiver<PlanNews>,
    ) -> Result<(), ()> {
        loop {
            let may = self.leadership.borrow().is_leader() && *self.committed.borrow();
            if let Some(material) = self.material.borrow().as_ref().filter(|_| may) {
                self.settings.ca_bundle = material.bundle.to_string();
                return Ok(());
            }
            tokio::select! {
                next = news.recv() => drop(absorb(plans, next.ok_or(())?)),
                Ok(()) = self.leadership.changed() => {}
                Ok(()) = self.committed.changed() => {}
                Ok(()) = self.material.changed() => {}
            }
        }
    }

    async fn lead(&mut self, plans: &mut Plans, news: &mut UnboundedReceiver<PlanNews>) -> End {
        let mut config = ApplierConfig::new(Arc::new(self.settings.clone()));
        config.namespaces.clone_from(&self.namespaces);
        let (wanted, changes) = tokio::sync::mpsc::channel(BACKLOG);
        let (events, states) = unbounded_channel();
        let applier = Applier::start(self.api.client().clone(), config, changes, events);
        let forward = tokio::spawn(forward(states, self.inbox.clone(), Input::Infra));
        let mut next = Some(WantedChange { complete: true, ..wanted_change(plans.clone()) });
        let mut leadership = self.leadership.clone();
        let end = loop {
            if let Some(change) = next.take()
                && wanted.send(change).await.is_err()
            {
                tracing::error!("the part that makes pods ended (this is a bug)");
                break End::Stopping;
            }
            tokio::select! {
                change = news.recv() => match change {
                    Some(change) => next = Some(absorb(plans, change)),
                    None => break End::Stopping,
                },
                Ok(()) = self.material.changed() => next = self.new_settings(),
                deposed = leadership.wait_for(|leadership| !leadership.is_leader()) => {
                    // A sender that is gone leads no more either.
                    drop(deposed);
                    break End::Deposed;
                }
            }
        };
        applier.stop().await;
        forward.abort();
        end
    }

    /// A rotated authority, for the agents' trust.
    fn new_settings(&mut self) -> Option<WantedChange> {
        let bundle = self.material.borrow_and_update().as_ref()?.bundle.to_string();
        if self.settings.ca_bundle == bundle {
            return None;
        }
        self.settings.ca_bundle = bundle;
        Some(WantedChange { settings: Some(Arc::new(self.settings.clone())), ..WantedChange::default() })
    }
}

/// The plan of each fleet; `None`: what stands stays as it is.
type Plans = BTreeMap<FleetKey, Option<Arc<FleetPlan>>>;

fn wanted_change(plans: impl IntoIterator<Item = (FleetKey, Option<Arc<FleetPlan>>)>) -> WantedChange {
    let mut change = WantedChange::default();
    for (fleet, plan) in plans {
        match plan {
            Some(plan) => drop(change.fleets.insert(fleet, Some(plan))),
            None => drop(change.kept.insert(fleet)),
        }
    }
    change
}

/// Remembers what changed and says what it means for an applier.
fn absorb(plans: &mut Plans, news: PlanNews) -> WantedChange {
    plans.extend(news.plans.iter().cloned());
    let mut change = wanted_change(news.plans);
    for fleet in news.removed {
        plans.remove(&fleet);
        change.fleets.insert(fleet, None);
    }
    change
}
