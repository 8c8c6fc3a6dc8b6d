//! Patches of objects, as Kubernetes applies them: RFC 7386 and strategic merge. Pure.
//!
//! ```text
//! original + patch + Schema (merge keys) --strategic--> patched | MergeError (where, why)
//! original + patch                       --json-------> patched
//! ```

mod keys;
mod strategic;

pub use keys::{ENVOY_PROXY_SPEC, Field, Schema, of_kind};
pub use strategic::strategic;

use serde_json::{Map, Value};

/// A patch that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("apply patch at {at:?}: {why}")]
pub struct MergeError {
    /// The field, as `spec.template`; empty for the root.
    pub at: String,
    /// What is wrong with the patch.
    pub why: String,
}

/// Applies a JSON merge patch (RFC 7386): objects merge, `null` removes, everything else replaces.
pub fn json(original: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut merged = match original {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    for (key, value) in patch {
        if value.is_null() {
            merged.remove(key);
        } else {
            let old = merged.remove(key).unwrap_or_default();
            merged.insert(key.clone(), json(old, value));
        }
    }
    Value::Object(merged)
}

#[cfg(test)]
mod tests;
