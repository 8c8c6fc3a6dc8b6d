//! The agent's own few metrics; Envoy's are passed through.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) connected: IntGauge,
    pub(crate) attempts_failed: IntCounter,
    pub(crate) responses: IntCounterVec,
    pub(crate) refused: IntCounter,
    pub(crate) ready: IntGauge,
    resources: IntGauge,
    bytes: IntGauge,
    failures: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| IntGauge::new(format!("gatehouse_agent_{name}"), help);
        let counter = |name: &str, help: &str| IntCounter::new(format!("gatehouse_agent_{name}"), help);
        let help = "Responses given to Envoy, by where they come from.";
        let responses = Opts::new("gatehouse_agent_responses_total", help);
        let metrics = Self {
            registry: Registry::new(),
            connected: gauge("controller_connected", "Whether there is a stream to a controller.")?,
            attempts_failed: counter(
                "controller_streams_lost_total",
                "Streams to a controller that ended or could not be opened.",
            )?,
            responses: IntCounterVec::new(responses, &["from"])?,
            refused: counter("responses_refused_total", "Responses that Envoy refused.")?,
            ready: gauge("ready", "Whether the last readiness probe was answered with yes.")?,
            resources: gauge("store_resources", "Resources that Envoy acknowledged last.")?,
            bytes: gauge("store_bytes", "Size of the store.")?,
            failures: gauge("store_failures", "Times that the store could not be written.")?,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let all: [Box<dyn Collector>; 8] = [
            Box::new(self.connected.clone()),
            Box::new(self.attempts_failed.clone()),
            Box::new(self.responses.clone()),
            Box::new(self.refused.clone()),
            Box::new(self.ready.clone()),
            Box::new(self.resources.clone()),
            Box::new(self.bytes.clone()),
            Box::new(self.failures.clone()),
        ];
        all.into_iter().try_for_each(|collector| self.registry.register(collector))
    }

    pub(crate) fn stored(&self, resources: usize, bytes: u64, failures: u64) {
        self.resources.set(i64::try_from(resources).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.failures.set(i64::try_from(failures).unwrap_or(i64::MAX));
    }
}
