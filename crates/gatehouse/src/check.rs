//! `gatehouse check`.

use std::process::ExitCode;

use gatehouse_api::Object;
use gatehouse_api::types::{ParentReference, Route};
use gatehouse_translate::StatusChange;
use serde_json::Value;

use crate::cli::CheckArgs;
use crate::load::Offline;
use crate::{EXIT_FINDINGS, print};

/// How a finding begins that is no mistake.
const WARNING: &str = "warning: ";

/// Says what is wrong with files: text, schema, references, conflicts.
pub(crate) async fn check(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let offline = Offline::load(&args.source).await?;
    let problems = offline.problems();
    for problem in &problems {
        print::line(problem)?;
    }
    let errors = problems.iter().filter(|problem| problem.diagnostic.is_error()).count();
    let (warnings, findings): (Vec<_>, Vec<_>) =
        findings(&offline).into_iter().partition(|finding| finding.starts_with(WARNING));
    for finding in findings.iter().chain(&warnings) {
        print::line(finding)?;
    }
    let wrong = errors + findings.len();
    if wrong == 0 {
        print::line(&format!("{} objects, nothing wrong", offline.intake.objects().count()))?;
        return Ok(ExitCode::SUCCESS);
    }
    print::line(&format!("{wrong} problems"))?;
    Ok(ExitCode::from(EXIT_FINDINGS))
}

/// What the statuses complain of, and references that no status can speak of.
fn findings(offline: &Offline) -> Vec<String> {
    let mut findings: Vec<String> = offline.outputs.statuses.iter().flat_map(complaints).collect();
    findings.extend(orphans(offline));
    findings.sort();
    findings.dedup();
    findings
}

fn complaints(change: &StatusChange) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(status) = change.json() {
        walk(&status, &change.object.to_string(), &mut found);
    }
    found
}

fn walk(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let about = fields.get("parentRef").or_else(|| fields.get("ancestorRef"));
            let place = match (about, fields.get("name")) {
                (Some(parent), _) => format!("{place}: parent {}", print::parent(parent)),
                (None, Some(Value::String(name))) => format!("{place}: listener {name}"),
                _ => place.to_owned(),
            };
            for condition in fields.get("conditions").and_then(Value::as_array).into_iter().flatten() {
                found.extend(
                    complaint(condition).map(|(severity, text)| format!("{severity}{place}: {text}")),
                );
            }
            for inner in fields.values().filter(|v| v.is_array()) {
                walk(inner, &place, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, place, found)),
        _ => {}
    }
}

/// `Programmed` repeats what other conditions say; those that are good when false are turned round.
fn complaint(condition: &Value) -> Option<(&'static str, String)> {
    let text = |name: &str| condition[name].as_str().unwrap_or_default();
    let (severity, bad_when) = match text("type") {
        "Accepted" | "ResolvedRefs" => ("error: ", "False"),
        "Conflicted" | "PartiallyInvalid" => ("error: ", "True"),
        "gatehouse.dev/ParametersFollowed" => (WARNING, "False"),
        "Overridden" | "Warning" => (WARNING, "True"),
        _ => return None,
    };
    let bad = text("status") == bad_when;
    bad.then(|| {
        let words = format!("{}={} ({}): {}", text("type"), text("status"), text("reason"), text("message"));
        (severity, words)
    })
}

/// Routes and Gateways whose parent or class is nowhere in the files: Kubernetes would stay silent on them.
fn orphans(offline: &Offline) -> Vec<String> {
    let classes: Vec<_> = offline
        .intake
        .objects()
        .filter_map(|o| if let Object::GatewayClass(c) = o { Some(c.metadata.name.as_str()) } else { None })
        .collect();
    let mut found = Vec::new();
    for object in offline.intake.objects() {
        match object {
            Object::Gateway(gateway) if !classes.contains(&gateway.spec.gateway_class_name.as_str()) => {
                let class = &gateway.spec.gateway_class_name;
                found.push(format!("error: {}: GatewayClass {class} does not exist", object.key()));
            }
            Object::HTTPRoute(route) => found.extend(lost_parents(offline, &**route)),
            Object::GRPCRoute(route) => found.extend(lost_parents(offline, &**route)),
            Object::TLSRoute(route) => found.extend(lost_parents(offline, &**route)),
            Object::TCPRoute(route) => found.extend(lost_parents(offline, &**route)),
            Object::UDPRoute(route) => found.extend(lost_parents(offline, &**route)),
            _ => {}
        }
    }
    found
}

fn lost_parents<R: Route>(offline: &Offline, route: &R) -> Vec<String> {
    let own = route.meta().namespace();
    let lost = |parent: &ParentReference| {
        let kind = parent.kind.as_deref().unwrap_or("Gateway");
        let (namespace, name) = (parent.namespace.as_deref().unwrap_or(own), &parent.name);
        let object = format!("{} {own}/{}", R::KIND, route.meta().name);
        (!exists(offline, kind, namespace, name))
            .then(|| format!("error: {object}: parentRefs: {kind} {namespace}/{name} does not exist"))
    };
    route.parent_refs().iter().filter_map(lost).collect()
}

fn exists(offline: &Offline, kind: &str, namespace: &str, name: &str) -> bool {
    offline.intake.objects().any(|object| {
        let key = object.key();
        key.kind == kind && key.namespace == namespace && key.name == name
    })
}
