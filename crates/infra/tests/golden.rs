//! Golden cases: a plan as YAML, then the objects that it needs.
//!
//! `cases/<rule>.yaml` ends with a document `expected:`. `default.yaml` holds whole objects; every other case holds, by
//! kind, what differs from the default case's object: fields as in a JSON merge patch, items of lists of the same length as
//! `[index]`. `UPDATE_GOLDEN=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatehouse_infra::{Naming, Placement, Settings, objects};
use gatehouse_model::{FleetKey, NamespacedName};
use gatehouse_translate::{FleetAddress, FleetPlan, FleetPort};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A plan with the defaults of a plain Gateway.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Case {
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
    fn plan(&self) -> FleetPlan {
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

    fn objects(&self) -> Value {
        let placement = if self.controller_namespace {
            Placement::ControllerNamespace
        } else {
            Placement::GatewayNamespace
        };
        let settings = Settings { placement, ca_bundle: "PEM\n".to_owned(), ..Settings::default() };
        let naming = if self.hashed { Naming::Hashed } else { Naming::Plain };
        match objects(&self.plan(), &settings, naming) {
            Err(problems) => {
                json!({"problems": problems.iter().map(ToString::to_string).collect::<Vec<_>>()})
            }
            Ok(made) => {
                let mut all = Map::new();
                for object in &made.objects {
                    assert_eq!(object.body["metadata"]["name"], *object.name);
                    assert_eq!(object.body["metadata"]["namespace"], *object.namespace);
                    assert_eq!(object.body["kind"], object.kind.as_str());
                    all.insert(object.kind.to_string(), readable((*object.body).clone()));
                }
                if !made.warnings.is_empty() {
                    let warnings: Vec<String> = made.warnings.iter().map(ToString::to_string).collect();
                    all.insert("warnings".to_owned(), json!(warnings));
                }
                if !made.kept.is_empty() {
                    let kept: Vec<&str> = made.kept.iter().map(|kind| kind.as_str()).collect();
                    all.insert("kept".to_owned(), json!(kept));
                }
                Value::Object(all)
            }
        }
    }
}

fn port(value: &Value) -> FleetPort {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (number, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    let port = number.parse().expect("a port");
    FleetPort { port, bound: port, udp: protocol == "udp" }
}

fn address(text: &str) -> FleetAddress {
    let (kind, value) = text.split_once(' ').unwrap_or((text, ""));
    FleetAddress { kind: kind.into(), value: (!value.is_empty()).then(|| value.into()) }
}

/// The bootstrap is JSON in a string; as a tree it can be read and compared.
fn readable(mut object: Value) -> Value {
    if let Some(text) = object.pointer_mut("/data/bootstrap.json") {
        *text = serde_json::from_str(text.as_str().expect("text")).expect("a bootstrap is JSON");
    }
    object
}

fn difference(old: &Value, new: &Value) -> Value {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
            let changed = changed.map(|(key, value)| {
                (key.clone(), old.get(key).map_or_else(|| value.clone(), |old| difference(old, value)))
            });
            gone.chain(changed).collect()
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let changed = old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new);
            changed.map(|(index, (old, new))| (format!("[{index}]"), difference(old, new))).collect()
        }
        _ => new.clone(),
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder).expect("list the cases").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    cases
}

fn read(input: &str) -> Case {
    serde_yaml::from_str(input).unwrap_or_else(|error| panic!("{error}:\n{input}"))
}

#[test]
fn every_case_gives_the_objects_that_it_expects() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let default = Case::default().objects();
    let cases = cases();
    assert!(cases.len() >= 15, "only {} cases were found", cases.len());
    let mut failures = String::new();
    for path in cases {
        let text = fs::read_to_string(&path).expect("read a case");
        let (input, _) = text.split_once("---\nexpected:").unwrap_or((&text, ""));
        let made = read(input).objects();
        assert_eq!(made, read(input).objects(), "{} gives other objects each time", path.display());
        let whole = path.ends_with("default.yaml");
        let expected = if whole { made } else { difference(&default, &made) };
        let expected = serde_yaml::to_string(&json!({"expected": expected})).expect("JSON is YAML");
        let fresh = format!("{}\n---\n{expected}", input.trim_end());
        if fresh == text {
            continue;
        }
        if update {
            fs::write(&path, fresh).expect("write a case");
        } else {
            let line = text.lines().zip(fresh.lines()).find(|(old, new)| old != new);
            let _ = writeln!(failures, "{}: {line:?}", path.display());
        }
    }
    assert!(failures.is_empty(), "set UPDATE_GOLDEN=1 and read the differences:\n{failures}");
}

#[test]
fn ports_of_listeners_change_no_pod() {
    let template = |ports: &str| {
        let objects = read(&format!("ports: {ports}")).objects();
        objects["Deployment"]["spec"]["template"].clone()
    };
    assert_eq!(template("[80]"), template("[80, 443, 53/udp]"));
    assert_eq!(template("[80]"), template("[]"));
    assert!(!template("[80]").is_null());
}

#[test]
fn a_rotated_authority_changes_no_pod() {
    let plan = Case::default().plan();
    let deployment = |ca: &str| {
        let settings = Settings { ca_bundle: ca.to_owned(), ..Settings::default() };
        let made = objects(&plan, &settings, Naming::Plain).expect("a plain plan has no problems");
        made.get(gatehouse_infra::Kind::Deployment).cloned()
    };
    assert_eq!(deployment("old"), deployment("old new"));
}

#[test]
fn agents_ports_are_refused() {
    let plan = Case::default().objects();
    let agent = &plan["Deployment"]["spec"]["template"]["spec"]["initContainers"][0];
    let port = agent["ports"][0]["containerPort"].as_u64().expect("the agent has a port");
    assert!(gatehouse_infra::RESERVED_PORTS.iter().any(|reserved| u64::from(*reserved) == port));
}
