//! Which fields of an EnvoyProxy have no effect here.

use super::{
    AccessLogSetting, EnvoyProxySpec, IpFamily, KubernetesProvider, KubernetesWorkload, ProviderType,
    ProxyTelemetry, Rest, RoutingType,
};

/// The paths of the fields that are set but have no effect (yet), sorted: `telemetry.tracing`. A field whose value is
/// not supported is named as `path=value`.
pub fn unsupported(spec: &EnvoyProxySpec) -> Vec<String> {
    let mut found = Found::default();
    found.rest("", &spec.rest);
    if let Some(IpFamily::Other(other)) = &spec.ip_family {
        found.value("ipFamily", other);
    }
    if let Some(RoutingType::Other(other)) = &spec.routing_type {
        found.value("routingType", other);
    }
    if let Some(negative) = spec.concurrency.filter(|concurrency| *concurrency < 0) {
        found.value("concurrency", &negative.to_string());
    }
    if let Some(provider) = &spec.provider {
        found.rest("provider", &provider.rest);
        if let Some(kind) = provider.kind.as_ref().filter(|kind| **kind != ProviderType::Kubernetes) {
            found.value("provider.type", kind.as_str());
        }
        if let Some(kubernetes) = &provider.kubernetes {
            kubernetes_provider(&mut found, kubernetes);
        }
    }
    if let Some(logging) = &spec.logging {
        found.rest("logging", &logging.rest);
    }
    if let Some(shutdown) = &spec.shutdown {
        found.rest("shutdown", &shutdown.rest);
    }
    if let Some(bootstrap) = &spec.bootstrap {
        found.rest("bootstrap", &bootstrap.rest);
        for (index, operation) in bootstrap.json_patches.iter().flatten().enumerate() {
            found.rest(&format!("bootstrap.jsonPatches[{index}]"), &operation.rest);
        }
    }
    if let Some(telemetry) = &spec.telemetry {
        telemetry_fields(&mut found, telemetry);
    }
    found.sorted()
}

/// Paths of fields without effect.
#[derive(Default)]
pub(in crate::types) struct Found(Vec<String>);

impl Found {
    pub(in crate::types) fn sorted(mut self) -> Vec<String> {
        self.0.sort();
        self.0
    }

    /// What is set and was not read.
    pub(in crate::types) fn rest(&mut self, at: &str, rest: &Rest) {
        let set = rest.iter().filter(|(_, value)| !value.is_null());
        self.0.extend(set.map(|(name, _)| if at.is_empty() { name.clone() } else { format!("{at}.{name}") }));
    }

    fn value(&mut self, at: &str, value: &str) {
        self.0.push(format!("{at}={value}"));
    }

    /// A value that is none of these.
    pub(in crate::types) fn one_of(&mut self, at: &str, value: Option<&String>, known: &[&str]) {
        if let Some(value) = value.filter(|value| !known.contains(&value.as_str())) {
            self.value(at, value);
        }
    }
}

fn kubernetes_provider(found: &mut Found, kubernetes: &KubernetesProvider) {
    let at = "provider.kubernetes";
    found.rest(at, &kubernetes.rest);
    if kubernetes.use_listener_port_as_container_port == Some(false) {
        found.value(&format!("{at}.useListenerPortAsContainerPort"), "false");
    }
    if let Some(deployment) = &kubernetes.envoy_deployment {
        workload(found, &format!("{at}.envoyDeployment"), deployment);
    }
    if let Some(daemon_set) = &kubernetes.envoy_daemon_set {
        let at = format!("{at}.envoyDaemonSet");
        workload(found, &at, daemon_set);
        let ignored = [
            ("replicas", daemon_set.replicas.is_some()),
            ("initContainers", daemon_set.init_containers.is_some()),
        ];
        found.0.extend(ignored.iter().filter(|(_, set)| *set).map(|(name, _)| format!("{at}.{name}")));
    }
    let rests = [
        ("envoyService", kubernetes.envoy_service.as_ref().map(|service| &service.rest)),
        ("envoyHpa", kubernetes.envoy_hpa.as_ref().map(|hpa| &hpa.rest)),
        ("envoyPDB", kubernetes.envoy_pdb.as_ref().map(|budget| &budget.rest)),
        ("envoyServiceAccount", kubernetes.envoy_service_account.as_ref().map(|account| &account.rest)),
    ];
    for (name, rest) in rests {
        if let Some(rest) = rest {
            found.rest(&format!("{at}.{name}"), rest);
        }
    }
    if let Some(service) = &kubernetes.envoy_service {
        let known = ["LoadBalancer", "ClusterIP", "NodePort"];
        found.one_of(&format!("{at}.envoyService.type"), service.kind.as_ref(), &known);
    }
}

fn workload(found: &mut Found, at: &str, workload: &KubernetesWorkload) {
    found.rest(at, &workload.rest);
    if let Some(pod) = &workload.pod {
        found.rest(&format!("{at}.pod"), &pod.rest);
    }
    if let Some(container) = &workload.container {
        found.rest(&format!("{at}.container"), &container.rest);
    }
}

fn telemetry_fields(found: &mut Found, telemetry: &ProxyTelemetry) {
    let at = "telemetry";
    found.rest(at, &telemetry.rest);
    if let Some(log) = &telemetry.access_log {
        found.rest(&format!("{at}.accessLog"), &log.rest);
        for (index, setting) in log.settings.iter().flatten().enumerate() {
            access_log(found, &format!("{at}.accessLog.settings[{index}]"), setting);
        }
    }
    if let Some(metrics) = &telemetry.metrics {
        let at = format!("{at}.metrics");
        found.rest(&at, &metrics.rest);
        if let Some(prometheus) = &metrics.prometheus {
            found.rest(&format!("{at}.prometheus"), &prometheus.rest);
        }
        let known = ["Exact", "Prefix", "Suffix", "RegularExpression"];
        for (index, test) in metrics.matches.iter().flatten().enumerate() {
            found.one_of(&format!("{at}.matches[{index}].type"), test.kind.as_ref(), &known);
        }
    }
}

fn access_log(found: &mut Found, at: &str, setting: &AccessLogSetting) {
    found.rest(at, &setting.rest);
    found.one_of(&format!("{at}.type"), setting.kind.as_ref(), &["Listener", "Route"]);
    if let Some(format) = &setting.format {
        found.rest(&format!("{at}.format"), &format.rest);
        found.one_of(&format!("{at}.format.type"), format.kind.as_ref(), &["Text", "JSON"]);
    }
    for (index, sink) in setting.sinks.iter().flatten().enumerate() {
        let at = format!("{at}.sinks[{index}]");
        found.rest(&at, &sink.rest);
        found.one_of(&format!("{at}.type"), sink.kind.as_ref(), &["File"]);
        if let Some(file) = &sink.file {
            found.rest(&format!("{at}.file"), &file.rest);
        }
    }
}
