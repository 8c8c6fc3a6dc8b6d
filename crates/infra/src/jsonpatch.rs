//! JSON patches (RFC 6902).

use gatehouse_api::types::envoyproxy::JsonPatchOperation;
use serde_json::Value;

/// Applies the operations in order; the error says which one fails and why.
pub(crate) fn apply(mut document: Value, operations: &[JsonPatchOperation]) -> Result<Value, String> {
    for (index, operation) in operations.iter().enumerate() {
        one(&mut document, operation)
            .map_err(|why| format!("operation {index} ({}): {why}", operation.op()))?;
    }
    Ok(document)
}

trait Fields {
    fn op(&self) -> &str;
    fn path(&self) -> Result<&str, String>;
    fn from(&self) -> Result<&str, String>;
    fn value(&self) -> Result<Value, String>;
}

impl Fields for JsonPatchOperation {
    fn op(&self) -> &str {
        self.op.as_deref().unwrap_or_default()
    }

    fn path(&self) -> Result<&str, String> {
        self.path.as_deref().ok_or_else(|| "path is missing".to_owned())
    }

    fn from(&self) -> Result<&str, String> {
        self.from.as_deref().ok_or_else(|| "from is missing".to_owned())
    }

    fn value(&self) -> Result<Value, String> {
        self.value.clone().ok_or_else(|| "value is missing".to_owned())
    }
}

fn one(document: &mut Value, operation: &JsonPatchOperation) -> Result<(), String> {
    let path = operation.path()?;
    match operation.op() {
        "add" => add(document, path, operation.value()?),
        "remove" => remove(document, path).map(drop),
        "replace" => {
            let value = operation.value()?;
            *document.pointer_mut(path).ok_or_else(|| nothing(path))? = value;
            Ok(())
        }
        "move" => {
            let from = operation.from()?;
            if path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
                return Err(format!("{from} cannot move into itself"));
            }
            let value = remove(document, from)?;
            add(document, path, value)
        }
        "copy" => {
            let from = operation.from()?;
            let value = document.pointer(from).ok_or_else(|| nothing(from))?.clone();
            add(document, path, value)
        }
        "test" => match document.pointer(path) {
            Some(value) if *value == operation.value()? => Ok(()),
            _ => Err(format!("{path} has another value")),
        },
        other => Err(format!("unknown operation {other:?}")),
    }
}

fn nothing(path: &str) -> String {
    format!("there is nothing at {path:?}")
}

/// The parent of what a pointer names, and its last token.
fn parent<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| format!("{path:?} is no JSON pointer"))?;
    let token = last.replace("~1", "/").replace("~0", "~");
    Ok((document.pointer_mut(parent).ok_or_else(|| nothing(parent))?, token))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    match parent(document, path)? {
        (Value::Object(fields), token) => {
            fields.insert(token, value);
        }
        (Value::Array(items), token) if token == "-" => items.push(value),
        (Value::Array(items), token) => {
            let index = token.parse().ok().filter(|index| *index <= items.len());
            items.insert(index.ok_or_else(|| format!("{token:?} is no place in the list"))?, value);
        }
        _ => return Err(nothing(path)),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, String> {
    let removed = match parent(document, path)? {
        (Value::Object(fields), token) => fields.remove(&token),
        (Value::Array(items), token) => {
            token.parse().ok().filter(|index| *index < items.len()).map(|index: usize| items.remove(index))
        }
        _ => None,
    };
    removed.ok_or_else(|| nothing(path))
}

#[cfg(test)]
mod tests {
    use gatehouse_api::types::envoyproxy::JsonPatchOperation;
    use serde_json::{Value, json};

    fn patch(document: Value, operations: Value) -> Result<Value, String> {
        let operations: Vec<JsonPatchOperation> = serde_json::from_value(operations).unwrap();
        super::apply(document, &operations)
    }

    #[test]
    fn operations_of_rfc_6902_apply_in_order() {
        let document = json!({"a": {"b": [1, 2]}, "x/y": 1});
        let patched = patch(
            document,
            json!([
                {"op": "test", "path": "/a/b/0", "value": 1},
                {"op": "add", "path": "/a/b/-", "value": 3},
                {"op": "add", "path": "/a/b/0", "value": 0},
                {"op": "replace", "path": "/x~1y", "value": 2},
                {"op": "copy", "from": "/a/b", "path": "/c"},
                {"op": "move", "from": "/a/b/1", "path": "/d"},
                {"op": "remove", "path": "/c/0"},
            ]),
        );
        assert_eq!(patched.unwrap(), json!({"a": {"b": [0, 2, 3]}, "x/y": 2, "c": [1, 2, 3], "d": 1}));
    }

    #[test]
    fn a_failing_operation_is_named() {
        let faults = [
            (
                json!({"op": "replace", "path": "/b", "value": 1}),
                "operation 0 (replace): there is nothing at \"/b\"",
            ),
            (json!({"op": "remove", "path": "/a/1"}), "operation 0 (remove): there is nothing at \"/a/1\""),
            (
                json!({"op": "add", "path": "/a/2", "value": 1}),
                "operation 0 (add): \"2\" is no place in the list",
            ),
            (json!({"op": "test", "path": "/a", "value": 1}), "operation 0 (test): /a has another value"),
            (json!({"op": "add", "path": "/a"}), "operation 0 (add): value is missing"),
            (
                json!({"op": "move", "from": "/a", "path": "/a/0"}),
                "operation 0 (move): /a cannot move into itself",
            ),
            (json!({"op": "put", "path": "/a"}), "operation 0 (put): unknown operation \"put\""),
        ];
        for (operation, fault) in faults {
            assert_eq!(patch(json!({"a": [1]}), json!([operation])), Err(fault.to_owned()));
        }
    }
}
