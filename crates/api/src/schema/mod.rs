//! The schema table: what Gateway API's and Envoy Gateway's CRDs and Kubernetes' own types demand of an object.
//!
//! `cargo xtask schema` writes `table.json` from the pinned Go modules; `cargo xtask schema --check` tells when
//! both differ. Nodes refer to each other by number; equal subtrees are one node.

pub(crate) mod rule;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{LazyLock, OnceLock},
};

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use self::rule::Rule;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table: Table =
        serde_json::from_str(include_str!("table.json")).expect("the embedded table is tested to parse");
    table.mark_rules();
    table
});

/// The version of Gateway API whose definitions are built in, such as `v1.7.0`.
pub fn gateway_api_version() -> &'static str {
    table().sources.get("sigs.k8s.io/gateway-api").map_or("", String::as_str)
}

/// The embedded table, parsed at first use.
pub(crate) fn table() -> &'static Table {
    &TABLE
}

/// All schemas.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// The modules it was made from, with their versions.
    pub(crate) sources: BTreeMap<String, String>,
    pub(crate) kinds: Vec<Kind>,
    nodes: Vec<Schema>,
}

/// A kind with its served versions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "a kind has a kind")]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    /// The preferred version comes first.
    pub(crate) versions: Vec<Version>,
}

/// A served version of a kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Version {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) deprecated: bool,
    pub(crate) node: NodeId,
}

/// The number of a node.
#[derive(Clone, Copy, Deserialize)]
#[serde(transparent)]
pub(crate) struct NodeId(usize);

/// A JSON type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Type {
    Array,
    Boolean,
    Integer,
    Number,
    Object,
    String,
}

/// How items of a list are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ListType {
    Atomic,
    Map,
    Set,
}

/// One node: a structural schema. Unknown keywords fail to parse, so none is overlooked.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "they are the table's keywords"
)]
pub(crate) struct Schema {
    #[serde(rename = "type")]
    pub(crate) schema_type: Option<Type>,
    pub(crate) properties: BTreeMap<String, NodeId>,
    pub(crate) required: Vec<String>,
    pub(crate) items: Option<NodeId>,
    pub(crate) additional_properties: Option<NodeId>,
    #[serde(rename = "enum")]
    pub(crate) allowed: Vec<Value>,
    pub(crate) default: Option<Value>,
    pub(crate) minimum: Option<i64>,
    pub(crate) maximum: Option<i64>,
    pub(crate) min_length: Option<usize>,
    pub(crate) max_length: Option<usize>,
    pub(crate) min_items: Option<usize>,
    pub(crate) max_items: Option<usize>,
    pub(crate) min_properties: Option<usize>,
    pub(crate) max_properties: Option<usize>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) format: Option<String>,
    pub(crate) nullable: bool,
    pub(crate) list_type: Option<ListType>,
    pub(crate) list_map_keys: Vec<String>,
    pub(crate) int_or_string: bool,
    pub(crate) preserve_unknown: bool,
    pub(crate) rules: Vec<Rule>,
    pub(crate) all_of: Vec<NodeId>,
    pub(crate) any_of: Vec<NodeId>,
    pub(crate) one_of: Vec<NodeId>,
    pub(crate) not: Option<NodeId>,
    /// Whether it or a node below has rules.
    #[serde(skip)]
    pub(crate) has_rules: bool,
}

impl Schema {
    /// The schema of a property, declared or additional.
    pub(crate) fn property(&self, name: &str) -> Option<NodeId> {
        self.properties.get(name).copied().or(self.additional_properties)
    }
}

/// A regular expression, compiled at first use. RE2 syntax is a subset of what `regex` reads.
#[derive(Deserialize)]
#[serde(from = "String")]
pub(crate) struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self { text, compiled: OnceLock::new() }
    }
}

impl Pattern {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches somewhere in the text; an expression that does not compile matches nothing, and a test
    /// proves that there is none.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        let regex = self.compiled.get_or_init(|| Regex::new(&self.text).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl Table {
    /// The node of a number.
    pub(crate) fn node(&self, id: NodeId) -> &Schema {
        &self.nodes[id.0]
    }

    /// Children have lower numbers than their parents, so one pass suffices.
    fn mark_rules(&mut self) {
        for number in 0..self.nodes.len() {
            let (below, rest) = self.nodes.split_at_mut(number);
            let node = &mut rest[0];
            let children = node.properties.values().chain(&node.items).chain(&node.additional_properties);
            let marked =
                children.copied().any(|child| below.get(child.0).is_some_and(|child| child.has_rules));
            node.has_rules = marked || !node.rules.is_empty();
        }
    }
}
