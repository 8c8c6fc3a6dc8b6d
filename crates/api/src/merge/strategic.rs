//! Strategic merge, with its directives.

use serde_json::{Map, Value};

use super::{Field, MergeError, Schema};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch to an object.
pub fn strategic(original: Value, patch: &Value, schema: &Schema) -> Result<Value, MergeError> {
    match (original, patch) {
        (Value::Object(original), Value::Object(patch)) => {
            object(original, patch, schema, "").map(Value::Object)
        }
        _ => Err(error("", "a patch must be an object")),
    }
}

fn error(at: &str, why: impl Into<String>) -> MergeError {
    MergeError { at: at.to_owned(), why: why.into() }
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

fn object(
    mut merged: Map<String, Value>,
    patch: &Map<String, Value>,
    schema: &Schema,
    at: &str,
) -> Result<Map<String, Value>, MergeError> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                let mut patch = patch.clone();
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Map::new()),
            _ => Err(error(at, format!("unknown $patch directive {directive}"))),
        };
    }
    if let Some(retained) = patch.get(RETAIN) {
        retain(&mut merged, patch, retained, at)?;
    }
    delete_scalars(&mut merged, patch, at)?;
    for (key, value) in patch {
        if key != RETAIN && !key.starts_with(ORDER) && !key.starts_with(DELETE) {
            let order = patch.get(&format!("{ORDER}{key}"));
            field(&mut merged, key, value, order, schema, &join(at, key))?;
        }
    }
    for (key, order) in patch {
        if let Some(name) = key.strip_prefix(ORDER).filter(|name| !patch.contains_key(*name)) {
            reorder(&mut merged, name, order, schema, &join(at, name))?;
        }
    }
    Ok(merged)
}

/// Keeps only the named fields; whoever patches must name what it sets.
fn retain(
    merged: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    retained: &Value,
    at: &str,
) -> Result<(), MergeError> {
    let retained = list(retained, at)?;
    let stays = |key: &str| retained.iter().any(|name| name.as_str() == Some(key));
    if let Some(key) = patch.keys().find(|key| !key.starts_with('$') && !stays(key)) {
        return Err(error(at, format!("{key:?} is set but not among $retainKeys")));
    }
    merged.retain(|key, _| stays(key));
    Ok(())
}

fn delete_scalars(
    merged: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    at: &str,
) -> Result<(), MergeError> {
    for (key, gone) in patch {
        let Some(name) = key.strip_prefix(DELETE) else { continue };
        let gone = list(gone, &join(at, name))?;
        if let Some(Value::Array(items)) = merged.get_mut(name) {
            items.retain(|item| !gone.contains(item));
        }
    }
    Ok(())
}

fn field(
    merged: &mut Map<String, Value>,
    key: &str,
    patch: &Value,
    order: Option<&Value>,
    schema: &Schema,
    at: &str,
) -> Result<(), MergeError> {
    if patch.is_null() {
        merged.remove(key);
        return Ok(());
    }
    let value = match (merged.remove(key), patch) {
        (Some(Value::Object(old)), Value::Object(new)) => match schema.field(key) {
            Some(Field::Replaced) => patch.clone(),
            _ => Value::Object(object(old, new, schema.object(key), at)?),
        },
        (Some(Value::Array(old)), Value::Array(new)) => {
            let order = order.map(|order| list(order, at)).transpose()?;
            Value::Array(items(old, new, order, schema.field(key), at)?)
        }
        _ => match added(patch) {
            Some(value) => value,
            None => return Ok(()),
        },
    };
    merged.insert(key.to_owned(), value);
    Ok(())
}

/// What a patch adds where nothing was: itself without directives and `null`s; `None` when it is a directive.
fn added(patch: &Value) -> Option<Value> {
    match patch {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => Some(Value::Object(
            fields
                .iter()
                .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
                .filter_map(|(key, value)| Some((key.clone(), added(value)?)))
                .collect(),
        )),
        Value::Array(items) => Some(Value::Array(items.iter().filter_map(added).collect())),
        scalar => Some(scalar.clone()),
    }
}

