//! Whether the fields that we set still read as they did. Pure.

use serde_json::{Map, Value};

/// Names that tell the items of Kubernetes' lists apart, the most telling first.
const KEYS: [&str; 4] = ["mountPath", "name", "uid", "topologyKey"];

/// What an object holds at the places that `shape` sets; `null` where it holds nothing.
pub(super) fn project(shape: &Value, live: &Value) -> Value {
    match (shape, live) {
        (Value::Object(shape), Value::Object(live)) => {
            let fields = shape.iter().map(|(name, inner)| {
                let found = live.get(name).map_or(Value::Null, |found| project(inner, found));
                (name.clone(), found)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        (Value::Array(shape), Value::Array(live)) => {
            let items = shape.iter().enumerate();
            Value::Array(items.map(|(index, item)| partner(item, index, live)).collect())
        }
        (_, live) => live.clone(),
    }
}

/// The item that corresponds to one of ours: others may have added items of their own.
fn partner(item: &Value, index: usize, live: &[Value]) -> Value {
    let key = KEYS.iter().find(|key| item.get(**key).is_some());
    let found = match key {
        Some(key) => live.iter().find(|other| other.get(key) == item.get(key)),
        None => live.get(index),
    };
    found.map_or(Value::Null, |found| project(item, found))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::project;

    #[test]
    fn what_others_add_is_no_drift() {
        let ours = json!({"a": 1, "list": [{"name": "x", "v": 1}], "plain": ["p"]});
        let live =
            json!({"a": 1, "b": 2, "list": [{"name": "y"}, {"name": "x", "v": 1, "w": 2}], "plain": ["p"]});
        assert_eq!(project(&ours, &live), ours);
    }

    #[test]
    fn what_others_change_or_remove_is_drift() {
        let ours = json!({"a": 1, "list": [{"name": "x", "v": 1}], "plain": ["p"]});
        for live in [
            json!({"a": 2, "list": [{"name": "x", "v": 1}], "plain": ["p"]}),
            json!({"list": [{"name": "x", "v": 1}], "plain": ["p"]}),
            json!({"a": 1, "list": [{"name": "x", "v": 2}], "plain": ["p"]}),
            json!({"a": 1, "list": [{"name": "y", "v": 1}], "plain": ["p"]}),
            json!({"a": 1, "list": [{"name": "x", "v": 1}], "plain": ["q"]}),
        ] {
            assert_ne!(project(&ours, &live), ours, "{live}");
        }
    }
}
