//! Names, namespaces, labels and annotations.

use serde_json::{Value, json};

use super::{
    issue::{Issues, Part, Path},
    suggest,
};
use crate::{
    names::{self, Complaint},
    schema::Kind,
};

/// All annotations of an object together may have this many bytes.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// What kubectl uses when neither the object nor the user names one.
const DEFAULT_NAMESPACE: &str = "default";

/// Names of most kinds are DNS names, of some single labels; those of bundles begin with their signer's.
fn rule_of_names(kind: &Kind) -> fn(&str) -> Result<(), Complaint> {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace" | "Service") => names::label,
        ("certificates.k8s.io", "ClusterTrustBundle") => names::trust_bundle,
        _ => names::subdomain,
    }
}

/// Validates an object's metadata and fills in the namespace: `default` for namespaced kinds, none for the others.
pub(crate) fn check(kind: &Kind, json: &mut Value, issues: &mut Issues<'_>) {
    let path = Path::ROOT.field("metadata");
    let metadata = match json.get_mut("metadata") {
        Some(Value::Object(metadata)) => metadata,
        // Of a wrong type, which is reported already.
        Some(_) => return,
        None => {
            return issues.error(&path.field("name"), Part::Value, "required field is missing".into(), None);
        }
    };
    match metadata.get("name").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => {
            name_like(&path.field("name"), Part::Value, name, rule_of_names(kind), issues);
        }
        _ if metadata.contains_key("generateName") => {
            let message = "a file must give its objects names".to_owned();
            issues.error(&path.field("generateName"), Part::Key, message, Some("use `name`".into()));
        }
        _ => issues.error(&path.field("name"), Part::Value, "required field is missing".into(), None),
    }
    let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !kind.namespaced {
        if !namespace.is_empty() {
            let message = format!("{} has no namespace; this one is ignored", kind.kind);
            issues.warning(&path.field("namespace"), Part::Value, message, Some("remove it".into()));
        }
        metadata.remove("namespace");
    } else if namespace.is_empty() {
        metadata.insert("namespace".into(), json!(DEFAULT_NAMESPACE));
    } else {
        name_like(&path.field("namespace"), Part::Value, &namespace, names::label, issues);
    }
    let pairs = |field: &str| metadata.get(field).and_then(Value::as_object).into_iter().flatten();
    for (key, value) in pairs("labels") {
        let labels = path.field("labels");
        name_like(&labels.field(key), Part::Key, key, names::qualified, issues);
        let value = value.as_str().unwrap_or_default();
        name_like(&labels.field(key), Part::Value, value, names::label_value, issues);
    }
    let mut size = 0;
    for (key, value) in pairs("annotations") {
        let annotations = path.field("annotations");
        name_like(&annotations.field(key), Part::Key, key, names::qualified, issues);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        let message = format!("all annotations together may have {MAX_ANNOTATIONS} bytes, not {size}");
        issues.error(&path.field("annotations"), Part::Key, message, None);
    }
}

/// Reports a text that breaks a rule for names.
pub(crate) fn name_like(
    path: &Path<'_>,
    part: Part,
    text: &str,
    rule: fn(&str) -> Result<(), Complaint>,
    issues: &mut Issues<'_>,
) {
    if let Err(complaint) = rule(text) {
        let repaired = suggest::repaired(text, |candidate| rule(candidate).is_ok());
        let suggestion = repaired.or_else(|| suggest::hint(text));
        issues.error(path, part, format!("must be {complaint}"), suggestion);
    }
}
