//! Plans as the cases write them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatehouse_infra::{FleetObjects, Naming, Placement, Problem, Settings, objects};
use gatehouse_model::{FleetKey, NamespacedName};
use gatehouse_translate::{FleetAddress, FleetPlan, FleetPort, Routability};
use serde::Deserialize;
use serde_json::{Value, json};

/// A plan with the defaults of a plain Gateway.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Case {
    namespace: Option<String>,
    name: Option<String>,
    class: Option<String>,
    /// `80` or `80/udp`.
    ports: Option<Vec<Value>>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    /// `type value`
    addresses: Vec<String>,
    parameters: Option<gatehouse_api::types::EnvoyProxySpec>,
    controller_namespace: bool,
    hashed: bool,
}

impl Case {
    pub(crate) fn plan(&self) -> FleetPlan {
        let text =
            |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
        let ports = self.ports.clone().unwrap_or_else(|| vec![json!(80)]);
        FleetPlan {
            fleet: FleetKey(NamespacedName::new(text(&self.namespace, "shop"), text(&self.name, "web"))),
            gateway_uid: "5f1c".into(),
            class: text(&self.class, "eg").into(),
            ports: ports.iter().map(port).collect(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            addresses: self.addresses.iter().map(|text| address(text)).collect(),
            parameters: self.parameters.clone().map(Arc::new),
        }
    }

    pub(crate) fn made(&self) -> Result<FleetObjects, Vec<Problem>> {
        let placement = if self.controller_namespace {
            Placement::ControllerNamespace
        } else {
            Placement::GatewayNamespace
        };
        let settings = Settings { placement, ca_bundle: "PEM\n".to_owned(), ..Settings::default() };
        let naming = if self.hashed { Naming::Hashed } else { Naming::Plain };
        objects(&self.plan(), &settings, naming)
    }
}

fn port(value: &Value) -> FleetPort {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (number, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    let port = number.parse().expect("a port");
    FleetPort { port, bound: port, udp: protocol == "udp" }
}

/// `IPAddress 192.0.2.1`, with `Cluster` before it where it is to be reached from inside only; the value may be missing.
fn address(text: &str) -> FleetAddress {
    let (routability, text) = match text.strip_prefix("Cluster ") {
        Some(rest) => (Routability::Cluster, rest),
        None => (Routability::Default, text),
    };
    let (kind, value) = text.split_once(' ').unwrap_or((text, ""));
    FleetAddress { kind: kind.into(), value: (!value.is_empty()).then(|| value.into()), routability }
}

pub(crate) fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder).expect("list the cases").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    cases
}

pub(crate) fn read(input: &str) -> Case {
    serde_yaml::from_str(input).unwrap_or_else(|error| panic!("{error}:\n{input}"))
}
