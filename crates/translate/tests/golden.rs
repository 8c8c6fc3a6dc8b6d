//! Golden cases: input documents as users write them, then what becomes of them.
//!
//! `cases/<area>/<rule>.yaml` ends with a document `expected:` that holds the statuses (one line per condition)
//! and the resources as readable Envoy JSON. `UPDATE_GOLDEN=1` writes it anew. A case may ask there for
//! `kinds:` of resources (all, when absent) and for `settings:`; both stay when it is written anew.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use gatehouse_api::Object;
use gatehouse_testkit::objects::{self, ReadError};
use gatehouse_translate::{Change, Config, FleetAddress, FleetState, Hosting, Routability, World};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use support::{Picture, decode};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[serde(default, skip_serializing_if = "Settings::is_default")]
    settings: Settings,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kinds: Option<Vec<String>>,
    #[serde(default)]
    statuses: BTreeMap<String, Value>,
    /// By fleet, kind and name.
    #[serde(default)]
    resources: BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
struct Settings {
    /// The proxies run in pods, which are all well.
    #[serde(default, skip_serializing_if = "is_false")]
    in_pods: bool,
    /// They do so in a namespace that all Gateways share.
    #[serde(default, skip_serializing_if = "is_false")]
    shared_namespace: bool,
    /// Services of type ExternalName are refused.
    #[serde(default, skip_serializing_if = "is_false")]
    no_external_names: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    port_map: BTreeMap<u16, u16>,
    /// The API server would refuse the input today; an older schema let it through.
    #[serde(default, skip_serializing_if = "is_false")]
    unadmitted: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Settings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn config(&self) -> Config {
        Config {
            hosting: if self.in_pods { Hosting::Pods } else { Hosting::default() },
            port_map: self.port_map.clone(),
            shared_namespace: self.shared_namespace,
            external_names: !self.no_external_names,
            assume_programmed: true,
            ..Config::default()
        }
    }
}

#[test]
fn every_case_gives_what_it_expects() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let cases = support::cases();
    assert!(cases.len() >= 40, "only {} cases were found", cases.len());
    let mut failures = String::new();
    for path in cases {
        let text = fs::read_to_string(&path).expect("read a case");
        let (input, written) = text.split_once("---\nexpected:").unwrap_or((&text, ""));
        let fresh = render(input, written, &path);
        if fresh == text {
            continue;
        }
        if update {
            fs::write(&path, fresh).expect("write a case");
        } else {
            let _ = writeln!(failures, "{}\n{}", path.display(), first_difference(&text, &fresh));
        }
    }
    assert!(failures.is_empty(), "run `make golden` and read the differences:\n{failures}");
}

/// The case's text as it should be.
fn render(input: &str, written: &str, path: &Path) -> String {
    let written = objects::documents(&format!("expected:{written}")).expect("expected is YAML");
    let written: Option<Expected> = written
        .first()
        .and_then(|document| document.get("expected"))
        .filter(|expected| !expected.is_null())
        .map(|expected| {
            serde_json::from_value(expected.clone()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        });
    let Expected { settings, kinds, .. } = written.unwrap_or_default();
    let picture = translate(input, &settings, path);
    let expected = Expected {
        statuses: statuses(&picture),
        resources: resources(&picture, kinds.as_deref()),
        settings,
        kinds,
    };
    let expected = serde_yaml::to_string(&json!({ "expected": expected })).expect("JSON is YAML");
    format!("{}\n---\n{expected}", input.trim_end())
}

fn translate(input: &str, settings: &Settings, path: &Path) -> Picture {
    let mut world = World::new(settings.config());
    for object in read(input, settings).unwrap_or_else(|e| panic!("{}: {e}", path.display())) {
        world.apply(Change::Upsert(Box::new(object)));
    }
    let mut picture = Picture::default();
    picture.absorb(world.settle());
    if settings.in_pods {
        let fleets: Vec<_> = picture.fleets.keys().cloned().collect();
        for fleet in fleets {
            world.fleet_is(&fleet, served());
        }
        picture.absorb(world.settle());
    }
    assert_eq!(world.take_panics(), [], "{}", path.display());
    let dangling = picture.dangling();
    assert!(dangling.is_empty(), "{}: {dangling:#?}", path.display());
    picture
}

/// The pods of a Gateway when all is well.
fn served() -> FleetState {
    let address = FleetAddress {
        kind: "IPAddress".into(),
        value: Some("192.0.2.1".into()),
        routability: Routability::Default,
    };
    FleetState { addresses: vec![address], ready: true, ..FleetState::default() }
}

fn read(input: &str, settings: &Settings) -> Result<Vec<Object>, ReadError> {
    if settings.unadmitted {
        return objects::documents(input)?.into_iter().map(objects::object).collect();
    }
    objects::admitted(input)
}

fn statuses(picture: &Picture) -> BTreeMap<String, Value> {
    let read = |(object, status): (&gatehouse_api::ObjectRef, &Value)| (object.to_string(), condense(status));
    picture.statuses.iter().map(read).collect()
}

/// A list of conditions as one line each; a class's features, the same in every case, are left out.
fn condense(json: &Value) -> Value {
    match json {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(key, _)| *key != "supportedFeatures");
            let condensed = fields.map(|(key, value)| {
                let value = if key == "conditions" { conditions(value) } else { condense(value) };
                (key.clone(), value)
            });
            Value::Object(condensed.collect())
        }
        Value::Array(items) => items.iter().map(condense).collect(),
        other => other.clone(),
    }
}

/// `Type: "Status Reason (generation) message"`
fn conditions(conditions: &Value) -> Value {
    let line = |c: &Value| {
        let text = |key: &str| c[key].as_str().unwrap_or_default().to_owned();
        let (status, reason, message) = (text("status"), text("reason"), text("message"));
        let line = format!("{status} {reason} ({}) {message}", c["observedGeneration"]);
        (text("type"), Value::from(line.trim_end()))
    };
    Value::Object(conditions.as_array().into_iter().flatten().map(line).collect::<Map<_, _>>())
}

fn resources(
    picture: &Picture,
    kinds: Option<&[String]>,
) -> BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>> {
    let mut all: BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>> = BTreeMap::new();
    for (key, fleet) in &picture.fleets {
        let by_kind = all.entry(key.to_string()).or_default();
        for ((kind, name), resource) in &fleet.resources {
            let kind = format!("{kind:?}");
            if kinds.is_none_or(|kinds| kinds.contains(&kind)) {
                let mut json = decode(resource);
                first_place_only(&mut json);
                by_kind.entry(kind).or_default().insert(name.to_string(), json);
            }
        }
    }
    all
}

/// The places for filters ahead of routes are alike: the first one stands for all.
fn first_place_only(json: &mut Value) {
    let is_later = |item: &Value| {
        let place = item["name"].as_str().and_then(|name| name.strip_prefix("gatehouse.pre_routing."));
        place.is_some_and(|place| place != "1")
    };
    match json {
        Value::Array(items) => {
            items.retain(|item| !is_later(item));
            items.iter_mut().for_each(first_place_only);
        }
        Value::Object(fields) => fields.values_mut().for_each(first_place_only),
        _ => {}
    }
}

fn first_difference(old: &str, new: &str) -> String {
    let line = old.lines().zip(new.lines()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| {
        let lines: Vec<_> = text.lines().skip(line).take(6).map(|l| format!("    {l}\n")).collect();
        lines.concat()
    };
    format!("  line {}: expected\n{}  but it is\n{}", line + 1, around(old), around(new))
}
