//! Schema nodes, interned: equal subtrees (v1 and v1beta1, say) appear once.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::modules;

/// The table under construction.
#[derive(Default)]
pub(crate) struct Table {
    /// Each node's text by its number.
    nodes: Vec<String>,
    /// Each node's number by its text.
    numbers: BTreeMap<String, usize>,
    /// The rendered kinds, in the order added.
    kinds: Vec<String>,
}

impl Table {
    /// The number of a node whose children are numbers already.
    pub(crate) fn intern(&mut self, node: &Map<String, Value>) -> Result<usize> {
        let text = serde_json::to_string(node)?;
        if let Some(number) = self.numbers.get(&text) {
            return Ok(*number);
        }
        self.nodes.push(text.clone());
        self.numbers.insert(text, self.nodes.len() - 1);
        Ok(self.nodes.len() - 1)
    }

    /// Adds a kind; `versions` are name, deprecation and node.
    pub(crate) fn kind(
        &mut self,
        group: &str,
        kind: &str,
        namespaced: bool,
        versions: &[(String, bool, usize)],
    ) -> Result<()> {
        let versions: Vec<Value> = versions
            .iter()
            .map(|(name, deprecated, node)| match deprecated {
                true => json!({"name": name, "deprecated": true, "node": node}),
                false => json!({"name": name, "node": node}),
            })
            .collect();
        let kind = json!({"group": group, "kind": kind, "namespaced": namespaced, "versions": versions});
        self.kinds.push(serde_json::to_string(&kind)?);
        Ok(())
    }

    /// The table as text, one node a line, so that a difference can be read.
    pub(crate) fn render(&self) -> Result<String> {
        let sources: BTreeMap<_, _> =
            modules::ALL.iter().map(|module| (module.path, module.version)).collect();
        let mut text = format!("{{\n\"sources\":{},\n\"kinds\":[\n", serde_json::to_string(&sources)?);
        text.push_str(&self.kinds.join(",\n"));
        write!(text, "\n],\n\"nodes\":[\n{}\n]\n}}\n", self.nodes.join(",\n"))?;
        Ok(text)
    }
}
