//! A tree of YAML values that know where they stand.

use serde_json::{Map, Value};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What stands there.
    pub value: NodeValue,
}

/// What stands at a [`Node`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeValue {
    /// A string, number, boolean or null.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order written, merge keys expanded. Of equal keys the last counts.
    Map(Vec<Entry>),
}

/// A scalar and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// Anything else.
    Other {
        /// As written.
        raw: String,
        /// As read.
        value: Value,
    },
}

/// A key of a mapping with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Node,
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As it reads in JSON.
    pub text: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Whether it is YAML's merge key `<<`, unquoted.
    pub(super) merge: bool,
}

impl Node {
    /// The value under a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry under a key of a mapping.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            NodeValue::Map(entries) => entries.iter().rev().find(|entry| entry.key.text == key),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Scalar(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A scalar as it was written, quotes left out; empty for mappings and lists.
    pub fn raw(&self) -> &str {
        match &self.value {
            NodeValue::Scalar(Scalar::Text(raw) | Scalar::Other { raw, .. }) => raw,
            _ => "",
        }
    }

    /// The value without positions. The depth of a tree is bounded by [`super::MAX_DEPTH`].
    pub fn to_json(&self) -> Value {
        match &self.value {
            NodeValue::Scalar(Scalar::Text(text)) => Value::String(text.clone()),
            NodeValue::Scalar(Scalar::Other { value, .. }) => value.clone(),
            NodeValue::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            NodeValue::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.text.clone(), entry.value.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// How many nodes the tree has, and how deep it is.
    pub(super) fn extent(&self) -> (usize, usize) {
        let children: Box<dyn Iterator<Item = &Node>> = match &self.value {
            NodeValue::Scalar(_) => return (1, 1),
            NodeValue::List(items) => Box::new(items.iter()),
            NodeValue::Map(entries) => Box::new(entries.iter().map(|entry| &entry.value)),
        };
        let (size, depth) =
            children.map(Self::extent).fold((0, 0), |(size, depth), (s, d)| (size + s, depth.max(d)));
        (size + 1, depth + 1)
    }
}
