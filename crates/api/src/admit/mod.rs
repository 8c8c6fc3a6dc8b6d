//! Admission: what the API server would do with an object that is created.
//!
//! ```text
//! document -> kind and version -> unknown fields -> defaults -> structure -> CEL rules -> names and core rules -> object
//! ```
//!
//! Rules that compare with a stored object (`oldSelf`) are skipped, as on creation.

mod core_kinds;
mod fields;
mod identify;
mod issue;
mod metadata;
mod suggest;
#[cfg(test)]
mod tests;
mod validate;

use serde_json::Value;

use self::{
    identify::Identity,
    issue::{Issues, Part, Path},
};
use crate::{
    Diagnostic, Object,
    schema::{Kind, Version, table},
    source::Document,
};

/// An object that the API server would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The object.
    pub object: Object,
    /// All that was written, with defaults, without status.
    pub json: Value,
    /// What is legal but hardly meant.
    pub warnings: Vec<Diagnostic>,
}

/// Decodes, defaults and validates a document; `Err` holds errors and warnings in the order of the text.
///
/// A namespaced object without a namespace gets `default`. Objects of kinds that are not read are kept as
/// [`Object::Other`], with a warning.
pub fn admit(document: &Document) -> Result<Admitted, Vec<Diagnostic>> {
    let Some(root) = &document.root else { return Err(document.diagnostics.clone()) };
    let mut json = root.to_json();
    let secret = json.get("kind").is_some_and(|kind| kind == "Secret");
    let mut issues = Issues::new(document, secret);
    if !json.is_object() {
        issues.error(
            &Path::ROOT,
            Part::Value,
            "must be an object with apiVersion, kind and metadata".into(),
            None,
        );
        return Err(issues.found);
    }
    match identify::identify(&json, &mut issues) {
        Some(Identity::Known(kind, version)) => process(kind, version, &mut json, &mut issues),
        Some(Identity::Foreign) | None => {}
    }
    if issues.has_errors() {
        return Err(sorted(issues.found));
    }
    match Object::from_json(&json) {
        Ok(object) => Ok(Admitted { object, json, warnings: sorted(issues.found) }),
        Err(error) => {
            issues.error(&Path::ROOT, Part::Value, error.to_string(), None);
            Err(sorted(issues.found))
        }
    }
}

fn process(kind: &Kind, version: &Version, json: &mut Value, issues: &mut Issues<'_>) {
    let table = table();
    let schema = table.node(version.node);
    let custom = is_custom(kind);
    fields::report_unknown(table, schema, json, &Path::ROOT, issues);
    if let Some(fields) = json.as_object_mut() {
        // Creation ignores the status, and what decodes into Go's structs ignores nulls.
        fields.remove("status");
        if !custom {
            fields.values_mut().for_each(fields::remove_nulls);
            fields.retain(|_, value| !value.is_null());
        } else if let Some(metadata) = fields.get_mut("metadata") {
            fields::remove_nulls(metadata);
        }
    }
    fields::default(table, schema, json);
    if !custom {
        core_kinds::default(&kind.kind, json);
    }
    validate::validate(table, schema, json, &Path::ROOT, issues);
    let structurally_valid = !issues.has_errors();
    metadata::check(kind, json, issues);
    if !structurally_valid {
        return;
    }
    if custom {
        validate::check_rules(table, schema, json, &Path::ROOT, issues);
        core_kinds::warn_of_impossible_services(&json["spec"], &Path::ROOT.field("spec"), issues);
    } else {
        core_kinds::check(&kind.kind, json, issues);
    }
}

/// Whether a kind is defined by a CRD.
fn is_custom(kind: &Kind) -> bool {
    !matches!(kind.group.as_str(), "" | "discovery.k8s.io")
}

fn sorted(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
    diagnostics
}