fn items(
    old: Vec<Value>,
    patch: &[Value],
    order: Option<&Vec<Value>>,
    how: Option<&'static Field>,
    at: &str,
) -> Result<Vec<Value>, MergeError> {
    match how {
        Some(Field::Keyed(key, schema)) => keyed(old, patch, order, key, schema, at),
        Some(Field::Set) => {
            let before = old.clone();
            let mut merged = old;
            for item in patch {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            Ok(arrange(merged, &before, order.map_or(patch, |order| order), |item| Some(item)))
        }
        _ => Ok(patch.to_vec()),
    }
}

fn keyed(
    old: Vec<Value>,
    patch: &[Value],
    order: Option<&Vec<Value>>,
    key: &'static str,
    schema: &Schema,
    at: &str,
) -> Result<Vec<Value>, MergeError> {
    let identity = |item: &Value| item.get(key).cloned();
    let before: Vec<Value> = old.clone();
    let mut merged = old;
    let mut present = Vec::new();
    for item in patch {
        match item.get(DIRECTIVE).and_then(Value::as_str) {
            Some("replace") => {
                let rest = patch.iter().filter(|item| item.get(DIRECTIVE).is_none());
                return Ok(rest.cloned().collect());
            }
            Some("delete") => {
                let gone =
                    identity(item).ok_or_else(|| error(at, format!("$patch: delete needs {key:?}")))?;
                merged.retain(|item| item.get(key) != Some(&gone));
            }
            Some(other) => return Err(error(at, format!("unknown $patch directive {other:?}"))),
            None => present.push(item),
        }
    }
    for item in &present {
        let (Value::Object(fields), Some(id)) = (item, identity(item)) else {
            return Err(error(at, format!("each item must have {key:?}")));
        };
        let position = merged.iter().position(|old| old.get(key) == Some(&id));
        match position.map(|index| (index, merged[index].take())) {
            Some((index, Value::Object(old))) => {
                merged[index] = Value::Object(object(old, fields, schema, &join(at, &text(&id)))?);
            }
            _ => merged.push((*item).clone()),
        }
    }
    let patched: Vec<Value> = present.into_iter().cloned().collect();
    Ok(arrange(merged, &before, order.unwrap_or(&patched), |item| item.get(key)))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Only `$setElementOrder` names the list: its items stay, in the order asked for.
fn reorder(
    merged: &mut Map<String, Value>,
    name: &str,
    order: &Value,
    schema: &Schema,
    at: &str,
) -> Result<(), MergeError> {
    let order = list(order, at)?;
    let Some(Value::Array(old)) = merged.get_mut(name) else { return Ok(()) };
    let before = old.clone();
    let items = std::mem::take(old);
    *old = match schema.field(name) {
        Some(Field::Keyed(key, _)) => arrange(items, &before, order, |item| item.get(key)),
        _ => arrange(items, &before, order, |item| Some(item)),
    };
    Ok(())
}

/// Puts the items that `order` names into its order, and merges them with the others: of two items that were there
/// `before`, the earlier comes first; else the named one does.
fn arrange(
    items: Vec<Value>,
    before: &[Value],
    order: &[Value],
    id: impl for<'a> Fn(&'a Value) -> Option<&'a Value>,
) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| list.iter().position(|other| id(other) == id(item));
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    let mut result = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        let was = place(before, &item);
        while let Some(other) = others
            .next_if(|other| matches!((place(before, other), was), (Some(left), Some(right)) if left < right))
        {
            result.push(other);
        }
        result.push(item);
    }
    result.extend(others);
    result
}

fn list<'a>(value: &'a Value, at: &str) -> Result<&'a Vec<Value>, MergeError> {
    value.as_array().ok_or_else(|| error(at, "a list is expected"))
}
