//! The controller's configuration file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Deserializer, de::Error as _};

/// Everything that an operator chooses; what is left out has the value that the chart gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ControllerConfig {
    /// GatewayClasses with one of these `spec.controllerName`s are served; the first is written in statuses.
    pub(crate) controller_names: Vec<String>,
    pub(crate) watch: Watch,
    pub(crate) secrets: Secrets,
    pub(crate) placement: Placement,
    pub(crate) proxy: Container,
    pub(crate) agent: Container,
    /// Of both containers.
    pub(crate) image_pull_policy: String,
    /// Secrets that they are pulled with, in the namespaces where proxies run.
    pub(crate) image_pull_secrets: Vec<String>,
    pub(crate) backends: Backends,
    pub(crate) xds: Xds,
    pub(crate) admin: Admin,
    pub(crate) leader_election: LeaderElection,
    pub(crate) certificate_authority: CertificateAuthority,
    pub(crate) log: Log,
}

/// Whose objects are used: all, those of some namespaces, or those of namespaces with some labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Watch {
    pub(crate) namespaces: Vec<String>,
    /// A label selector, empty for all.
    pub(crate) selector: String,
}

/// Where Secrets may be read; empty: wherever a reference leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Secrets {
    pub(crate) namespaces: Vec<String>,
}

/// Where proxies run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Placement {
    /// Beside their Gateway.
    #[default]
    GatewayNamespace,
    /// Beside the controller.
    ControllerNamespace,
}

/// A container of the proxies' pods.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Container {
    pub(crate) image: String,
}

/// Backends that reach further than Services with endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Backends {
    /// Envoy Gateway's `Backend`.
    pub(crate) enabled: bool,
    /// Services of type `ExternalName`.
    pub(crate) external_names: bool,
}

/// Where proxies find the controller.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Xds {
    pub(crate) port: u16,
    /// The Service, in the controller's namespace, that selects the leader.
    pub(crate) service: String,
}

/// Health and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Admin {
    pub(crate) port: u16,
}

/// The lease that makes one of several controllers the leader.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct LeaderElection {
    pub(crate) lease: String,
    #[serde(deserialize_with = "duration")]
    pub(crate) lease_duration: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) renew_deadline: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) retry_period: Duration,
}

/// What agents trust the controller by.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct CertificateAuthority {
    /// The Secret, in the controller's namespace, that keeps it.
    pub(crate) secret: String,
}

/// Log lines on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Log {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LogFormat {
    #[default]
    Json,
    Text,
}

const CONTROLLER_NAME: &str = "gatehouse.dev/gatewayclass-controller";

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            controller_names: vec![CONTROLLER_NAME.to_owned()],
            watch: Watch::default(),
            secrets: Secrets::default(),
            placement: Placement::default(),
            proxy: Container { image: "docker.io/envoyproxy/envoy:distroless-v1.40.0".to_owned() },
            agent: Container { image: concat!("gatehouse:", env!("CARGO_PKG_VERSION")).to_owned() },
            image_pull_policy: "IfNotPresent".to_owned(),
            image_pull_secrets: Vec::new(),
            backends: Backends::default(),
            xds: Xds::default(),
            admin: Admin::default(),
            leader_election: LeaderElection::default(),
            certificate_authority: CertificateAuthority::default(),
            log: Log::default(),
        }
    }
}

impl Default for Xds {
    fn default() -> Self {
        Self { port: 18_000, service: "gatehouse-xds".to_owned() }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { port: 19_001 }
    }
}

impl Default for LeaderElection {
    fn default() -> Self {
        Self {
            lease: "gatehouse".to_owned(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

impl Default for CertificateAuthority {
    fn default() -> Self {
        Self { secret: "gatehouse-ca".to_owned() }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default() }
    }
}

impl ControllerConfig {
    /// Reads and checks the file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("read the configuration file {}", path.display()))?;
        Self::parse(&text).with_context(|| {
            format!(
                "configuration file {} (the chart makes it from its values; correct it and start again)",
                path.display()
            )
        })
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        // An empty document is a file in which everything is left out.
        let config: Option<Self> = serde_yaml::from_str(text)?;
        let config = config.unwrap_or_default();
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.controller_names.is_empty(), "controllerNames: at least one is needed");
        for name in &self.controller_names {
            let (domain, path) = name.split_once('/').unwrap_or_default();
            ensure!(
                !domain.is_empty() && !path.is_empty(),
                "controllerNames: {name:?} is not a domain and a path, such as {CONTROLLER_NAME:?}"
            );
        }
        ensure!(
            self.watch.namespaces.is_empty() || self.watch.selector.is_empty(),
            "watch: give namespaces or a selector, not both"
        );
        for (field, container) in [("proxy", &self.proxy), ("agent", &self.agent)] {
            ensure!(!container.image.is_empty(), "{field}.image: must not be empty");
        }
        let policy = &self.image_pull_policy;
        ensure!(
            ["Always", "IfNotPresent", "Never"].contains(&policy.as_str()),
            "imagePullPolicy: {policy:?} is none of Always, IfNotPresent, Never"
        );
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log.level);
        if let Err(error) = filter {
            bail!(
                "log.level: {:?} is neither error, warn, info, debug nor a filter: {error}",
                self.log.level
            );
        }
        if self.xds.port == self.admin.port {
            bail!("xds.port and admin.port: both are {}", self.xds.port);
        }
        let LeaderElection { lease_duration, renew_deadline, retry_period, .. } = &self.leader_election;
        ensure!(
            lease_duration > renew_deadline && renew_deadline > retry_period && !retry_period.is_zero(),
            "leaderElection: leaseDuration must be longer than renewDeadline, and that longer than retryPeriod"
        );
        Ok(())
    }
}

/// A duration as Gateway API writes them: `15s`, `1m30s`, `500ms`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    gatehouse_translate::duration::parse(&text)
        .ok_or_else(|| D::Error::custom(format!("{text:?} is not a duration such as 15s or 500ms")))
}

#[cfg(test)]
mod tests;
