//! Metrics of world and commits; labels are stages and resource types, never names of settles.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_model::ResourceType;
use gatehouse_translate::{Resource, World};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters and gauges of a plane.
pub(crate) struct PlaneMetrics {
    settle_seconds: Histogram,
    runs: IntCounterVec,
    panics: IntCounter,
    encoded: IntCounterVec,
    refused: IntCounterVec,
    settles: IntGauge,
    last: BTreeMap<&'static str, u64>,
}

impl PlaneMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let settle_seconds = Histogram::with_opts(
            HistogramOpts::new("gatehouse_settle_seconds", "Time of one settle of the graph.")
                .buckets(prometheus::exponential_buckets(0.000_1, 4.0, 9)?),
        )?;
        let runs = IntCounterVec::new(
            Opts::new("gatehouse_stage_computed_total", "Runs of stage functions."),
            &["stage"],
        )?;
        let panics = IntCounter::new("gatehouse_panics_total", "Panics caught while translating an object.")?;
        let encoded = IntCounterVec::new(
            Opts::new("gatehouse_committed_resources_total", "Resources handed to the xDS server."),
            &["type"],
        )?;
        let refused = IntCounterVec::new(
            Opts::new("gatehouse_refused_resources_total", "Resources that a proxy refused."),
            &["type"],
        )?;
        let settles = IntGauge::new("gatehouse_settles_total", "Settles of the graph.")?;
        registry.register(Box::new(settle_seconds.clone()))?;
        registry.register(Box::new(runs.clone()))?;
        registry.register(Box::new(panics.clone()))?;
        registry.register(Box::new(encoded.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(settles.clone()))?;
        Ok(Self { settle_seconds, runs, panics, encoded, refused, settles, last: BTreeMap::new() })
    }

    pub(crate) fn settled(&mut self, took: Duration, world: &World) {
        self.settle_seconds.observe(took.as_secs_f64());
        self.settles.inc();
        for (stage, counters) in world.counters() {
            let last = self.last.entry(stage).or_default();
            self.runs.with_label_values(&[stage]).inc_by(counters.computed - *last);
            *last = counters.computed;
        }
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    pub(crate) fn committed(&self, resources: &[Resource]) {
        for resource in resources {
            self.encoded.with_label_values(&[resource.kind.label()]).inc();
        }
    }

    pub(crate) fn refused(&self, kind: ResourceType) {
        self.refused.with_label_values(&[kind.label()]).inc();
    }
}
