//! Parameters: the EnvoyProxies that a GatewayClass and a Gateway refer to, and what they mean for a fleet.
//!
//! ```text
//! class's EnvoyProxy --\
//! Gateway's own ---------+--> Parameters: for the pods as they are (infra), for listeners as settings,
//!                            and by name what has no effect here
//! ```

mod guard;
mod unheeded;

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_api::types::envoyproxy::{
    self, AccessLogSetting, AccessLogSink, EnvoyProxySpec, ProxyAccessLog, RoutingType,
};
use gatehouse_api::types::{Gateway, GatewayClass};
use gatehouse_engine::Reads;
use gatehouse_model::NamespacedName;
use gatehouse_model::listener::{AccessLog, IpFamily, ListenerSettings, LogFormat, LogScope};
use serde_json::Value;

use crate::backends::ENVOY_GATEWAY_GROUP;
use crate::config::{Config, Hosting};
use crate::facts::Facts;
use crate::gateways::Problem;

pub(crate) use unheeded::unheeded;

/// Where a default access log goes.
const STDOUT: &str = "/dev/stdout";

/// An EnvoyProxy that is referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) name: NamespacedName,
    pub(crate) spec: Arc<EnvoyProxySpec>,
}

/// What counts for a Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// The EnvoyProxies in words.
    pub(crate) names: Arc<str>,
    pub(crate) spec: Arc<EnvoyProxySpec>,
    /// What is asked for and has no effect, by path.
    pub(crate) unheeded: Vec<String>,
}

/// What parameters mean for what proxies are configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) listeners: Arc<ListenerSettings>,
    /// Requests for a Service go to its own address, not to its endpoints.
    pub(crate) to_services: bool,
}

fn invalid(message: String) -> Problem {
    Problem::new("InvalidParameters", message)
}

/// The EnvoyProxy of a class.
pub(crate) fn of_class(
    facts: &Facts,
    reads: &mut Reads,
    class: &GatewayClass,
) -> Result<Option<Source>, Problem> {
    let Some(reference) = &class.spec.parameters_ref else { return Ok(None) };
    let at = "spec.parametersRef";
    check_kind(at, &reference.group, &reference.kind)?;
    let Some(namespace) = reference.namespace.as_deref().filter(|namespace| !namespace.is_empty()) else {
        return Err(invalid(format!("{at}: namespace is missing: an EnvoyProxy lives in one")));
    };
    source(facts, reads, at, NamespacedName::new(namespace, reference.name.as_str())).map(Some)
}

/// The EnvoyProxy of a Gateway over that of its class.
pub(crate) fn of_gateway(
    facts: &Facts,
    reads: &mut Reads,
    config: &Config,
    class: Option<&Source>,
    gateway: &Gateway,
) -> Result<Option<Arc<Parameters>>, Problem> {
    let own = own(facts, reads, config, gateway)?;
    let (names, spec) = match (class, own.as_ref()) {
        (None, None) => return Ok(None),
        (Some(only), None) | (None, Some(only)) => (only.to_string(), only.spec.clone()),
        (Some(class), Some(own)) => (format!("{own} over {class}"), merged(class, own)?),
    };
    let unheeded = unheeded(&spec, &config.hosting);
    Ok(Some(Arc::new(Parameters { names: names.into(), spec, unheeded })))
}

fn own(
    facts: &Facts,
    reads: &mut Reads,
    config: &Config,
    gateway: &Gateway,
) -> Result<Option<Source>, Problem> {
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let Some(reference) = infrastructure.and_then(|infrastructure| infrastructure.parameters_ref.as_ref())
    else {
        return Ok(None);
    };
    let at = "spec.infrastructure.parametersRef";
    check_kind(at, &reference.group, &reference.kind)?;
    let name = NamespacedName::new(gateway.metadata.namespace(), reference.name.as_str());
    let own = source(facts, reads, at, name)?;
    let forbidden = if config.shared_namespace { guard::forbidden(&own.spec) } else { Vec::new() };
    if forbidden.is_empty() {
        return Ok(Some(own));
    }
    Err(invalid(format!(
        "{own}: {}: not allowed for a single Gateway where proxies run in the controller's namespace, as it could \
         reach what is kept there; the EnvoyProxy of the GatewayClass may have it",
        forbidden.join(", ")
    )))
}

