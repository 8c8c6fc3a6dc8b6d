//! Two processes give identical versions and bytes, whatever the seeds of their hash maps.

use std::fs;
use std::path::Path;
use std::process::Command;

use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, Hosting, World};

const CHILD: &str = "GATEHOUSE_TEST_PRINT_VERSIONS";

#[test]
fn two_processes_give_identical_versions() {
    if std::env::var_os(CHILD).is_some() {
        return print_versions();
    }
    let [first, second] = [run_child(), run_child()];
    assert!(first.matches("VirtualHost").count() > 50, "{first}");
    assert_eq!(first, second);
}

/// This test in a process of its own.
fn run_child() -> String {
    let output = Command::new(std::env::current_exe().expect("the path of this test"))
        .args(["--exact", "two_processes_give_identical_versions", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("run this test as a child");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("versions are text");
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("version ")).collect();
    lines.join("\n")
}

/// Versions and bodies of all golden inputs in one world.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn print_versions() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut world =
        World::new(Config { hosting: Hosting::Pods, assume_programmed: true, ..Config::default() });
    let areas = fs::read_dir(cases).expect("areas").map(|area| area.expect("an area").path());
    let mut files: Vec<_> = areas
        .flat_map(|area| fs::read_dir(area).expect("cases"))
        .map(|file| file.expect("a case").path())
        .collect();
    files.sort();
    for (index, file) in files.iter().enumerate() {
        let text = fs::read_to_string(file).expect("a case");
        let input = text.split_once("---\nexpected:").map_or(&*text, |(input, _)| input);
        for mut document in objects::documents(input).expect("YAML") {
            // Every case gets a namespace of its own, so that none edits another's objects.
            if document["metadata"].get("namespace").is_none() {
                document["metadata"]["namespace"] = format!("case-{index}").into();
            }
            let object = objects::object(document).expect("an object");
            world.apply(Change::Upsert(Box::new(object)));
        }
    }
    for (fleet, change) in world.settle().fleets {
        for resource in change.upserts {
            let body = gatehouse_envoy::version(&resource.body);
            println!("version {fleet} {:?} {} {} {body}", resource.kind, resource.name, resource.version);
        }
        for edge in change.edges {
            println!("version {fleet} {edge:?}");
        }
    }
}
