//! Which fields of an EnvoyProxy have no effect where the proxies run.

use gatehouse_api::types::EnvoyProxySpec;
use gatehouse_api::types::envoyproxy::{RoutingType, unsupported};

use crate::config::Hosting;

/// The paths of the fields that are set and have no effect, sorted.
pub(crate) fn unheeded(spec: &EnvoyProxySpec, hosting: &Hosting) -> Vec<String> {
    let mut found = unsupported(spec);
    if *hosting != Hosting::Pods {
        found.retain(|field| !field.starts_with("provider.kubernetes") && field != "provider.type=Host");
        found.extend(of_pods(spec).into_iter().map(str::to_owned));
        found.sort();
    }
    found
}

/// What only proxies in pods follow. The schema sets `logging.level.default` to `warn`, which is what proxies of a host have.
fn of_pods(spec: &EnvoyProxySpec) -> Vec<&'static str> {
    let provider = spec.provider.as_ref();
    let levels = spec.logging.as_ref().and_then(|logging| logging.level.as_ref());
    let mut levels = levels.into_iter().flatten();
    let metrics = spec.telemetry.as_ref().and_then(|telemetry| telemetry.metrics.as_ref());
    let fields = [
        ("bootstrap", spec.bootstrap.is_some()),
        ("concurrency", spec.concurrency.is_some_and(|concurrency| concurrency >= 0)),
        ("extraArgs", spec.extra_args.is_some()),
        ("ipFamily", spec.ip_family.is_some()),
        ("logging.level", levels.any(|(component, level)| component != "default" || level != "warn")),
        ("provider.kubernetes", provider.is_some_and(|provider| provider.kubernetes.is_some())),
        ("routingType=Service", spec.routing_type == Some(RoutingType::Service)),
        ("shutdown", spec.shutdown.is_some()),
        ("telemetry.metrics.matches", metrics.is_some_and(|metrics| metrics.matches.is_some())),
        ("telemetry.metrics.prometheus", metrics.is_some_and(|metrics| metrics.prometheus.is_some())),
    ];
    fields.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
}