fn check_kind(at: &str, group: &str, kind: &str) -> Result<(), Problem> {
    if (group, kind) == (ENVOY_GATEWAY_GROUP, "EnvoyProxy") {
        return Ok(());
    }
    Err(invalid(format!(
        "{at}: kind {kind} of group {group:?} is not supported; use EnvoyProxy of {ENVOY_GATEWAY_GROUP}"
    )))
}

fn source(facts: &Facts, reads: &mut Reads, at: &str, name: NamespacedName) -> Result<Source, Problem> {
    match facts.proxies.get(reads, &name) {
        Some(spec) => Ok(Source { name, spec: spec.clone() }),
        None => Err(invalid(format!("{at}: EnvoyProxy {name} does not exist, or its CRD is not installed"))),
    }
}

fn merged(class: &Source, own: &Source) -> Result<Arc<EnvoyProxySpec>, Problem> {
    let merged = EnvoyProxySpec::merged(Some(&class.spec), Some(&own.spec));
    let merged = merged.map_err(|error| invalid(format!("{own} cannot be merged over {class}: {error}")))?;
    Ok(merged.map_or_else(|| own.spec.clone(), Arc::new))
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EnvoyProxy {}", self.name)
    }
}

impl Parameters {
    pub(crate) fn settings(&self, hosting: &Hosting) -> Settings {
        let in_pods = *hosting == Hosting::Pods;
        let family = self.spec.ip_family.as_ref().filter(|_| in_pods);
        let log = self.spec.telemetry.as_ref().and_then(|telemetry| telemetry.access_log.as_ref());
        let listeners = ListenerSettings {
            family: family.and_then(ip_family),
            access_logs: log.map(access_logs).unwrap_or_default(),
            tracing: None,
        };
        let to_services = in_pods && self.spec.routing_type == Some(RoutingType::Service);
        Settings { listeners: Arc::new(listeners), to_services }
    }
}

fn ip_family(family: &envoyproxy::IpFamily) -> Option<IpFamily> {
    match family {
        envoyproxy::IpFamily::IPv4 => Some(IpFamily::V4),
        envoyproxy::IpFamily::IPv6 => Some(IpFamily::V6),
        envoyproxy::IpFamily::DualStack => Some(IpFamily::Dual),
        envoyproxy::IpFamily::Other(_) => None,
    }
}

/// Without settings there is one log of everything on the standard output.
fn access_logs(log: &ProxyAccessLog) -> Vec<AccessLog> {
    if log.disable == Some(true) {
        return Vec::new();
    }
    match log.settings.as_deref().unwrap_or_default() {
        [] => {
            vec![AccessLog { path: STDOUT.into(), format: LogFormat::Default, scope: LogScope::Everything }]
        }
        settings => settings.iter().flat_map(of_setting).collect(),
    }
}

/// One log per file and format. A setting with conditions writes nothing: without them it would say too much.
fn of_setting(setting: &AccessLogSetting) -> Vec<AccessLog> {
    let scope = match setting.kind.as_deref() {
        None => LogScope::Everything,
        Some("Route") => LogScope::Requests,
        Some("Listener") => LogScope::Connections,
        Some(_) => return Vec::new(),
    };
    let conditions = setting.rest.get("matches").and_then(Value::as_array);
    if conditions.is_some_and(|conditions| !conditions.is_empty()) {
        return Vec::new();
    }
    let formats = formats(setting);
    let files = setting.sinks.iter().flatten().filter_map(file);
    files
        .flat_map(|path| {
            formats.iter().map(move |format| AccessLog { path: path.into(), format: format.clone(), scope })
        })
        .collect()
}

fn file(sink: &AccessLogSink) -> Option<&str> {
    let is_file = sink.kind.as_deref().is_none_or(|kind| kind == "File");
    sink.file.as_ref().filter(|_| is_file)?.path.as_deref().filter(|path| !path.is_empty())
}

fn formats(setting: &AccessLogSetting) -> Vec<LogFormat> {
    let Some(format) = &setting.format else { return vec![LogFormat::Default] };
    let is = |kind: &str| format.kind.as_deref().is_none_or(|asked| asked == kind);
    let text = format.text.as_deref().filter(|_| is("Text")).map(|text| LogFormat::Text(text.into()));
    let json = format.json.as_ref().filter(|_| is("JSON")).map(|fields| {
        let fields = fields.iter().map(|(key, value)| (Arc::from(key.as_str()), Arc::from(value.as_str())));
        LogFormat::Json(fields.collect::<BTreeMap<_, _>>())
    });
    text.into_iter().chain(json).collect()
}

#[cfg(test)]
mod tests;
