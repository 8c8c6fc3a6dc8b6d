//! What other crates count, as metrics that are read at scrape time.

use gatehouse_kube::status::{StatusWriter, WriteCounts};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts};

/// Statuses written, and what else came of attempts.
pub(super) struct StatusWrites<F = Box<dyn Fn() -> WriteCounts + Send + Sync>> {
    counts: F,
    /// Empty; each scrape fills one like it.
    template: IntCounterVec,
}

fn counters() -> Result<IntCounterVec, prometheus::Error> {
    let help = "Looks at the status of an object that was to say something else, by what came of them.";
    IntCounterVec::new(Opts::new("gatehouse_status_writes_total", help), &["result"])
}

impl StatusWrites {
    pub(super) fn new(writer: StatusWriter) -> Result<Self, prometheus::Error> {
        Ok(Self { counts: Box::new(move || writer.counts()), template: counters()? })
    }
}

impl<F: Fn() -> WriteCounts + Send + Sync> Collector for StatusWrites<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.template.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let WriteCounts { written, unchanged, conflicts, failed } = (self.counts)();
        let Ok(filled) = counters() else { return Vec::new() };
        for (result, count) in
            [("written", written), ("unchanged", unchanged), ("conflict", conflicts), ("failed", failed)]
        {
            filled.with_label_values(&[result]).inc_by(count);
        }
        filled.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_result_is_a_series_from_the_first_scrape_on() {
        let counts = || WriteCounts { written: 3, conflicts: 1, ..WriteCounts::default() };
        let writes = StatusWrites { counts, template: counters().unwrap() };
        let families = writes.collect();
        let series = families[0].get_metric().iter();
        let read: BTreeMap<_, _> = series
            .map(|metric| (metric.get_label()[0].value().to_owned(), metric.get_counter().get_value()))
            .collect();
        let expected = [("conflict", 1.0), ("failed", 0.0), ("unchanged", 0.0), ("written", 3.0)];
        assert_eq!(read, BTreeMap::from(expected.map(|(result, count)| (result.to_owned(), count))));
    }
}
