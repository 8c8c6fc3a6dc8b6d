//! JSON to YAML for people; the one place that knows `serde_yaml`.

use serde_json::Value;

/// A value as a YAML document.
pub fn to_yaml(value: &Value) -> String {
    serde_yaml::to_string(value).expect("JSON values have string keys and always serialise")
}
