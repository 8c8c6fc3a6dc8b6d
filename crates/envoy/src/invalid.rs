//! What is wrong with a value, said before Envoy would refuse it.

/// A value that Envoy would refuse, with Envoy's own words where they are known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// Path of the field: in Gateway API's words below `rules[]` for a route (`filters.urlRewrite.hostname`,
    /// `backendRefs[1].filters...`), in Envoy's words for a message.
    pub field: String,
    /// What is wrong, for people.
    pub message: String,
}

impl Invalid {
    /// Makes a finding.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}
