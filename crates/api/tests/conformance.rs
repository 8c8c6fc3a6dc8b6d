//! Every manifest of the official conformance suite is admitted.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use gatehouse_api::{Object, admit, source};

const MODULE: &str = "sigs.k8s.io/gateway-api/conformance@v1.7.0";

/// The suite's folder in Go's module cache. Without the `go` tool the test fails: skipping would prove nothing.
fn module() -> PathBuf {
    let output = Command::new("go")
        .args(["mod", "download", "-json", MODULE])
        .env("GOTOOLCHAIN", "go1.27.0")
        .env("GOFLAGS", "-mod=mod")
        .output()
        .expect("the go tool is needed for the conformance manifests");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("go prints JSON");
    PathBuf::from(json["Dir"].as_str().unwrap_or_else(|| panic!("download {MODULE}: {json}")))
}

fn manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the module has this folder") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            manifests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
}

/// The suite replaces these before it applies a manifest.
fn filled_in(text: &str) -> String {
    text.replace("{GATEWAY_CONTROLLER_NAME}", "example.com/controller")
        .replace("PLACEHOLDER_UNUSABLE_ADDRS", "192.0.2.1")
        .replace("PLACEHOLDER_USABLE_ADDRS", "192.0.2.2")
}

#[test]
fn manifests_of_the_suite_are_admitted() {
    let module = module();
    let mut paths = Vec::new();
    for folder in ["base", "mesh", "tests"] {
        manifests(&module.join(folder), &mut paths);
    }
    paths.sort();
    let mut refused = Vec::new();
    let mut kinds = BTreeMap::<String, usize>::new();
    for path in &paths {
        let name = path.strip_prefix(&module).unwrap().display();
        for document in source::parse(&filled_in(&fs::read_to_string(path).unwrap())) {
            match admit(&document) {
                Ok(admitted) => {
                    let kind = match &admitted.object {
                        Object::Other(_) => "Other".to_owned(),
                        object => {
                            assert_eq!(Object::from_json(&object.to_json()).unwrap(), *object, "{name}");
                            object.group_kind().1.to_owned()
                        }
                    };
                    *kinds.entry(kind).or_default() += 1;
                }
                Err(diagnostics) => refused.extend(diagnostics.iter().map(|d| format!("{name}:{d}"))),
            }
        }
    }
    assert_eq!(refused, [""; 0]);
    assert!(kinds["HTTPRoute"] > 100 && kinds["Gateway"] > 50 && kinds["ReferenceGrant"] > 5, "{kinds:?}");
}
