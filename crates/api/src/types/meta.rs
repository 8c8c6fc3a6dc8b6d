//! Object metadata, label selectors and the trait that all objects share.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::null_default;

/// What a gateway reads of an object's metadata.
///
/// Objects from files carry no `uid`, `generation`, `creation_timestamp` or `resource_version`; the file source
/// assigns what the pipeline needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// The name, unique per kind and namespace.
    #[serde(default)]
    pub name: String,
    /// The namespace; absent for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The identity over an object's lifetime; empty in file mode.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Counts changes of the desired state.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: i64,
    /// RFC 3339, seconds precision, UTC: lexical order is order in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// Since when the object is on its way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// Labels by key.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations by key, without the copy of the whole object that `kubectl apply` leaves there.
    #[serde(default, deserialize_with = "annotations", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The API server's opaque version of the stored object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

impl Meta {
    /// The namespace, empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

fn annotations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut annotations: BTreeMap<String, String> = null_default(deserializer)?;
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    Ok(annotations)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// What all kinds have in common; the constants name the kind.
pub trait Resource {
    /// The API group, empty for the core group.
    const GROUP: &'static str;
    /// The version in which the object is written by [`crate::Object::to_json`].
    const VERSION: &'static str;
    /// The kind.
    const KIND: &'static str;
    /// Whether objects live in namespaces.
    const NAMESPACED: bool;

    /// The object's metadata.
    fn meta(&self) -> &Meta;
    /// The object's metadata, to fill in what a file source assigns.
    fn meta_mut(&mut self) -> &mut Meta;
}

/// Implements [`Resource`] for a struct with a `metadata` field.
macro_rules! resource {
    ($name:ident, $group:literal, $version:literal, $namespaced:literal) => {
        impl $crate::types::Resource for $name {
            const GROUP: &'static str = $group;
            const VERSION: &'static str = $version;
            const KIND: &'static str = stringify!($name);
            const NAMESPACED: bool = $namespaced;

            fn meta(&self) -> &$crate::types::Meta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut $crate::types::Meta {
                &mut self.metadata
            }
        }
    };
}
pub(super) use resource;

/// Selects objects by their labels; the empty selector selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Each of these labels has this value.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Each of these requirements holds.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One requirement of a [`LabelSelector`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelectorRequirement {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// The values for `In` and `NotIn`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether an object with these labels is selected, or `None` when the selector itself is invalid: an unknown
    /// operator, or values where there must be none, or none where there must be some.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> Option<bool> {
        let mut selected = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        for requirement in &self.match_expressions {
            selected &= requirement.matches(labels)?;
        }
        Some(selected)
    }
}

impl LabelSelectorRequirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> Option<bool> {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match (self.operator.as_str(), self.values.is_empty()) {
            ("In", false) => Some(listed),
            ("NotIn", false) => Some(!listed),
            ("Exists", true) => Some(value.is_some()),
            ("DoesNotExist", true) => Some(value.is_none()),
            _ => None,
        }
    }
}
