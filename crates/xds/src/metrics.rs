//! Prometheus metrics; all label values come from fixed sets.

use std::time::Duration;

use gatehouse_model::ResourceType;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
    exponential_buckets,
};

use crate::authorize::Reason;
use crate::stream::Stage;

/// The metrics of a server.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) streams: IntGauge,
    pub(crate) gated: IntGauge,
    responses: IntCounterVec,
    acks: IntCounterVec,
    nacks: IntCounterVec,
    denied: IntCounterVec,
    change: HistogramVec,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let by_type = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), &["type"]);
        let help = "Time from a change being seen to a stage on each stream.";
        let buckets = exponential_buckets(0.0005, 2.0, 16)?;
        let change = HistogramOpts::new("gatehouse_xds_change_seconds", help).buckets(buckets);
        Ok(Self {
            streams: IntGauge::new("gatehouse_xds_streams", "Connected streams.")?,
            gated: IntGauge::new(
                "gatehouse_xds_gated_resources",
                "Resources that wait for clusters to be warm.",
            )?,
            responses: by_type("gatehouse_xds_responses_total", "Responses sent.")?,
            acks: by_type("gatehouse_xds_acks_total", "Responses that a proxy accepted.")?,
            denied: IntCounterVec::new(
                Opts::new(
                    "gatehouse_xds_denied_total",
                    "Streams and connections over TLS that were refused.",
                ),
                &["reason"],
            )?,
            nacks: by_type("gatehouse_xds_nacks_total", "Responses that a proxy refused.")?,
            change: HistogramVec::new(change, &["type", "stage"])?,
        })
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let all: [Box<dyn Collector>; 7] = [
            Box::new(self.streams.clone()),
            Box::new(self.gated.clone()),
            Box::new(self.responses.clone()),
            Box::new(self.acks.clone()),
            Box::new(self.nacks.clone()),
            Box::new(self.denied.clone()),
            Box::new(self.change.clone()),
        ];
        all.into_iter().try_for_each(|collector| registry.register(collector))
    }

    pub(crate) fn sent(&self, kind: ResourceType) {
        self.responses.with_label_values(&[kind.label()]).inc();
    }

    pub(crate) fn replied(&self, kind: ResourceType, accepted: bool) {
        let counter = if accepted { &self.acks } else { &self.nacks };
        counter.with_label_values(&[kind.label()]).inc();
    }

    pub(crate) fn denied(&self, reason: Reason) {
        self.denied.with_label_values(&[reason.label()]).inc();
    }

    pub(crate) fn reached(&self, kind: ResourceType, stage: Stage, after: Duration) {
        let stage = match stage {
            Stage::Sent => "sent",
            Stage::Acked => "acked",
        };
        self.change.with_label_values(&[kind.label(), stage]).observe(after.as_secs_f64());
    }
}
