//! Which kind a document is.

use serde_json::Value;

use super::{
    issue::{Issues, Part, Path},
    suggest,
};
use crate::{
    object::group_of,
    schema::{Kind, Version, table},
};

/// What a document says it is.
pub(crate) enum Identity {
    /// A kind that is read.
    Known(&'static Kind, &'static Version),
    /// Another one, which is nobody's mistake.
    Foreign,
}

/// Groups and kinds that stand beside gateway objects in the same manifests: passing them over is no news.
const WORKLOADS: [(&str, &str); 16] = [
    ("", "PersistentVolumeClaim"),
    ("", "Pod"),
    ("", "ServiceAccount"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("batch", "CronJob"),
    ("batch", "Job"),
    ("policy", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("networking.k8s.io", "NetworkPolicy"),
];

/// The kind of an object; `None` after an error.
pub(crate) fn identify(json: &Value, issues: &mut Issues<'_>) -> Option<Identity> {
    let api_version = text(json, "apiVersion", issues);
    let kind = text(json, "kind", issues);
    let (api_version, kind) = (api_version?, kind?);
    let of_kind: Vec<&Kind> = table().kinds.iter().filter(|known| known.kind == kind).collect();
    let group = group_of(api_version);
    if let Some(known) = of_kind.iter().find(|known| known.group == group) {
        return served(known, api_version, issues);
    }
    let near = near_version(api_version, of_kind.iter().copied());
    let malformed = !well_formed(api_version);
    if malformed || near.is_some() {
        let near = near.or_else(|| near_version(api_version, &table().kinds));
        let message =
            if malformed { "must be a group and a version" } else { "group is not known for this kind" };
        let suggestion = near.map(|near| suggest::did_you_mean(&near));
        issues.error(&Path::ROOT.field("apiVersion"), Part::Value, message.into(), suggestion);
        return None;
    }
    let of_group = table().kinds.iter().filter(|known| known.group == group).map(|known| known.kind.as_str());
    if let Some(suggestion) = suggest::near_miss(kind, of_group) {
        let message = format!("kind is not known in {api_version}");
        issues.error(&Path::ROOT.field("kind"), Part::Value, message, Some(suggestion));
        return None;
    }
    if !WORKLOADS.contains(&(group, kind)) {
        let message = format!("{api_version} {kind} is not read by a gateway and is ignored");
        issues.warning(&Path::ROOT.field("kind"), Part::Value, message, None);
    }
    Some(Identity::Foreign)
}

/// A string at the root that must be there.
fn text<'j>(json: &'j Value, field: &str, issues: &mut Issues<'_>) -> Option<&'j str> {
    let path = Path::ROOT.field(field);
    match json.get(field) {
        Some(Value::String(text)) if !text.is_empty() => return Some(text),
        Some(_) => issues.error(&path, Part::Value, "must be a string that is not empty".into(), None),
        None => {
            let mut others = json.as_object().into_iter().flat_map(|fields| fields.keys());
            let near = others.find(|key| suggest::nearest(key, [field]).is_some());
            let near = near.map(|key| format!("`{key}` is written instead"));
            issues.error(&path, Part::Value, format!("{field} is missing"), near);
        }
    }
    None
}

fn served(known: &'static Kind, api_version: &str, issues: &mut Issues<'_>) -> Option<Identity> {
    let path = Path::ROOT.field("apiVersion");
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let Some(served) = known.versions.iter().find(|served| served.name == version) else {
        let message = format!("{} is not served in this version", known.kind);
        let names: Vec<String> =
            known.versions.iter().map(|served| format!("`{}`", written(known, served))).collect();
        issues.error(&path, Part::Value, message, Some(format!("use {}", names.join(" or "))));
        return None;
    };
    if served.deprecated {
        let message = format!("this version of {} is deprecated", known.kind);
        let use_instead = format!("use `{}`", written(known, &known.versions[0]));
        issues.warning(&path, Part::Value, message, Some(use_instead));
    }
    Some(Identity::Known(known, served))
}

/// A kind's version as `apiVersion` has it.
fn written(kind: &Kind, version: &Version) -> String {
    if kind.group.is_empty() { version.name.clone() } else { format!("{}/{}", kind.group, version.name) }
}

/// The `apiVersion` of these kinds that is at most three edits away.
fn near_version<'k>(api_version: &str, kinds: impl IntoIterator<Item = &'k Kind>) -> Option<String> {
    let all = kinds.into_iter().flat_map(|kind| kind.versions.iter().map(|version| written(kind, version)));
    all.filter(|known| known.contains('/'))
        .map(|known| (strsim::osa_distance(api_version, &known), known))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, known)| known)
}

fn well_formed(api_version: &str) -> bool {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    crate::names::subdomain(group).is_ok() && crate::names::label(version).is_ok()
}
