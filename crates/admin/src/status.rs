//! The status document as last written.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// A JSON document that its owner replaces and `/status` shows; sharing and reading it never blocks.
#[derive(Debug, Clone, Default)]
pub struct StatusPage {
    json: Arc<ArcSwapOption<String>>,
}

impl StatusPage {
    /// Replaces the document; the caller vouches that it is JSON.
    pub fn set(&self, json: impl Into<String>) {
        self.json.store(Some(Arc::new(json.into())));
    }

    /// The document; `None` before the first.
    pub fn get(&self) -> Option<Arc<String>> {
        self.json.load_full()
    }
}
