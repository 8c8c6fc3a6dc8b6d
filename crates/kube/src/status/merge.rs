//! Puts our part into a live status and leaves everybody else's as it is.
//!
//! Invariants: entries and conditions that are not ours stay equal and in their order; a condition keeps its transition
//! time while its status stays; nothing newer is overwritten; there are never more of ours than the schema has room for: the API server would
//! refuse all of it; merging the same again changes nothing.

use serde_json::{Map, Value};

use super::own::{FIELDS, LESSER_TYPES, Shape, is_empty, is_our_condition, is_our_entry, is_shared};

/// As many conditions as any schema of Gateway API allows.
const MOST_CONDITIONS: usize = 8;

/// The live status with what we have to say; `None` says nothing.
///
/// With nothing to say our entries leave a route or policy. Elsewhere the status stays: an object that is no longer ours has another
/// controller, which writes the same condition types.
pub fn merge(
    shape: Shape,
    live: &Value,
    desired: Option<&Value>,
    controllers: &[impl AsRef<str>],
    now: &str,
) -> Value {
    let mut fields = live.as_object().cloned().unwrap_or_default();
    match (shape.entries(), desired) {
        (Some((list, about)), desired) => {
            let desired = desired.map_or(&Value::Null, |desired| &desired[list]);
            let entries = merge_entries(&live[list], desired, (about, shape.most()), controllers, now);
            if !is_empty(&entries) || live[list].is_array() {
                fields.insert(list.into(), entries);
            }
        }
        (None, Some(desired)) => merge_fields(&mut fields, live, desired, now),
        (None, None) => {}
    }
    Value::Object(fields)
}

fn merge_fields(fields: &mut Map<String, Value>, live: &Value, desired: &Value, now: &str) {
    for field in FIELDS.iter().filter(|field| !is_shared(field)) {
        // Where a Gateway is reached is not known yet, which is no news.
        if *field == "addresses" && desired.get(field).is_none() {
            continue;
        }
        let (old, new) = (&live[*field], &desired[*field]);
        let merged = match *field {
            "conditions" => merge_conditions(old, new, now),
            "listeners" => merge_listeners(old, new, now),
            _ => new.clone(),
        };
        if !is_empty(&merged) {
            fields.insert((*field).to_owned(), merged);
        } else if !is_empty(old) {
            fields.remove(*field);
        }
    }
}

/// Ours are replaced in their place, those that we no longer have leave, new ones come last.
fn merge_entries(
    old: &Value,
    new: &Value,
    (about, most): (&str, usize),
    controllers: &[impl AsRef<str>],
    now: &str,
) -> Value {
    let mut new: Vec<&Value> = items(new).collect();
    let mut merged = Vec::new();
    for entry in items(old) {
        if !is_our_entry(entry, controllers) {
            merged.push(entry.clone());
        } else if let Some(at) = new.iter().position(|new| new[about] == entry[about]) {
            merged.push(merge_entry(entry, new.remove(at), now));
        }
    }
    let room = most.saturating_sub(merged.len());
    merged.extend(new.into_iter().take(room).map(|new| merge_entry(&Value::Null, new, now)));
    Value::Array(merged)
}

/// In the order of the new ones; listeners that are not in the spec have no place in the status.
fn merge_listeners(old: &Value, new: &Value, now: &str) -> Value {
    let merge = |new: &Value| {
        let old = items(old).find(|old| old["name"] == new["name"]).unwrap_or(&Value::Null);
        merge_entry(old, new, now)
    };
    items(new).map(merge).collect()
}

/// The new entry with the conditions that others have put on the old one.
fn merge_entry(old: &Value, new: &Value, now: &str) -> Value {
    let mut merged = new.clone();
    if let Some(fields) = merged.as_object_mut() {
        fields.insert("conditions".into(), merge_conditions(&old["conditions"], &new["conditions"], now));
    }
    merged
}

fn merge_conditions(old: &Value, new: &Value, now: &str) -> Value {
    let mut new: Vec<&Value> = items(new).collect();
    let mut merged = Vec::new();
    for condition in items(old) {
        if let Some(at) = new.iter().position(|new| new["type"] == condition["type"]) {
            merged.push(stamp(condition, new.remove(at), now));
        } else if !is_our_condition(condition) {
            merged.push(condition.clone());
        }
    }
    merged.extend(new.into_iter().map(|new| stamp(&Value::Null, new, now)));
    for lesser in LESSER_TYPES {
        if merged.len() > MOST_CONDITIONS {
            merged.retain(|condition| condition["type"] != *lesser);
        }
    }
    Value::Array(merged)
}

/// The new condition with the old one's time while the status is the same.
fn stamp(old: &Value, new: &Value, now: &str) -> Value {
    if awaits_what_was(old, new) || is_newer(old, new) {
        return old.clone();
    }
    let mut condition = new.clone();
    if let Some(fields) = condition.as_object_mut() {
        fields.insert("lastTransitionTime".into(), transition_time(old, new, now).into());
    }
    condition
}

/// Since when a condition has its status: the old one's time while that is the same.
pub fn transition_time<'a>(old: &'a Value, new: &Value, now: &'a str) -> &'a str {
    match &old["lastTransitionTime"] {
        Value::String(since) if old["status"] == new["status"] => since,
        _ => now,
    }
}

/// Whether the old condition was written by somebody who has seen a newer object than we have.
fn is_newer(old: &Value, new: &Value) -> bool {
    old["observedGeneration"].as_i64() > new["observedGeneration"].as_i64()
}

/// Whether the new condition only says that proxies have not answered yet, while the old one says that they had: a new
/// leader, or the same after an edit, hears of them within seconds, and meanwhile they serve what they have.
fn awaits_what_was(old: &Value, new: &Value) -> bool {
    new["type"] == "Programmed"
        && new["status"] == "False"
        && new["reason"] == "Pending"
        && old["status"] == "True"
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests;
