//! Lists and objects as the API server writes them, read no further than needed.

use gatehouse_model::NamespacedName;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) items: Vec<&'a RawValue>,
    pub(super) version: String,
    /// How to ask for the next page; `None` on the last one.
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(default)]
    metadata: WrittenMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

impl<'a> Page<'a> {
    pub(super) fn parse(text: &'a str) -> serde_json::Result<Self> {
        let Written { metadata, items } = serde_json::from_str(text)?;
        Ok(Self {
            items: items.unwrap_or_default(),
            version: metadata.resource_version,
            next: Some(metadata.next).filter(|next| !next.is_empty()),
        })
    }
}

/// Which object a text is about.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    metadata: HeadMeta,
}

#[derive(Debug, Default, Deserialize)]
struct HeadMeta {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
}

impl Head {
    pub(super) fn of(item: &RawValue) -> Self {
        serde_json::from_str(item.get()).unwrap_or_default()
    }

    pub(super) fn key(&self) -> NamespacedName {
        NamespacedName::new(self.metadata.namespace.as_str(), self.metadata.name.as_str())
    }
}
