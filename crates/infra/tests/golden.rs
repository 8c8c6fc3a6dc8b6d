//! Golden cases: a plan as YAML, then the objects that it needs.
//!
//! `cases/<rule>.yaml` ends with a document `expected:`. `default.yaml` holds whole objects; every other case holds, by
//! kind, what differs from the default case's object: fields as in a JSON merge patch, items of lists of the same length as
//! `[index]`. `UPDATE_GOLDEN=1` writes it anew.

mod support;

use std::fmt::Write as _;
use std::fs;

use gatehouse_infra::{Naming, Settings, objects};
use serde_json::{Map, Value, json};
use support::{Case, cases, read};

/// The objects of a case by kind, and what else came out.
fn picture(case: &Case) -> Value {
    let made = match case.made() {
        Ok(made) => made,
        Err(problems) => {
            return json!({"problems": problems.iter().map(ToString::to_string).collect::<Vec<_>>()});
        }
    };
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

#[test]
fn every_case_gives_the_objects_that_it_expects() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let default = picture(&Case::default());
    let cases = cases();
    assert!(cases.len() >= 15, "only {} cases were found", cases.len());
    let mut failures = String::new();
    for path in cases {
        let text = fs::read_to_string(&path).expect("read a case");
        let (input, _) = text.split_once("---\nexpected:").unwrap_or((&text, ""));
        let made = picture(&read(input));
        assert_eq!(made, picture(&read(input)), "{} gives other objects each time", path.display());
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
        let objects = picture(&read(&format!("ports: {ports}")));
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
fn every_port_of_the_pods_own_is_refused() {
    let picture = picture(&Case::default());
    let agent =
        &picture["Deployment"]["spec"]["template"]["spec"]["initContainers"][0]["ports"][0]["containerPort"];
    let admin =
        &picture["ConfigMap"]["data"]["bootstrap.json"]["admin"]["address"]["socket_address"]["port_value"];
    for port in [agent, admin] {
        let port = port.as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        assert!(gatehouse_infra::port_refusal(port).is_some(), "{port}");
    }
}

#[test]
fn pull_secrets_of_the_controller_and_of_an_envoy_proxy_are_both_used() {
    let settings = Settings { image_pull_secrets: vec!["ours".to_owned()], ..Settings::default() };
    let secrets = |text: &str| {
        let made = objects(&read(text).plan(), &settings, Naming::Plain).expect("no problems");
        let deployment = made.get(gatehouse_infra::Kind::Deployment).expect("a Deployment");
        deployment.body["spec"]["template"]["spec"]["imagePullSecrets"].clone()
    };
    assert_eq!(secrets("name: web"), json!([{"name": "ours"}]));
    let theirs = "parameters: {provider: {type: Kubernetes, kubernetes: {envoyDeployment: {pod: {imagePullSecrets: [{name: theirs}, {name: ours}]}}}}}";
    assert_eq!(secrets(theirs), json!([{"name": "theirs"}, {"name": "ours"}]));
}
