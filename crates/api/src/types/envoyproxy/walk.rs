//! Walks the schema of a kind, for tests that no field is ignored in silence.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::schema::{NodeId, Schema, Type, table};

/// The fields of a kind's spec that are not named as unsupported when a spec has them alone. What is among `heeded` has an
/// effect as a whole, what stands below it too.
pub(in crate::types) fn fields(
    kind: &str,
    heeded: &BTreeSet<String>,
    named: &dyn Fn(Value) -> bool,
) -> BTreeSet<String> {
    let kind = table().kinds.iter().find(|known| known.kind == kind).unwrap();
    let root = table().node(kind.versions[0].node).property("spec").unwrap();
    let mut walk = Walk { heeded, named, found: BTreeSet::new() };
    walk.collect(root, &mut Vec::new());
    walk.found
}

struct Walk<'a> {
    heeded: &'a BTreeSet<String>,
    named: &'a dyn Fn(Value) -> bool,
    found: BTreeSet<String>,
}

impl Walk<'_> {
    fn collect(&mut self, id: NodeId, path: &mut Vec<&'static str>) {
        for (name, child) in &table().node(id).properties {
            path.push(name);
            self.field(*child, path);
            path.pop();
        }
    }

    fn field(&mut self, id: NodeId, path: &mut Vec<&'static str>) {
        let schema = table().node(id);
        if samples(schema).into_iter().all(|value| (self.named)(with(path, value))) {
            return;
        }
        let text = path.join(".").replace(".[]", "[]");
        let items = schema.items.filter(|items| !table().node(*items).properties.is_empty());
        if self.heeded.contains(&text) || (schema.properties.is_empty() && items.is_none()) {
            self.found.insert(text);
        } else if let Some(items) = items {
            path.push("[]");
            self.collect(items, path);
            path.pop();
        } else {
            self.collect(id, path);
        }
    }
}

/// A spec with one field, at a path of names and `[]`.
fn with(path: &[&str], value: Value) -> Value {
    path.iter()
        .rev()
        .fold(value, |inner, step| if *step == "[]" { json!([inner]) } else { json!({ *step: inner }) })
}

fn samples(schema: &Schema) -> Vec<Value> {
    if !schema.allowed.is_empty() {
        return schema.allowed.clone();
    }
    match schema.schema_type {
        Some(Type::Array) => vec![json!([])],
        Some(Type::Boolean) => vec![json!(true), json!(false)],
        Some(Type::Integer | Type::Number) | None => vec![json!(1)],
        Some(Type::Object) => vec![json!({})],
        // The words of `routingType` and `onInvalidMessage` are not in their schemas.
        Some(Type::String) => vec![json!("x"), json!("Service"), json!("TerminateStream")],
    }
}
